"""Compiled attention, kernels and layers for CPUs."""
