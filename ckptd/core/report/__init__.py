"""What people are told of a recovery. Values; they never change what is decided."""
