"""A simulated daemon around the real scheduler."""
