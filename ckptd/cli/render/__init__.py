"""What the daemon says, as text for people."""
