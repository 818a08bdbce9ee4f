"""Everything that reaches the kernel by name: confined, hashed, compared."""
