"""What is remembered in the state directory."""
