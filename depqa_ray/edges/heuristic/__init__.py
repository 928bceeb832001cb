"""Edges proposed from the wording of English questions, without a model."""
