"""Versions that this node holds and serves."""
