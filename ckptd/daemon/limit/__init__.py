"""What may move in a second on this node."""
