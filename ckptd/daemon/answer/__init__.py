"""What people and scripts ask over the control socket."""
