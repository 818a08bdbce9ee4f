"""Copies for others: sees the fleet, and carries out what ``ckptd.copies`` decides."""
