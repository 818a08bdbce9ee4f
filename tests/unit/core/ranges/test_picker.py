"""Which range is asked for next, from whom, and how long it is."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.events import (
    Event,
    ManifestArrived,
    RecoveryCancelled,
    RecoveryPaused,
    StagingPrepared,
    UnitsPrioritized,
)
from ckptd.core.options import Options
from ckptd.core.ranges.picker import (
    cut,
    find_offer,
    is_detour,
    is_left_to_others,
    preferred_run,
)
from ckptd.core.state.eligibility import has_room, holders, servable
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.link import Link, RateEstimate
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.record.spread import Spread
from ckptd.core.state.recovery import Recovery
from ckptd.limits import GIB, MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Epoch, LaneId, NodeId, RecoveryId, TransferId
from ckptd.model.words import CloseReason, Criticality, RangeOutcome, Stage
from tests.support.scenes import Scene
from tests.support.scheduling import (
    FOUR_AT_FIRST,
    FULL_DISK,
    NO_COMMITS,
    OF_A,
    OF_B,
    R2,
    A,
    B,
    C,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    wanted,
    whom,
)

CRITICAL, NORMAL, DEFERRED = Criticality

# Urgency


def test_a_range_never_crosses_into_another_criticality() -> None:
    script, version = Script(), saved(2, 1, critical=[1, 2], deferred=[2, 1])
    orders = ranges(script.start(version, A))
    for order in orders:
        orders += ranges(script.deliver(order, after_ms=1))
    assert all(before.blocks.end == after.blocks.start for before, after in pairwise(orders))
    classes = {CRITICAL: range(3), NORMAL: range(3, 6), DEFERRED: range(6, 9)}
    for order in orders:
        assert set(range(*order.blocks)) <= set(classes[order.criticality])


def test_units_of_one_criticality_travel_in_one_range() -> None:
    long_ranges = adjusted(FOUR_AT_FIRST, ranges={"bytes_min": 8 * MIB})
    script, version = Script(options=long_ranges), saved(1, 0, 2, 1)
    assert whom(script.start(version, A)) == [(A, (0, 4))]


def test_no_deferred_range_is_asked_of_a_source_that_has_something_more_urgent() -> None:
    script, version = Script(), saved(critical=[64], deferred=[64])
    orders = ranges(script.start(version, A, B, C))
    for order in orders[:3]:
        orders += ranges(script.arrive(order, order.blocks.start + 1, after_ms=1))
    assert {order.criticality for order in orders} == {CRITICAL}
    assert len(orders) == 6


def test_a_source_that_has_only_deferred_units_sends_them_meanwhile() -> None:
    script, version = Script(), saved(critical=[64], deferred=[64])
    orders = script.start(version, A, holds(B, holding(version, blocks((64, 128)))))
    assert [(order.source, order.criticality) for order in ranges(orders)] == [
        (A, CRITICAL),
        (B, DEFERRED),
    ]


def test_critical_units_of_any_recovery_go_before_normal_ones_of_every_other() -> None:
    script = Script(options=NO_COMMITS)
    version, other = saved(8), saved(8, critical=[2], checkpoint="llama/rank-1")
    [normal] = ranges(script.start(version, holds(A, version, other)))
    script.tell(wanted(other, R2), ManifestArrived(R2, A, other.space))
    effects = script.tell(StagingPrepared(R2, BlockSet()))
    [critical] = ranges(effects)
    assert (critical.recovery, critical.criticality) == (R2, CRITICAL)
    assert CloseLane(LaneId(1), A, CloseReason.PREEMPTED) in effects
    assert ranges(script.end(normal, RangeOutcome.CLOSED)) == [], "A is busy with critical ones"
    script.end_all(RangeOutcome.BUSY)
    orders = ranges(script.wake_at_deadline())
    assert [(order.recovery, order.criticality) for order in orders] == [(R2, CRITICAL)]


def test_of_two_recoveries_equally_urgent_the_older_one_goes_first() -> None:
    script = Script()
    version, other = saved(8), saved(8, checkpoint="llama/rank-1")
    script.start(version, holds(A, version, other))
    script.start(other, recovery=R2)
    script.end_all(RangeOutcome.BUSY)
    assert [order.recovery for order in ranges(script.wake_at_deadline())] == [R, R2]


# Choosing a source


def recovering(version: Saved, name: RecoveryId = R, sequence: int = 1) -> Recovery:
    recovery = Recovery(wanted(version, name), sequence, started_ns=0, stage=Stage.TRANSFERRING)
    recovery.version, recovery.digest = version.version, version.digest
    recovery.described = Described.of(version.version, version.digest, version.space)
    recovery.coverage.unclaimed = version.blocks
    return recovery


def peer(node: NodeId, *held: Holding, rate: float = 0.0, outstanding_bytes: int = 0) -> Peer:
    link = Link(RateEstimate(rate), outstanding_bytes=outstanding_bytes)
    return Peer(node, Epoch(1), holdings={what.digest: what for what in held}, link=link)


def lane_to(node: Peer, recovery: Recovery, *sizes_bytes: int, has_body: bool = False) -> Lane:
    lane = Lane(LaneId(1), node.node, recovery.id, node.link, heard_ns=0, has_body=has_body)
    for number, size_bytes in enumerate(sizes_bytes):
        lane.transfers.append(Transfer(TransferId(number), BlockRun(0, 1), size_bytes, 0))
    recovery.work.lanes[lane.id] = lane
    recovery.work.bundles[node.node] = Bundle([lane])
    return lane


def best_offer(recovery: Recovery, *peers: Peer) -> Offer | None:
    offers = (find_offer(recovery, each, Options(), now=0) for each in peers)
    return min((offer for offer in offers if offer), default=None)


def test_a_range_goes_to_the_source_that_gets_to_it_soonest() -> None:
    version = saved(64)
    recovery = recovering(version)
    slow = peer(A, holding(version), rate=1 * MIB, outstanding_bytes=1 * MIB)
    fast = peer(B, holding(version), rate=100 * MIB, outstanding_bytes=50 * MIB)
    offer = best_offer(recovery, slow, fast)
    assert offer is not None
    assert (offer.peer, offer.run, offer.criticality) == (fast, (0, 64), NORMAL)


def test_of_sources_equally_soon_the_first_by_name_is_taken() -> None:
    version = saved(64)
    peers = [peer(node, holding(version)) for node in (C, A, B)]
    offer = best_offer(recovering(version), *peers)
    assert offer is not None
    assert offer.peer.node == A


def test_nothing_is_picked_when_nothing_is_left_or_nobody_has_it() -> None:
    version, other = saved(64), saved(63)
    recovery = recovering(version)
    assert best_offer(recovery, peer(A, holding(other))) is None
    recovery.coverage.unclaimed = BlockSet()
    assert best_offer(recovery, peer(A, holding(version))) is None


@pytest.mark.parametrize("reason", ["paused", "out of space"])
def test_nothing_is_ordered_for_a_recovery_that_does_not_fetch(reason: str) -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    if reason == "paused":
        script.tell(RecoveryPaused(R))
        script.end_all(RangeOutcome.CLOSED)
    else:
        [order] = script.in_flight
        script.end(order, RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    assert ranges(script.tell(holds(B, version))) == []


def test_what_a_source_can_serve_is_what_it_has_and_did_not_send_wrongly() -> None:
    version = saved(16)
    recovery = recovering(version)
    recovery.coverage.unclaimed = blocks((2, 10))
    some, everything = peer(A, holding(version, blocks((0, 4), (9, 16)))), peer(B, holding(version))
    assert servable(recovery, some) == blocks((2, 4), (9, 10))
    assert servable(recovery, everything) == blocks((2, 10))
    recovery.refused = {OF_A: blocks((3, 4)), OF_B: blocks((0, 5))}
    assert servable(recovery, some) == blocks((2, 3), (9, 10))
    assert servable(recovery, everything) == blocks((5, 10))
    assert servable(recovery, peer(C)) == BlockSet()


def test_holders_are_live_peers_that_have_some_of_it_and_did_not_send_it_wrongly() -> None:
    version = saved(16)
    recovery = recovering(version)
    gone = peer(NodeId("gone"), holding(version))
    gone.is_live = False
    some, everything = peer(A, holding(version, blocks((0, 4)))), peer(B, holding(version))
    peers = [some, everything, gone, peer(C)]
    assert list(holders(recovery, peers, blocks((3, 5)))) == [some, everything]
    assert list(holders(recovery, peers, blocks((4, 5)))) == [everything]
    recovery.refused = {OF_A: blocks((3, 4)), OF_B: blocks((4, 5))}
    assert list(holders(recovery, peers, blocks((3, 5)))) == [everything]
    assert list(holders(recovery, peers, blocks((4, 5)))) == []


# Room


def room(recovery: Recovery, source: Peer) -> bool:
    return has_room(recovery, source, Options(), now=100)


def test_a_source_has_room_unless_it_is_lost_or_rests_or_is_in_question() -> None:
    version = saved(64)
    recovery, source = recovering(version), peer(A, holding(version))
    assert room(recovery, source)
    source.link.usable_at_ns = 100
    assert room(recovery, source)
    source.link.usable_at_ns = 101
    assert not room(recovery, source)
    source.link.usable_at_ns = 0
    source.standing.questioned[version.digest] = blocks((0, 1))
    assert not room(recovery, source)
    source.standing.questioned = {saved(63).digest: blocks((0, 1))}
    assert room(recovery, source)
    source.is_live = False
    assert not room(recovery, source)


def test_a_source_that_has_two_seconds_of_work_from_others_has_no_room() -> None:
    version = saved(64)
    busy = peer(A, holding(version), rate=1 * MIB, outstanding_bytes=2 * MIB)
    assert not room(recovering(version), busy)
    busy.link.outstanding_bytes -= 1
    assert room(recovering(version), busy)


def test_a_lane_takes_one_range_until_bytes_come_and_then_two() -> None:
    version = saved(64)
    recovery, source = recovering(version), peer(A, holding(version))
    lane = lane_to(source, recovery)
    assert room(recovery, source)
    lane_to(source, recovery, 4 * MIB)
    assert not room(recovery, source)
    lane_to(source, recovery, 4 * MIB, has_body=True)
    assert room(recovery, source)
    lane_to(source, recovery, 4 * MIB, 4 * MIB, has_body=True)
    assert not room(recovery, source)
    lane = lane_to(source, recovery)
    lane.is_closing = True
    assert not room(recovery, source)


def test_no_second_range_is_ordered_from_a_source_with_two_seconds_of_work() -> None:
    version = saved(64)
    recovery = recovering(version)
    source = peer(A, holding(version), rate=1 * MIB, outstanding_bytes=2 * MIB)
    lane_to(source, recovery, 2 * MIB, has_body=True)
    assert not room(recovery, source)
    lane_to(source, recovery)
    assert room(recovery, source), "a lane that stands idle may always be given something"


# The size of a range


@pytest.mark.parametrize(
    ("rate", "sources", "run", "expected"),
    [
        (0, 1, (0, 4096), (0, 4)),  # unknown
        (40, 1, (0, 4096), (0, 10)),
        (40, 1, (100, 4096), (100, 110)),
        (40, 1, (100, 105), (100, 105)),  # no more than there is
        (1000, 1, (0, 4096), (0, 64)),  # no more than 64 MiB
        (1, 1, (0, 4096), (0, 1)),  # no less than one block
    ],
)
def test_a_range_is_as_long_as_the_rate_says(
    rate: int, sources: int, run: tuple[int, int], expected: tuple[int, int]
) -> None:
    version = saved(4096)
    source = peer(A, holding(version), rate=rate * MIB)
    recovery = recovering(version)
    recovery.swarm.source_count = sources
    assert cut(recovery, BlockRun(*run), source, FOUR_AT_FIRST) == expected


@pytest.mark.parametrize(
    ("left", "sources", "expected"),
    [(256, 1, 64), (64, 1, 32), (64, 2, 16), (64, 4, 8), (8, 4, 1), (2, 1, 1), (1, 1, 1)],
)
def test_toward_the_end_ranges_shrink_so_that_all_finish_together(
    left: int, sources: int, expected: int
) -> None:
    version = saved(4096)
    recovery = recovering(version)
    recovery.coverage.unclaimed = blocks((4096 - left, 4096))
    source = peer(A, holding(version), rate=1000 * MIB)
    run = BlockRun(4096 - left, 4096)
    recovery.swarm.source_count = sources
    assert cut(recovery, run, source, Options()).block_count == expected


def test_toward_the_end_of_a_class_ranges_shrink_however_much_there_is_of_the_next() -> None:
    version = saved(critical=[64], deferred=[4032])
    recovery = recovering(version)
    recovery.coverage.unclaimed = blocks((48, 4096))
    recovery.swarm.source_count = 2
    source = peer(A, holding(version), rate=1000 * MIB)
    assert cut(recovery, BlockRun(48, 4096), source, Options()) == (48, 52)
    assert cut(recovery, BlockRun(64, 4096), source, Options()) == (64, 128)


def test_toward_the_end_a_source_gets_its_part_of_what_all_deliver() -> None:
    version = saved(4096)
    recovery = recovering(version)
    recovery.coverage.unclaimed = blocks((4032, 4096))
    recovery.swarm.source_count, recovery.swarm.total_rate = 2, 400.0 * MIB
    fast = peer(A, holding(version), rate=300 * MIB)
    slow = peer(B, holding(version), rate=100 * MIB)
    run = BlockRun(4032, 4096)
    assert cut(recovery, run, fast, Options()).block_count == 24
    assert cut(recovery, run, slow, Options()).block_count == 8


def test_small_blocks_are_not_asked_for_one_by_one() -> None:
    version = saved(64, block_size_bytes=MIB // 4)
    recovery = recovering(version)
    source = peer(A, holding(version), rate=1000 * MIB)
    recovery.coverage.unclaimed = blocks((56, 64))
    recovery.swarm.source_count = 8
    assert cut(recovery, BlockRun(56, 64), source, Options()) == (56, 60)


# The background


BACKGROUND = saved(64, critical=[8])
USUAL = saved(8, checkpoint="llama/rank-1")


def test_a_range_of_the_background_is_asked_for_as_deferred() -> None:
    script = Script()
    [order] = ranges(script.start(BACKGROUND, A, is_background=True))
    assert (order.blocks.start, order.criticality) == (0, DEFERRED)


def test_critical_units_in_the_background_wait_for_deferred_ones_of_others() -> None:
    script, usual = Script(options=NO_COMMITS), saved(deferred=[8], checkpoint="llama/rank-1")
    script.start(BACKGROUND, holds(A, BACKGROUND, usual), is_background=True)
    script.start(usual, recovery=R2)
    while script.recovery(R2).coverage.unclaimed:
        orders = ranges(script.deliver(script.in_flight[0], after_ms=1))
        is_left = bool(script.recovery(R2).coverage.unclaimed)
        assert not is_left or {order.recovery for order in orders} <= {R2}


def test_a_source_is_left_alone_while_another_recovery_has_its_lane_full() -> None:
    script = Script(options=NO_COMMITS)
    script.start(USUAL, holds(A, BACKGROUND, USUAL))
    script.start(BACKGROUND, recovery=R2, is_background=True)
    assert {order.recovery for order in script.in_flight} == {R}
    assert script.view(R2).waiting_for == ("sources that have work of another recovery to do first")


def test_the_background_goes_on_where_nobody_else_can_use_a_source() -> None:
    script = Script(options=NO_COMMITS)
    script.start(USUAL, holds(A, BACKGROUND, USUAL), holds(B, BACKGROUND))
    assert whom(script.start(BACKGROUND, recovery=R2, is_background=True)) == [(B, (0, 2))]


@pytest.mark.parametrize("event", [RecoveryPaused(R), RecoveryCancelled(R)])
def test_the_background_goes_on_when_the_others_stop(event: Event) -> None:
    script = Script(options=NO_COMMITS)
    script.start(USUAL, holds(A, BACKGROUND, USUAL))
    script.start(BACKGROUND, recovery=R2, is_background=True)
    orders = ranges(script.tell(event) + script.wait(300))
    assert {order.recovery for order in orders} == {R2}


def test_the_background_goes_on_when_nothing_is_left_that_others_could_use_a_source_for() -> None:
    script = Script(options=NO_COMMITS)
    script.start(USUAL, holds(A, BACKGROUND, USUAL))
    script.start(BACKGROUND, recovery=R2, is_background=True)
    while orders := [order for order in script.in_flight if order.recovery == R]:
        assert {order.recovery for order in script.in_flight} == {R}
        script.deliver(orders[0], after_ms=1)
    script.wait(300)
    assert {order.recovery for order in script.in_flight} == {R2}


def test_what_the_background_has_in_flight_is_given_up_for_others() -> None:
    script = Script(options=NO_COMMITS)
    script.start(BACKGROUND, holds(A, BACKGROUND, USUAL), is_background=True)
    effects = script.start(USUAL, recovery=R2)
    assert CloseLane(LaneId(1), A, CloseReason.PREEMPTED) in effects
    assert [order.recovery for order in ranges(effects)] == [R2]


def test_recoveries_in_the_background_do_not_give_way_to_each_other() -> None:
    script = Script(options=NO_COMMITS)
    usual = saved(critical=[8], checkpoint="llama/rank-1")
    script.start(BACKGROUND, holds(A, BACKGROUND, usual), is_background=True)
    effects = script.start(usual, recovery=R2, is_background=True)
    assert not [effect for effect in effects if isinstance(effect, CloseLane)]


def test_what_is_raised_in_the_background_stays_in_the_background() -> None:
    script = Script(options=NO_COMMITS)
    script.start(USUAL, holds(A, BACKGROUND, USUAL))
    script.start(BACKGROUND, recovery=R2, is_background=True)
    assert ranges(script.tell(UnitsPrioritized(R2, blocks((40, 44))))) == []
    [order, *_] = ranges(script.tell(RecoveryPaused(R)) + script.wait(300))
    assert (order.blocks, order.criticality) == ((40, 44), DEFERRED)


# Where a source goes on


@pytest.mark.parametrize("is_swarming", [False, True])
@pytest.mark.parametrize(
    ("failures", "sources", "is_trial"),
    [(0, 1, False), (0, 2, False), (1, 1, False), (1, 2, True), (2, 2, True), (1, 3, True)],
)
def test_one_of_several_sources_that_failed_last_is_tried_with_the_last_block(
    failures: int, sources: int, is_trial: bool, is_swarming: bool
) -> None:
    version = saved(critical=[16], deferred=[16])
    recovery, source = recovering(version), peer(A, holding(version))
    source.link.failures, recovery.swarm.source_count = failures, sources
    recovery.swarm.is_swarming = is_swarming
    usual = (0, 16) if is_swarming else (0, 32)
    assert preferred_run(recovery, source) == ((15, 16) if is_trial else usual)
    recovery.coverage.prioritized = blocks((20, 24))
    assert preferred_run(recovery, source) == ((23, 24) if is_trial else (20, 24))


@pytest.mark.parametrize(
    ("own_run", "expected"),
    [
        (None, (28, 36)),
        ((22, 24), (24, 36)),
        ((12, 20), (28, 36)),
        ((0, 20), (28, 36)),
        ((30, 36), (28, 36)),
    ],
)
def test_a_node_of_a_swarm_begins_each_class_at_its_own_place(
    own_run: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    # All that recover together end the class before it at the same block.
    version = saved(16, critical=[20], deferred=[16])
    recovery, source = recovering(version), peer(A, holding(version))
    recovery.coverage.unclaimed = blocks((20, 52))
    recovery.swarm.is_swarming, recovery.swarm.own_place = True, 0.5
    recovery.swarm.own_run = None if own_run is None else BlockRun(*own_run)
    assert preferred_run(recovery, source) == expected


@pytest.mark.parametrize(("held", "expected"), [((0, 16), (4, 16)), ((0, 8), (0, 8))])
def test_a_receiver_counts_as_one_that_has_what_it_has(
    held: tuple[int, int], expected: tuple[int, int]
) -> None:
    version = saved(16)
    recovery, source = recovering(version), peer(A, holding(version, blocks(held)))
    recovery.swarm.is_swarming = True
    recovery.swarm.spread = Spread([blocks((0, 4))])
    assert preferred_run(recovery, source) == expected


# What is left to others

AGE_NS = Options().commits.age_ns


def left_to_others(change: Callable[[Recovery, Peer], None] | None = None) -> bool:
    """Let a complete source offer what other receivers have and deliver as fast."""
    version = saved(16)
    recovery = recovering(version)
    source = peer(A, holding(version), rate=8.0 * MIB)
    recovery.swarm.is_swarming = True
    recovery.swarm.spread = Spread([blocks((0, 4))])
    recovery.swarm.spread_grew_ns = 10 * SECOND
    recovery.swarm.swarm_rate = 8.0 * MIB
    recovery.work.transfer_count = 1
    if change is not None:
        change(recovery, source)
    run = BlockRun(0, 4)
    offer = Offer((False, NORMAL, 1, 0, A, 0), recovery, source, run, NORMAL)
    return is_left_to_others(recovery, offer, Options(), now=10 * SECOND + AGE_NS - 1)


def not_swarming(recovery: Recovery, _: Peer) -> None:
    recovery.swarm.is_swarming = False


def never_grew(recovery: Recovery, _: Peer) -> None:
    recovery.swarm.spread_grew_ns = None


def grew_too_long_ago(recovery: Recovery, _: Peer) -> None:
    recovery.swarm.spread_grew_ns = 10 * SECOND - 1


def nothing_under_way(recovery: Recovery, _: Peer) -> None:
    recovery.work.transfer_count = 0


def source_has_a_part(recovery: Recovery, source: Peer) -> None:
    source.holdings[recovery.content.digest] = holding(saved(16), blocks((0, 8)))


def nobody_else_has_it(recovery: Recovery, _: Peer) -> None:
    recovery.swarm.spread = Spread([blocks((1, 16))])


def somebody_waits_for_it(recovery: Recovery, _: Peer) -> None:
    recovery.coverage.prioritized = blocks((0, 1))


def others_are_slower(recovery: Recovery, _: Peer) -> None:
    recovery.swarm.swarm_rate -= 1


@pytest.mark.parametrize(
    "change",
    [
        not_swarming,
        never_grew,
        grew_too_long_ago,
        nothing_under_way,
        source_has_a_part,
        nobody_else_has_it,
        somebody_waits_for_it,
        others_are_slower,
    ],
)
def test_a_range_is_left_to_others_only_if_all_of_it_holds(
    change: Callable[[Recovery, Peer], None],
) -> None:
    assert left_to_others()
    assert not left_to_others(change)


# Detours


@pytest.mark.parametrize(
    ("rate_mib", "load_bytes", "left", "owed_bytes", "total_rate", "expected"),
    [
        (4, 0, 1, 0, 104 * MIB, False),  # a quarter of a second
        (4, 1, 1, 0, 104 * MIB, True),
        (1, 0, 1, 0, 2 * MIB, False),  # twice what the rest takes
        (1, 0, 1, 0, 2 * MIB + 1, True),
        (1, 0, 1, 0, 2 * MIB - 1, False),
        (1, 0, 1, 1, 2 * MIB, False),
        (1, 0, 0, MIB, 2 * MIB + 1, True),
        (1, 0, 1, GIB, 104 * MIB, False),  # what others owe is part of the rest
        (1, 0, 0, 0, 1, True),
        (1, 0, 0, 0, 0, False),
    ],
)
def test_a_detour_takes_more_than_a_moment_and_more_than_twice_the_rest(
    rate_mib: int, load_bytes: int, left: int, owed_bytes: int, total_rate: int, expected: bool
) -> None:
    scene, version = Scene(), saved(64)
    recovery = scene.recovery(version, unclaimed=blocks((64 - left, 64)) if left else blocks())
    slow, fast = scene.peer(A, version, rate=rate_mib * MIB), scene.peer(B, version, rate=GIB)
    slow.link.load_bytes = load_bytes
    recovery.work.owed_bytes, recovery.swarm.total_rate = owed_bytes, float(total_rate)
    peers, run = [slow, fast], BlockRun(63, 64)
    assert is_detour(recovery, slow, run, peers, Options(), now=scene.now) is expected


@pytest.mark.parametrize("reason", ["unknown", "as slow", "rests", "is lost", "lacks it"])
def test_it_is_no_detour_if_the_only_other_source_would_not_do(reason: str) -> None:
    scene, version = Scene(), saved(64)
    recovery = scene.recovery(version, unclaimed=blocks((63, 64)))
    slow, other = scene.peer(A, version, rate=MIB), scene.peer(B, version, rate=GIB)
    recovery.swarm.total_rate = float(GIB)

    def is_one() -> bool:
        run = BlockRun(63, 64)
        return is_detour(recovery, slow, run, [slow, other], Options(), now=scene.now)

    assert is_one()
    match reason:
        case "unknown":
            other.link.rate.bytes_per_s = 0.0
        case "as slow":
            other.link.rate.bytes_per_s = slow.link.rate.bytes_per_s
        case "rests":
            other.link.usable_at_ns = scene.now + 1
        case "is lost":
            other.is_live = False
        case _:
            other.holdings = {version.digest: holding(version, blocks((0, 63)))}
    assert not is_one()


@pytest.mark.parametrize(
    ("sources", "total_rate", "expected"), [(0, 0, 4), (1, 0, 4), (4, 0, 2), (4, 100 * MIB, 2)]
)
def test_a_source_that_is_not_known_gets_what_is_left_for_each(
    sources: int, total_rate: int, expected: int
) -> None:
    version = saved(16)
    recovery = recovering(version)
    recovery.swarm.source_count, recovery.swarm.total_rate = sources, float(total_rate)
    order = cut(recovery, BlockRun(0, 16), peer(A, holding(version)), FOUR_AT_FIRST)
    assert order.block_count == expected
