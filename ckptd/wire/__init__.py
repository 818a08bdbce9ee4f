"""The peer protocol as bytes and values: heads, range syntax, documents. Pure."""
