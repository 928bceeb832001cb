"""Engines turn prompts into completions. ``base`` is the contract, ``factory`` builds the engine that a spec names."""
