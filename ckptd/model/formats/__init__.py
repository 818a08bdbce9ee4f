"""Files of checkpoints from the inside: which bytes are which tensor. None of them is executed."""
