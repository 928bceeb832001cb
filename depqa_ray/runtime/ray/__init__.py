"""Replicas as Ray actors."""
