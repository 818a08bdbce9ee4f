"""What lanes of a recovery do."""

from __future__ import annotations

from ckptd.core.state.lane import Lane
from ckptd.core.state.link import Link
from ckptd.core.state.record.work import SourceWork
from ckptd.model.ids import LaneId
from tests.support.scheduling import A, R


def test_it_delivered_when_a_lane_that_has_a_body_was_heard_last() -> None:
    work = SourceWork()
    assert work.delivered_ns == 0
    for number, (heard_ns, has_body) in enumerate([(5, True), (9, False), (7, True)]):
        lane = Lane(LaneId(number), A, R, Link(), heard_ns=heard_ns, has_body=has_body)
        work.lanes[lane.id] = lane
    assert work.delivered_ns == 7
