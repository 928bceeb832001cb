"""The settings of a run: a module for each section, ``load`` for all of them together."""
