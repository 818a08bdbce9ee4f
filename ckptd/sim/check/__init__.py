"""What is seen of a simulation from outside, and what must hold."""
