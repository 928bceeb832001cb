"""Prompts, the parsing of replies, and scores."""
