"""Policies: rules by which publishers say what of a version matters first."""
