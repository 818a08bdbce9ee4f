"""Whole fleets that keep copies, coarse and in virtual time, around the real decider."""
