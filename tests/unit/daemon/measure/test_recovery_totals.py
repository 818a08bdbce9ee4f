from __future__ import annotations

from ckptd.daemon.measure.recovery_totals import StageTimes
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId
from ckptd.model.words import Stage

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
