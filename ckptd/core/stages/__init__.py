"""The stages of a recovery, from the request to the rename."""
