"""The settings of a run, with every default."""
