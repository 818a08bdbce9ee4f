"""What people can read about a recovery. Values; they never change what is decided."""
