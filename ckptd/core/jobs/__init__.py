"""Recoveries of jobs: which version is whole for all shards, joined, and the same everywhere."""
