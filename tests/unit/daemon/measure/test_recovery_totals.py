from __future__ import annotations

from msgspec.structs import replace

from ckptd.daemon.measure.recovery_totals import StageTimes, milestone_seconds
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId
from ckptd.model.words import Stage
from ckptd.store.records.ended import EndedPhase
from tests.support.stores import ended

ONE, TWO = RecoveryId("r-1"), RecoveryId("r-2")


def test_stages_are_timed_also_while_they_last() -> None:
    times = StageTimes()
    assert times.note({ONE: Stage.SEEKING}, now=0) == [(ONE, Stage.SEEKING)]
    assert times.note({ONE: Stage.SEEKING}, now=SECOND) == []
    moved = times.note({ONE: Stage.PREPARING, TWO: Stage.SEEKING}, now=2 * SECOND)
    assert moved == [(ONE, Stage.PREPARING), (TWO, Stage.SEEKING)]
    assert times.seconds(now=5 * SECOND) == {"seeking": 5.0, "preparing": 3.0}
    times.note({}, now=6 * SECOND)
    assert times.seconds(now=9 * SECOND) == {"seeking": 6.0, "preparing": 4.0}


def test_what_makes_a_recovery_useful_is_told_apart_by_words_of_the_program() -> None:
    """The names of phases are the publisher's: no label has one."""
    core, rest = (
        EndedPhase(
            name=name,
            unit_count=1,
            total_bytes=1,
            left_bytes=0,
            complete_s=complete_s,
            placed_s=placed_s,
        )
        for name, complete_s, placed_s in (("core", 1.0, 1.5), ("rest", 3.0, None))
    )
    record = replace(ended(ONE), first_unit_s=0.5, critical_s=2.0, phases=(core, rest))
    assert milestone_seconds(record) == {
        "first_unit": 0.5,
        "first_phase": 1.0,
        "usable": 1.5,
        "critical": 2.0,
    }
    assert milestone_seconds(replace(record, complete_s=4.0))["complete"] == 4.0
    assert milestone_seconds(ended(ONE)) == {}
