"""Milestones of a recovery: the moments from which on something of it is of use."""

from __future__ import annotations

from typing import Final, NamedTuple

from ckptd.model.words import MilestoneKind


class Milestone(NamedTuple):
    """A moment that a recovery reaches once.

    Attributes:
        kind: What is reached.
        phase: Of a phase: which of the manifest's; else 0.
    """

    kind: MilestoneKind
    phase: int = 0


FIRST_UNIT: Final = Milestone(MilestoneKind.FIRST_UNIT)
CRITICAL: Final = Milestone(MilestoneKind.CRITICAL)
