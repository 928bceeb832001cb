"""Engines side by side on real prompts: each in a process of its own, taking turns, against the machine's ceilings."""
