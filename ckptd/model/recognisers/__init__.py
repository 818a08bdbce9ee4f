"""Which formats a directory is in, and what that says about what is needed first."""
