"""What is shown of recoveries that ended."""

from __future__ import annotations

import msgspec

from ckptd.daemon.answer.recovery_views import view_of_ended
from ckptd.model.ids import RecoveryId
from ckptd.model.words import Result
from ckptd.store.records.ended import EndedPhase
from tests.support.stores import ended

PLACED = EndedPhase(
    name="core", unit_count=2, total_bytes=600, left_bytes=0, complete_s=1.0, placed_s=1.5
)
STAGED = EndedPhase(
    name="rest", unit_count=1, total_bytes=400, left_bytes=30, complete_s=None, placed_s=None
)


def left(result: Result) -> list[int]:
    """Return what is left of everything, then of each phase."""
    record = msgspec.structs.replace(
        ended(RecoveryId("r-1")), result=result, phases=(PLACED, STAGED)
    )
    view = view_of_ended(record)
    return [view.bytes_left, *(phase.bytes_left for phase in view.phases)]


def test_of_what_was_cancelled_nothing_is_here_of_any_phase() -> None:
    assert left(Result.CANCELLED) == [1000, 600, 400]


def test_of_what_failed_the_phases_stay_that_were_placed() -> None:
    assert left(Result.FAILED)[1:] == [0, 400]
