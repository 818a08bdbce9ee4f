"""Which lane takes a range, and how long each may be silent."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.core.events import BlocksCommitted
from ckptd.core.ranges.lanes import (
    is_held_up_here,
    lane_for,
    narrow,
    set_alarms_to,
    set_lane_alarm,
)
from ckptd.core.state.deadlines import lane_patience_ns
from ckptd.core.state.lane import Bundle, Trial
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import LaneId, RecoveryId
from ckptd.model.words import CloseReason, Criticality, LocalOrder, RangeOutcome
from tests.support.scenes import Scene
from tests.support.scheduling import (
    FOUR_AT_FIRST,
    NO_COMMITS,
    R2,
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


def test_a_lane_that_stands_idle_is_taken_though_one_more_is_wanted() -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    idle = scene.lane(recovery, source)
    bundle = recovery.work.bundles[A]
    bundle.width = 2
    assert lane_for(scene.step, recovery, source) is idle
    assert bundle.lanes == [idle]


@pytest.mark.parametrize(("bodies", "taken"), [((False, True), 1), ((True, False), 0)])
def test_of_busy_lanes_the_one_takes_a_range_that_has_shown_that_it_works(
    bodies: tuple[bool, bool], taken: int
) -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    lanes = [
        scene.lane(recovery, source, run, has_body=has_body)
        for run, has_body in zip([(0, 4), (4, 8)], bodies, strict=True)
    ]
    assert lane_for(scene.step, recovery, source) is lanes[taken]


def test_where_no_lane_has_room_a_duplicate_goes_where_there_is_least_to_do() -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    scene.lane(recovery, source, (0, 4), (4, 8))
    least = scene.lane(recovery, source, (8, 12), has_body=False)
    scene.lane(recovery, source, (12, 16), (16, 20))
    assert lane_for(scene.step, recovery, source) is least


@pytest.mark.parametrize(
    ("is_here", "is_changed", "is_fewer", "expected"),
    [
        (True, True, False, True),
        (True, False, False, False),
        (True, True, True, False),
        (False, True, False, False),
    ],
)
def test_a_new_lane_is_on_trial_if_one_more_is_tried_at_this_source(
    is_here: bool, is_changed: bool, is_fewer: bool, expected: bool
) -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    scene.lane(recovery, source, (0, 4), has_body=False)
    bundle = recovery.work.bundles[A]
    bundle.width = 2
    tried = bundle if is_here else Bundle()
    scene.state.trial = Trial(R, A, tried, is_fewer, recoveries=1, is_changed=is_changed)
    assert lane_for(scene.step, recovery, source).is_on_trial is expected


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


@pytest.mark.parametrize("outcome", [RangeOutcome.SPOILED, RangeOutcome.CLOSED])
def test_a_lane_that_this_node_gave_up_is_not_missed(outcome: RangeOutcome) -> None:
    script, _, order = started(width=3)
    script.arrive(order, 1)
    bundle = script.recovery().work.bundles[A]
    script.end(order, outcome)
    assert bundle.width == 3
    assert script.view_source(A).trust == 0


def test_a_lane_that_was_to_end_anyway_is_not_missed() -> None:
    script, _, order = started(width=2)
    script.arrive(order, 1)
    bundle = script.recovery().work.bundles[A]
    bundle.lanes[0].is_surplus = True
    script.end(order, RangeOutcome.DISCONNECTED)
    assert bundle.width == 2


@pytest.mark.parametrize(
    ("is_closing", "is_surplus", "left"),
    [(False, False, 2), (True, False, 3), (False, True, 3), (True, True, 3)],
)
def test_only_a_lane_that_was_to_go_on_is_missed(
    is_closing: bool, is_surplus: bool, left: int
) -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    lane, *_ = [scene.lane(recovery, source) for _ in range(3)]
    lane.is_closing, lane.is_surplus = is_closing, is_surplus
    narrow(recovery, lane)
    assert recovery.work.bundles[A].width == left


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


@pytest.mark.parametrize(
    ("order", "delivered_after_ms", "expected"),
    [
        (LocalOrder.COMMIT, 499, True),
        (LocalOrder.COMMIT, 500, False),
        (LocalOrder.COMMIT, 501, False),
        (None, 499, False),
    ],
)
def test_a_lane_is_held_up_by_a_commit_if_none_delivered_when_it_was_due(
    order: LocalOrder | None, delivered_after_ms: int, expected: bool
) -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    lane = scene.lane(recovery, source, (0, 4))
    other = scene.lane(recovery, source, (4, 8))
    lane.heard_ns = 5 * SECOND
    other.heard_ns = lane.heard_ns + delivered_after_ms * MS
    recovery.local.pending_order = order
    assert is_held_up_here(scene.step, lane) is expected
    assert recovery.work.is_held_up is expected


def test_one_lane_that_is_held_up_is_not_forgotten_for_another_that_is_late() -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    held_up, late = (scene.lane(recovery, source, run) for run in ((0, 4), (4, 8)))
    late.heard_ns -= SECOND
    recovery.local.pending_order = LocalOrder.COMMIT
    assert is_held_up_here(scene.step, held_up)
    assert not is_held_up_here(scene.step, late)
    assert recovery.work.is_held_up


@pytest.mark.parametrize(
    ("has_body", "silent_ns", "due_in_ns"),
    [
        (True, 0, 200 * MS),
        (True, 200 * MS - 2, 2),
        (True, 200 * MS - 1, 1),
        (True, 200 * MS, 1),
        (True, 300 * MS, 1),
        (True, 700 * MS, -200 * MS),  # its patience is over
        (False, 0, 1000 * MS),  # a hedge would come later than the patience ends
    ],
)
def test_a_lane_is_looked_at_when_a_hedge_is_due_but_not_at_this_moment_again(
    has_body: bool, silent_ns: int, due_in_ns: int
) -> None:
    scene, version = Scene(), saved(critical=[64])
    recovery, source = scene.recovery(version), scene.peer(A, version)
    scene.state.first_bytes.add(400 * MS)
    lane = scene.lane(recovery, source, (0, 4), criticality=Criticality.CRITICAL, has_body=has_body)
    lane.heard_ns -= silent_ns
    set_lane_alarm(scene.step, lane)
    assert scene.state.lane_alarms.earliest() == scene.now + due_in_ns


def test_a_lane_that_is_closing_is_not_looked_at() -> None:
    scene, version = Scene(), saved(64)
    lane = scene.lane(scene.recovery(version), scene.peer(A, version), (0, 4))
    lane.is_closing = True
    set_lane_alarm(scene.step, lane)
    assert scene.state.lane_alarms.earliest() is None


def test_all_lanes_to_a_source_are_looked_at_again_and_no_others() -> None:
    scene, version, other = Scene(), saved(64), saved(64, checkpoint="llama/rank-1")
    first, second = scene.recovery(version), scene.recovery(other, R2)
    scene.recovery(saved(64, checkpoint="llama/rank-2"), RecoveryId("r-3"))
    source, another = scene.peer(A, version, other), scene.peer(B, version)
    lanes = [scene.lane(first, source, (0, 4)), scene.lane(second, source, (0, 4))]
    elsewhere = scene.lane(first, another, (4, 8))
    set_alarms_to(scene.step, A)
    assert all(lane.id in scene.state.lane_alarms for lane in lanes)
    assert elsewhere.id not in scene.state.lane_alarms
