from __future__ import annotations

import pytest

from ckptd.daemon.measure.works import Works
from ckptd.limits import SECOND
from ckptd.model.words import Result
from ckptd.observe.durations import NO_RECOVERIES


def works(now_s: float = 1000.0) -> Works:
    return Works(lambda: now_s)


def test_only_what_was_published_to_the_end_is_timed_and_remembered() -> None:
    known = works()
    known.note_publish(Result.FAILED, SECOND)
    known.note_publish(Result.CANCELLED, SECOND)
    assert (known.publish_durations, known.succeeded_at_s) == (NO_RECOVERIES, {})
    known.note_publish(Result.COMPLETE, 3 * SECOND)
    assert known.publish_durations == NO_RECOVERIES.plus(3.0)
    assert known.succeeded_at_s == {"publish": 1000.0}
    assert known.publishes == {"failed": 1, "cancelled": 1, "complete": 1}


@pytest.mark.parametrize("result", list(Result))
def test_only_a_complete_recovery_went_well(result: Result) -> None:
    known = works()
    known.note_recovery(result)
    assert known.succeeded_at_s == ({"recovery": 1000.0} if result is Result.COMPLETE else {})


def test_a_restart_finds_when_work_last_went_well_and_nothing_else() -> None:
    known = works()
    known.take_over({"publish": 5.0, "recovery": 6.0, "of a newer ckptd": 7.0})
    assert known.succeeded_at_s == {"publish": 5.0, "recovery": 6.0}
    known.note_recovery(Result.COMPLETE)
    assert known.succeeded_at_s == {"publish": 5.0, "recovery": 1000.0}
