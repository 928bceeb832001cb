"""What every engine needs that computes in its own process."""
