"""The records that a recovery is made of, each of a few fields."""
