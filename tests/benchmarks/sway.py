"""Whether the rounds of a row agree well enough to say anything about it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

SWAY_MAX = 1 / 3
"""Rounds that differ by more of their median are of a machine that did something else, too."""


def sway(rounds: Sequence[float]) -> float:
    """Return how far rounds lie apart, as a share of their median; 0 for fewer than two."""
    if len(rounds) < 2:
        return 0.0
    apart = max(rounds) - min(rounds)
    median = statistics.median(rounds)
    if median == 0:
        return float("inf") if apart else 0.0
    return apart / abs(median)


def is_steady(rounds: Sequence[float]) -> bool:
    """Tell whether a row may be called by these rounds."""
    return sway(rounds) <= SWAY_MAX


def verdict(rounds: Sequence[float], *, is_reached: bool) -> str:
    """Return what to say of a row with a bound: nothing of the bound where its rounds sway."""
    if not is_steady(rounds):
        return f"sways by {sway(rounds):.0%}"
    return "ok" if is_reached else "MISSED"
