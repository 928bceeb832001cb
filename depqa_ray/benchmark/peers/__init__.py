"""Engines that only the benchmark runs, as peers to compare with."""
