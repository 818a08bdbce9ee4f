"""Manifests as their bytes: where what lies in them, and units that are read when they are used."""
