"""Simulated clusters around the real scheduler: virtual time, a modelled network, seeded faults."""
