"""Generated passages, whose questions depend on each other in a known way."""
