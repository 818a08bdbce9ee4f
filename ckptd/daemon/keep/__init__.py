"""Keeps what is on offer true: notices what happens to it, and reads it again."""
