"""Versions whose units are in several phases."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Final

from ckptd.sim.world.layouts import SavedVersion

PHASED_SHARE: Final = 0.15
"""In so many clusters publishers name phases."""

_PHASES_MAX: Final = 3


def draw_phases(seed: int, versions: Sequence[SavedVersion]) -> list[SavedVersion]:
    """Put the units of some versions in phases, if anybody names any.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        versions: What there is.
    """
    rng = Random(f"phases/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= PHASED_SHARE:
        return list(versions)
    return [
        version.in_phases([rng.randrange(_PHASES_MAX) for _ in version.space.manifest.units])
        if version.space.manifest.units
        else version
        for version in versions
    ]
