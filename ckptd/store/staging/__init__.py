"""Where a recovery writes before its result becomes visible."""
