"""Sockets: the listener, serving, lanes."""
