"""What a simulation begins with, and what goes wrong in it."""
