"""What the configuration says, and what changes while the daemon runs."""
