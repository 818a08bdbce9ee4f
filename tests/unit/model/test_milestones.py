from __future__ import annotations

from ckptd.model.milestones import CRITICAL, FIRST_UNIT, Milestone
from ckptd.model.words import MilestoneKind


def test_milestones_of_a_phase_are_different_for_each() -> None:
    assert (
        len({CRITICAL, FIRST_UNIT, *(Milestone(MilestoneKind.PHASE, at) for at in range(3))}) == 5
    )
    assert Milestone(MilestoneKind.PHASE, 1) != Milestone(MilestoneKind.PLACED, 1)
