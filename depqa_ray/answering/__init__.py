"""What a model is asked, what its text means, and how right it is."""
