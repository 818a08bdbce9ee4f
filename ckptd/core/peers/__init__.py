"""Peers: what they say they hold, and what becomes of their reputation."""
