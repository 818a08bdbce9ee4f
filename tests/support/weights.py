"""Weights as training leaves them: numbers of two bytes, of which a step moves some by a little."""

from __future__ import annotations

import numpy


def weights(seed: int, size_bytes: int, *, share: float = 0.05) -> bytes:
    """Return bf16 weights; with another seed others of them are moved.

    Args:
        seed: Which ones moved.
        size_bytes: How long all of them are.
        share: How many moved, of all.
    """
    count = -(-size_bytes // 2)
    numbers = (numpy.random.default_rng(0).standard_normal(count) * 0.02).astype("<f4")
    moved = numpy.random.default_rng(seed).random(count) < share
    halves = numpy.where(moved, numbers * 1.01, numbers).astype("<f4").view("<u4") >> 16
    return bytes(halves.astype("<u2"))[:size_bytes]
