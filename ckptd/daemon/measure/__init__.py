"""What the daemon counts and measures of itself."""
