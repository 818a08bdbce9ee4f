"""The API on the local socket, both ends."""
