"""Ranges: who is asked for what, and what becomes of it."""
