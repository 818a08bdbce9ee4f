"""Which ranges are ordered, and when."""

from __future__ import annotations

import pytest

from ckptd.core.events import RangeProgressed
from ckptd.core.options import Options
from ckptd.core.ranges.ordering import order_duplicate, order_ranges
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import CloseReason, Criticality, StoryKind
from tests.support.scenes import Scene
from tests.support.scheduling import (
    NO_COMMITS,
    R2,
    A,
    B,
    C,
    Script,
    adjusted,
    blocks,
    fetch,
    ranges,
    saved,
    whom,
)


def test_a_second_range_follows_on_a_lane_only_when_the_first_one_brings_something() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.wait(20) == []
    # Half a block is enough.
    half = RangeProgressed(order.transfer, MIB // 2, order.blocks.start)
    assert script.tell(half) == [fetch(version, 2, A, (4, 8), lane=1)]
    assert script.arrive(order, 2) == [], "and no third one"


def test_a_slow_source_gets_its_second_range_when_two_seconds_of_work_are_left() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    assert script.arrive(order, 1, after_ms=950) == []
    assert whom(script.arrive(order, 2, after_ms=450)) != [], "2 MiB at 1.05 MiB/s"


def ordered(scene: Scene) -> list[tuple[PathId, tuple[int, int]]]:
    """Look at all sources once; return who was asked for what."""
    scene.step.note_room_everywhere()
    order_ranges(scene.step)
    return whom(scene.step.effects)


# Of several offers


def test_the_last_block_goes_to_the_source_that_gets_to_it_soonest_and_to_no_other() -> None:
    scene, version = Scene(), saved(64)
    scene.recovery(version, unclaimed=blocks((63, 64)))
    for node, rate in ((A, 20), (B, 40), (C, 30)):
        scene.peer(node, version, rate=rate * MIB)
    assert ordered(scene) == [(B, (63, 64))]


def test_an_offer_that_was_overtaken_waits_for_its_new_turn() -> None:
    """B is second for the critical block, but C is sooner for what is left."""
    scene, version = Scene(), saved(7, critical=[1])
    scene.recovery(version)
    scene.peer(A, version, rate=80 * MIB)
    scene.peer(B, version, rate=20 * MIB)
    scene.peer(C, version, has=blocks((1, 8)), rate=40 * MIB)
    orders = ordered(scene)
    assert [node for node, _ in orders] == [A, C, B]
    assert [run[0] for _, run in orders] == sorted(run[0] for _, run in orders)


def test_a_source_that_would_hold_up_the_end_is_looked_at_again_in_a_moment() -> None:
    scene, version = Scene(), saved(64)
    recovery = scene.recovery(version, unclaimed=blocks((63, 64)))
    scene.peer(A, version, rate=1 * MIB)
    scene.lane(recovery, scene.peer(B, version, rate=100 * MIB), (0, 1), (1, 2))
    assert ordered(scene) == []
    assert scene.state.peer_alarms.earliest() == scene.now + 250 * MS
    [entry] = recovery.story.entries
    assert (entry.kind, entry.source, entry.blocks) == (StoryKind.DETOUR, A, (63, 64))


def test_who_has_to_wait_for_another_recovery_is_looked_at_again_in_a_moment() -> None:
    scene, version, other = Scene(), saved(64), saved(critical=[8], checkpoint="llama/rank-1")
    recovery, urgent = scene.recovery(version), scene.recovery(other, R2, unclaimed=blocks())
    source = scene.peer(A, version, other, rate=100 * MIB)
    scene.lane(urgent, source, (0, 8), criticality=Criticality.CRITICAL)
    assert ordered(scene) == []
    assert scene.state.peer_alarms.earliest() == scene.now + 250 * MS
    assert [entry.kind for entry in recovery.story.entries] == [StoryKind.OUTRANKED]


def test_less_urgent_work_of_a_source_is_given_up_before_anything_is_ordered() -> None:
    scene, version, other = Scene(), saved(64), saved(critical=[8], checkpoint="llama/rank-1")
    recovery = scene.recovery(version, unclaimed=blocks())
    scene.recovery(other, R2)
    lane = scene.lane(recovery, scene.peer(A, version, other, rate=10 * MIB), (0, 8))
    [(node, _)] = ordered(scene)
    assert (node, lane.closing) == (A, CloseReason.PREEMPTED)


@pytest.mark.parametrize(("redundancy", "expected"), [(1, []), (2, [(B, (0, 4))])])
def test_an_idle_source_races_though_nothing_is_left_to_order(
    redundancy: int, expected: list[tuple[NodeId, tuple[int, int]]]
) -> None:
    scene = Scene(options=adjusted(Options(), hedging={"redundancy": redundancy}))
    version = saved(critical=[4])
    recovery = scene.recovery(version, unclaimed=blocks())
    owing = scene.peer(A, version, rate=10 * MIB)
    scene.lane(recovery, owing, (0, 4), criticality=Criticality.CRITICAL)
    scene.peer(B, version, rate=10 * MIB)
    assert ordered(scene) == expected
    assert recovery.duplicates.raced_bytes == 4 * MIB * len(expected)


# Rates


@pytest.mark.parametrize("is_swarming", [True, False])
@pytest.mark.parametrize(
    ("known_rate", "age_ns", "is_added_up"),
    [(5.0, 100 * MS - 1, False), (5.0, 100 * MS, True), (0.0, 0, True), (5.0, 9 * SECOND, True)],
)
def test_rates_of_sources_that_may_be_asked_are_added_up_now_and_then(
    known_rate: float, age_ns: int, is_added_up: bool, is_swarming: bool
) -> None:
    scene, version = Scene(), saved(64)
    swarm = scene.recovery(version).swarm
    scene.peer(A, version, rate=10 * MIB)
    scene.peer(B, version, has=blocks((0, 8)), rate=4 * MIB)
    scene.peer(C, rate=100 * MIB)
    scene.peer(NodeId("d"), version, rate=1000 * MIB).link.usable_at_ns = scene.now + 1
    swarm.is_swarming = is_swarming
    swarm.total_rate, swarm.swarm_rate = known_rate, 3.0
    swarm.total_rate_ns = scene.now - age_ns
    ordered(scene)
    if is_added_up:
        assert (swarm.total_rate, swarm.total_rate_ns) == (14 * MIB, scene.now)
        assert swarm.swarm_rate == (4 * MIB if is_swarming else 0)
    else:
        assert (swarm.total_rate, swarm.swarm_rate) == (known_rate, 3.0)


@pytest.mark.parametrize("reason", ["nothing is left", "paused"])
def test_nothing_is_added_up_for_a_recovery_that_orders_nothing(reason: str) -> None:
    scene, version = Scene(), saved(64)
    is_left = reason != "nothing is left"
    recovery = scene.recovery(version, unclaimed=version.blocks if is_left else blocks())
    recovery.is_paused = is_left
    scene.peer(A, version, rate=10 * MIB)
    assert ordered(scene) == []
    assert recovery.swarm.total_rate == 0


# What an order changes


@pytest.mark.parametrize(
    ("is_swarming", "is_complete", "own_run", "is_drawn"),
    [
        (True, True, BlockRun(4, 8), False),
        (True, True, BlockRun(60, 64), True),
        (True, True, None, True),
        (True, False, None, None),
        (False, True, None, None),
    ],
)
def test_a_node_of_a_swarm_goes_on_behind_what_it_ordered_of_a_complete_source(
    is_swarming: bool, is_complete: bool, own_run: BlockRun | None, is_drawn: bool | None
) -> None:
    scene, version = Scene(), saved(64)
    swarm = scene.recovery(version).swarm
    swarm.is_swarming, swarm.own_run, swarm.own_place = is_swarming, own_run, 0.25
    scene.peer(A, version, has=None if is_complete else blocks((0, 32)))
    [(_, (start, end))] = ordered(scene)
    first = start if is_drawn or own_run is None else own_run.start
    assert swarm.own_run == (own_run if is_drawn is None else (first, end))
    assert (swarm.own_place != 0.25) is bool(is_drawn)
    assert is_drawn is not False or own_run is None or start == own_run.end


@pytest.mark.parametrize("is_idle", [True, False])
def test_a_range_on_an_idle_lane_measures_its_latency(is_idle: bool) -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version, rate=100 * MIB)
    lane = scene.lane(recovery, source, *([] if is_idle else [(0, 4)]))
    heard_ns = lane.heard_ns = lane.heard_ns - 5
    scene.step.note_room(A)
    order_ranges(scene.step)
    assert lane.transfers[0 if is_idle else 1].is_prompt is is_idle
    assert lane.heard_ns == (scene.now if is_idle else heard_ns)
    assert lane.has_body is not is_idle
    assert (lane.id in scene.state.lane_alarms) is is_idle


def test_rates_are_measured_from_the_order_on() -> None:
    scene, version = Scene(), saved(64)
    recovery, source = scene.recovery(version), scene.peer(A, version)
    assert ordered(scene) == [(A, (0, 1))]
    assert recovery.work.transfer_count == 1
    assert recovery.work.owed_bytes == source.link.outstanding_bytes == MIB
    for rate in (recovery.tally.rate, source.link.rate):
        rate.add(3 * MIB, now=scene.now + SECOND)
        assert rate.bytes_per_s == 3 * MIB


def test_duplicates_are_counted_and_both_ranges_know_of_it() -> None:
    scene, version = Scene(), saved(critical=[8])
    recovery = scene.recovery(version, unclaimed=blocks())
    lane = scene.lane(recovery, scene.peer(A, version), (0, 4), criticality=Criticality.CRITICAL)
    first = lane.transfers[0]
    duplicate = order_duplicate(scene.step, recovery, scene.peer(B, version), first, BlockRun(2, 4))
    assert (first.is_hedged, first.is_hedge) == (True, False)
    assert (duplicate.is_hedged, duplicate.is_hedge) == (True, True)
    assert (duplicate.blocks, duplicate.criticality) == ((2, 4), Criticality.CRITICAL)
    assert recovery.duplicates.count == 1
