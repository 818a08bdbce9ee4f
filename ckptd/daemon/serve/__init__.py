"""What this node offers to its peers."""
