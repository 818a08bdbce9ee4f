"""A connection as both ends use it: plain or with TLS, and who is at the other end."""
