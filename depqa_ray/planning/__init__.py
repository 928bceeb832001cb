"""From a passage and its edges to a plan."""
