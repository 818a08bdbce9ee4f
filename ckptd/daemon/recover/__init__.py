"""Brings versions here: the scheduler, what drives it, and what carries out its orders."""
