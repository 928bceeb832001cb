"""Drawings: layouts without any markup."""
