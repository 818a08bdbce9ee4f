"""Simulations with a name: what is promised, and close calls."""
