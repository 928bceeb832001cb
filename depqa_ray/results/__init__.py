"""A run on disk and what follows from it: the store, the figures, the predictions, the trace."""
