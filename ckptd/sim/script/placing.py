"""Draws which recoveries are placed phase by phase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.sim.script.scenario import Wish

PROGRESSIVE_SHARE: Final = 0.5
"""So many of the recoveries are; it makes a difference where publishers name phases."""


def draw_placing(seed: int, wishes: Sequence[Wish]) -> tuple[Wish, ...]:
    """Let some recoveries be placed phase by phase.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        wishes: What is recovered.
    """
    rng = Random(f"placing/{seed}")  # noqa: S311 (no secret)
    return tuple(replace(wish, is_progressive=rng.random() < PROGRESSIVE_SHARE) for wish in wishes)
