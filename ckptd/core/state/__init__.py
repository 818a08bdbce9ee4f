"""What the scheduler knows, as records without decisions."""
