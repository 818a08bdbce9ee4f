"""Feeds the scheduler and carries out its orders."""
