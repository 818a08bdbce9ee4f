from __future__ import annotations

from ckptd.core.state.record.phasing import NO_END, Phasing
from ckptd.model.milestones import CRITICAL, FIRST_UNIT


def test_what_is_forgotten_was_reached_by_no_life() -> None:
    phasing = Phasing(earlier={CRITICAL: -5, FIRST_UNIT: -9})
    phasing.reached |= {CRITICAL: -5, FIRST_UNIT: -9}
    phasing.forget(CRITICAL)
    phasing.forget(CRITICAL)
    assert phasing.earlier == phasing.reached == {FIRST_UNIT: -9}


def test_before_anything_is_known_nothing_is_of_a_later_phase() -> None:
    assert Phasing().end == NO_END
    assert not Phasing().has_several
