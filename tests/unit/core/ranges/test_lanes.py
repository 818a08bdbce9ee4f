"""Which lane takes a range, and how long each may be silent."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.core.events import BlocksCommitted
from ckptd.core.state.deadlines import lane_patience_ns
from ckptd.limits import MIB, MS
from ckptd.model.ids import LaneId
from ckptd.model.words import CloseReason, RangeOutcome
from tests.support.scheduling import (
    FOUR_AT_FIRST,
    NO_COMMITS,
    A,
    B,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
)


def started(*, width: int = 1) -> tuple[Script, Saved, FetchRange]:
    """Recover from A, with as many lanes as wanted; the first range is ordered."""
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.recovery().work.bundles[A].width = width
    return script, version, order


def test_the_first_range_opens_a_lane_and_the_next_takes_the_same() -> None:
    script, _, order = started()
    [next_order] = ranges(script.arrive(order, 1))
    assert (order.lane, next_order.lane) == (LaneId(1), LaneId(1))
    assert [lane.id for lane in script.recovery().work.bundles[A].lanes] == [LaneId(1)]


def test_where_two_are_wanted_a_second_lane_is_opened_rather_than_a_busy_one_used() -> None:
    script, _, order = started(width=2)
    assert [each.lane for each in ranges(script.arrive(order, 1))] == [LaneId(2), LaneId(1)]
    lanes = script.recovery().work.bundles[A].lanes
    assert [lane.id for lane in lanes] == [LaneId(1), LaneId(2)]
    assert script.recovery().work.lanes == {lane.id: lane for lane in lanes}
    assert script.scheduler.inspect().lanes == {lane.id: lane for lane in lanes}


def test_a_new_lane_has_been_heard_of_now_and_belongs_to_the_link() -> None:
    script, _, order = started(width=2)
    script.arrive(order, 1, after_ms=70)
    lane = script.recovery().work.bundles[A].lanes[1]
    assert (lane.heard_ns, lane.source, lane.recovery) == (70 * MS, A, R)
    assert lane.link is script.scheduler.inspect().peers[A].link
    assert not lane.is_on_trial


def test_an_idle_lane_takes_a_range_before_another_is_opened() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    [second] = ranges(script.arrive(order, 1))
    script.recovery().work.bundles[A].width = 2
    script.end(order)
    [third] = [each for each in script.in_flight if each not in (order, second)]
    assert third.lane == LaneId(2)
    [fourth] = ranges(script.deliver(second, after_ms=10))
    assert fourth.lane == LaneId(1), "it has nothing to do"


def test_a_source_is_busy_since_it_was_given_something_after_a_pause() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    script.start(version, holds(A, holding(version, blocks((0, 4)))))
    bundle = script.recovery().work.bundles[A]
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=100)
        assert bundle.busy_since_ns == 0, "it had something to do all the time"
    script.tell(holds(A, holding(version, blocks((0, 64)))), after_ms=200)
    assert script.in_flight
    again_ns = script.now
    assert bundle.busy_since_ns == again_ns
    script.arrive(script.in_flight[0], after_ms=50)
    assert len(script.in_flight) == 2
    assert bundle.busy_since_ns == again_ns


@pytest.mark.parametrize(("width", "left"), [(3, 2), (2, 1), (1, 1)])
def test_a_lane_that_is_lost_is_one_less_but_one_is_always_tried(width: int, left: int) -> None:
    script, _, order = started(width=width)
    script.arrive(order, 1)
    bundle = script.recovery().work.bundles[A]
    script.end(order, RangeOutcome.DISCONNECTED)
    assert bundle.width == left


def test_a_lane_that_was_to_end_anyway_is_not_missed() -> None:
    script, _, order = started(width=2)
    script.arrive(order, 1)
    bundle = script.recovery().work.bundles[A]
    bundle.lanes[0].is_surplus = True
    script.end(order, RangeOutcome.DISCONNECTED)
    assert bundle.width == 2


# Silence


def committing() -> tuple[Script, FetchRange, int]:
    """Let one block arrive and its commit begin; return how long a lane may be silent."""
    options = adjusted(FOUR_AT_FIRST, commits={"bytes_due": 1 * MIB})
    script, version = Script(options=options), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, after_ms=10)
    patience_ms = lane_patience_ns(script.lane(A), options) // MS
    return script, order, patience_ms


def test_a_silent_lane_is_closed_when_its_patience_is_over() -> None:
    script, order, patience_ms = committing()
    script.tell(BlocksCommitted(R))
    assert not closings(script.wait(patience_ms - 1))
    assert closings(script.wait(1)) == [CloseLane(order.lane, A, CloseReason.SILENT)]


def closings(effects: list[Effect]) -> list[CloseLane]:
    return [effect for effect in effects if isinstance(effect, CloseLane)]


def test_while_a_commit_is_under_way_no_lane_is_late() -> None:
    script, order, patience_ms = committing()
    assert closings(script.wait(10 * patience_ms)) == []
    assert script.recovery().work.is_held_up
    assert closings(script.tell(BlocksCommitted(R))) == []
    assert not script.recovery().work.is_held_up
    assert closings(script.wait(patience_ms + 250)) == [
        CloseLane(order.lane, A, CloseReason.SILENT)
    ]


def test_a_lane_is_late_during_a_commit_if_another_delivers() -> None:
    options = adjusted(FOUR_AT_FIRST, commits={"bytes_due": 2 * MIB})
    script, version = Script(options=options), saved(64)
    first, second = ranges(script.start(version, A, B))
    script.arrive(first, first.blocks.start + 1)
    script.arrive(second, second.blocks.start + 1)
    assert script.recovery().commit.committing == blocks((0, 1), (4, 5))
    patience_ms = lane_patience_ns(script.lane(A), options) // MS
    effects = script.arrive(second, second.blocks.start + 2, after_ms=patience_ms)
    effects += script.wait(1)
    assert CloseLane(first.lane, A, CloseReason.SILENT) in effects


def test_a_lane_that_the_disk_held_up_has_its_patience_again() -> None:
    script, order, patience_ms = committing()
    script.wait(patience_ms * 3)
    effects = script.arrive(order, 2, after_ms=1)
    assert closings(effects) == []
    assert closings(script.wait(patience_ms // 2)) == []
