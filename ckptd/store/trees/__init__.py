"""Files of a version below one directory: made, compared, hashed, replaced."""
