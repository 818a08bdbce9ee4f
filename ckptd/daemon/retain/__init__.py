"""What may go from this node: who removes it, who reads it, and who else has it."""
