"""Engines that only the benchmark runs, to compare with."""
