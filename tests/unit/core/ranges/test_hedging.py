"""Duplicate requests for critical ranges that are late."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import pytest

from ckptd.core.effects import CloseLane, FetchRange
from ckptd.core.options import Options
from ckptd.core.ranges.hedging import find_hedge, find_race, losers
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, MS
from ckptd.model.ids import NodeId
from ckptd.model.words import CloseReason, Criticality, RangeOutcome, WasteReason
from tests.support.scenes import Scene
from tests.support.scheduling import (
    NO_COMMITS,
    OF_B,
    A,
    B,
    C,
    Saved,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    whom,
)

WIDE = adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB}, hedging={"share": 0.5})
"""Ranges of four blocks, and half of the version may be asked for twice."""


def silent_source(version: Saved, options: Options = WIDE) -> tuple[Script, FetchRange]:
    """Let A deliver one block of its range and fall silent; B has delivered all of its own."""
    script = Script(options=options)
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    late = orders[A]
    script.arrive(late, late.blocks.start + 1, after_ms=10)
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    return script, late


def hedges(script: Script, ms: int) -> list[FetchRange]:
    return [order for order in ranges(script.wait(ms)) if order.source == B]


def test_a_critical_range_that_is_late_is_asked_of_a_second_source() -> None:
    script, late = silent_source(saved(critical=[8]))
    [hedge] = hedges(script, 250)
    assert hedge.blocks == (late.blocks.start + 1, late.blocks.end)
    assert late.transfer in script.scheduler.inspect().transfers  # the first source may still win


def test_a_range_that_is_not_critical_is_not_hedged() -> None:
    script, _ = silent_source(saved(8))
    assert hedges(script, 400) == []


def test_what_comes_in_time_is_not_hedged() -> None:
    script, late = silent_source(saved(critical=[8]))
    for block in range(late.blocks.start + 2, late.blocks.end + 1):
        assert ranges(script.arrive(late, block, after_ms=150)) == []


def test_a_range_is_hedged_once() -> None:
    script, _ = silent_source(saved(critical=[8]))
    assert len(hedges(script, 490)) == 1


def test_hedges_keep_to_their_budget() -> None:
    script, _ = silent_source(saved(critical=[8]), adjusted(WIDE, hedging={"share": 0.05}))
    assert hedges(script, 400) == []


def test_the_loser_is_cut_off_when_the_hedge_delivers_first() -> None:
    script, late = silent_source(saved(critical=[8]))
    [hedge] = hedges(script, 250)
    effects = script.deliver(hedge, after_ms=5)
    [closing] = [effect for effect in effects if isinstance(effect, CloseLane)]
    assert (closing.source, closing.reason) == (A, CloseReason.REDUNDANT)
    script.end(late, RangeOutcome.CLOSED)
    recovery = script.recovery()
    assert recovery.coverage.verified == saved(critical=[8]).blocks
    assert recovery.tally.waste.total_bytes == 0
    assert recovery.duplicates.count == 1


def test_the_hedge_is_cut_off_when_the_first_source_wakes_up() -> None:
    script, late = silent_source(saved(critical=[8]))
    [hedge] = hedges(script, 250)
    script.arrive(hedge, hedge.blocks.start + 1, after_ms=1)
    effects = script.deliver(late, after_ms=1)
    [closing] = [effect for effect in effects if isinstance(effect, CloseLane)]
    assert (closing.source, closing.reason) == (B, CloseReason.REDUNDANT)
    assert script.recovery().tally.waste.by_reason == {
        WasteReason.HEDGE: MIB  # the block that both sent
    }


def test_a_hedge_that_breaks_does_not_cut_off_the_first_source() -> None:
    script, _ = silent_source(saved(critical=[8]))
    [hedge] = hedges(script, 250)
    effects = script.end(hedge, RangeOutcome.DISCONNECTED)
    assert [effect.source for effect in effects if isinstance(effect, CloseLane)] == [B]


def test_blocks_that_a_hedge_still_owes_are_not_ordered_a_third_time() -> None:
    script, late = silent_source(saved(critical=[8]))
    [hedge] = hedges(script, 250)
    effects = script.end(late, RangeOutcome.DISCONNECTED)
    assert ranges(effects) == []
    [left] = script.in_flight
    assert left == hedge


def test_nobody_is_asked_who_does_not_have_it() -> None:
    version = saved(critical=[8])
    script, late = silent_source(version)
    owed = version.blocks.without_run((late.blocks.start + 1, late.blocks.start + 2))
    script.tell(holds(B, holding(version, owed)))
    assert hedges(script, 400) == []


def test_a_first_byte_later_than_three_times_the_usual_is_late() -> None:
    script, version = Script(options=WIDE), saved(critical=[8])
    for _ in range(20):
        script.scheduler.inspect().first_bytes.add(100 * MS)
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    script.deliver(orders[B], after_ms=50)
    assert hedges(script, 200) == []
    [hedge] = hedges(script, 200)
    assert hedge.blocks == orders[A].blocks


# Races

RACING = adjusted(
    NO_COMMITS, hedging={"redundancy": 2}, ranges={"bytes_first": 4 * MIB, "bytes_min": 4 * MIB}
)
"""Ranges of four blocks; two sources race for what is left of the critical units."""


def raced(orders: list[FetchRange]) -> list[tuple[int, int]]:
    """Return what was ordered more than once."""
    runs = sorted((order.blocks.start, order.blocks.end) for order in orders)
    return [two for one, two in pairwise(runs) if two[0] < one[1]]


def test_an_idle_source_races_for_a_critical_range_that_is_owed() -> None:
    script = Script(options=RACING)
    orders = ranges(script.start(saved(critical=[8]), A, B, C))
    assert [(order.source, order.blocks) for order in orders[:2]] == [(A, (0, 4)), (B, (4, 8))]
    [duplicate] = orders[2:]
    assert (duplicate.source, duplicate.criticality) == (C, Criticality.CRITICAL)
    assert duplicate.blocks in {order.blocks for order in orders[:2]}


def test_without_redundancy_nothing_is_asked_for_twice() -> None:
    script = Script(options=adjusted(RACING, hedging={"redundancy": 1}))
    assert len(ranges(script.start(saved(critical=[8]), A, B, C))) == 2


def test_a_source_races_rather_than_turn_to_less_urgent_units() -> None:
    script = Script(options=RACING)
    orders = ranges(script.start(saved(64, critical=[8]), A, B, C))
    assert {order.criticality for order in orders} == {Criticality.CRITICAL}


def test_nobody_races_while_he_has_critical_work_of_his_own() -> None:
    script = Script(options=RACING)
    first, second = ranges(script.start(saved(critical=[8]), A, B))
    assert ranges(script.arrive(first, 1, after_ms=1) + script.arrive(second, 5)) == []
    assert whom(script.deliver(first)) == [(A, (5, 8))]


def test_a_range_is_raced_for_once() -> None:
    script = Script(options=RACING)
    orders = ranges(script.start(saved(critical=[4]), A, B, C, NodeId("d")))
    assert [order.blocks for order in orders] == [(0, 4), (0, 4)]


def test_who_delivers_first_wins_a_race_and_the_other_one_is_spared_the_rest() -> None:
    script = Script(options=RACING)
    first, second = ranges(script.start(saved(critical=[4]), A, B))
    script.arrive(first, 1, after_ms=1)
    effects = script.deliver(second, after_ms=1)
    [closing] = [effect for effect in effects if isinstance(effect, CloseLane)]
    assert (closing.source, closing.reason) == (A, CloseReason.REDUNDANT)
    script.end(first, RangeOutcome.CLOSED)
    assert (
        script.recovery().tally.waste.by_reason[WasteReason.HEDGE] == MIB
    )  # the block that both sent


def test_a_range_that_became_superfluous_behind_another_one_is_not_answered() -> None:
    script = Script(options=RACING)
    [ahead] = ranges(script.start(saved(critical=[8]), A))
    [behind] = ranges(script.arrive(ahead, 1, after_ms=1))
    [duplicate] = ranges(script.tell(holds(B, saved(critical=[8]))))
    assert (behind.blocks, duplicate.blocks) == ((4, 8), (4, 8))
    assert not [one for one in script.deliver(duplicate) if isinstance(one, CloseLane)]
    closed = [one for one in script.deliver(ahead) if isinstance(one, CloseLane)]
    assert (A, CloseReason.REDUNDANT) in [(one.source, one.reason) for one in closed]


def test_races_cost_no_more_than_the_critical_units_have() -> None:
    script = Script(options=RACING)
    version = saved(critical=[4])
    script.start(version, A, B)
    ordered = []
    for _ in range(6):
        script.end_all(RangeOutcome.BUSY)
        ordered += [ranges(script.wait(15_000))]
    assert script.recovery().duplicates.raced_bytes == version.space.size_bytes
    assert any(ordered)


def test_races_do_not_spend_the_budget_of_hedges() -> None:
    script = Script(options=RACING)
    script.start(saved(critical=[8]), A, B, C)
    recovery = script.recovery()
    assert (recovery.duplicates.count, recovery.duplicates.hedged_bytes) == (1, 0)


def test_nobody_races_in_the_background() -> None:
    script = Script(options=RACING)
    orders = ranges(script.start(saved(critical=[8]), A, B, C, is_background=True))
    assert raced(orders) == []


# Who is asked for a hedge


class Late(NamedTuple):
    """A owes a critical range of four blocks, of which one is here; B and C could hedge it."""

    scene: Scene
    recovery: Recovery
    lane: Lane
    second: Peer
    third: Peer

    def hedge(self) -> tuple[NodeId, tuple[int, int]] | None:
        found = find_hedge(self.scene.step, self.lane)
        return None if found is None else (found[0].node, found[1])


def late_lane() -> Late:
    scene, version = Scene(options=adjusted(Options(), hedging={"share": 0.5})), saved(critical=[8])
    recovery = scene.recovery(version, unclaimed=blocks())
    lane = scene.lane(recovery, scene.peer(A, version), (0, 4), criticality=Criticality.CRITICAL)
    lane.transfers[0].next_block = 1
    second, third = scene.peer(B, version, rate=8 * MIB), scene.peer(C, version, rate=4 * MIB)
    return Late(scene, recovery, lane, second, third)


def test_another_node_is_asked_for_a_hedge_rather_than_the_late_one_on_another_path() -> None:
    late = late_lane()
    late.second.node = A  # it would be done first
    assert late.hedge() == (C, (1, 4))
    late.third.is_live = False
    assert late.hedge() == (A, (1, 4))


@pytest.mark.parametrize(("rates", "expected"), [((8, 4), B), ((4, 8), C), ((8, 8), B)])
def test_the_source_is_asked_for_a_hedge_that_would_be_done_first(
    rates: tuple[int, int], expected: NodeId
) -> None:
    late = late_lane()
    late.second.link.rate.bytes_per_s, late.third.link.rate.bytes_per_s = rates
    assert late.hedge() == (expected, (1, 4))


@pytest.mark.parametrize(
    ("reason", "is_able"),
    [
        ("has not heard of it", False),
        ("rests", False),
        ("lacks the first block", False),
        ("sent the first block wrongly", False),
        ("has two ranges to send", True),
        ("has three ranges to send", False),
        ("its only lane is closing", False),
        ("has a lane that stands idle", True),
    ],
)
def test_only_who_can_begin_with_what_is_owed_is_asked_for_a_hedge(
    reason: str, is_able: bool
) -> None:
    late = late_lane()
    scene, recovery, second = late.scene, late.recovery, late.second
    late.third.is_live = False
    version = saved(critical=[8])
    match reason:
        case "has not heard of it":
            second.holdings.clear()
        case "rests":
            second.link.usable_at_ns = scene.now + 1
        case "lacks the first block":
            second.holdings = {version.digest: holding(version, blocks((0, 1), (2, 8)))}
        case "sent the first block wrongly":
            recovery.refused[OF_B] = blocks((1, 2))
        case "has two ranges to send":
            scene.lane(recovery, second, (4, 5), (5, 6))
        case "has three ranges to send":
            scene.lane(recovery, second, (4, 5), (5, 6), (6, 7))
        case "its only lane is closing":
            scene.lane(recovery, second).is_closing = True
        case _:
            scene.lane(recovery, second)
    assert late.hedge() == ((B, (1, 4)) if is_able else None)


@pytest.mark.parametrize(
    ("held", "expected"), [((1, 2), (1, 2)), ((0, 3), (1, 3)), ((1, 8), (1, 4)), ((0, 1), None)]
)
def test_a_hedge_goes_as_far_as_the_second_source_can(
    held: tuple[int, int], expected: tuple[int, int] | None
) -> None:
    late = late_lane()
    version = saved(critical=[8])
    late.third.is_live = False
    late.second.holdings = {version.digest: holding(version, blocks(held))}
    assert late.hedge() == (expected and (B, expected))


def test_nothing_is_hedged_of_a_range_that_is_dealt_with() -> None:
    late = late_lane()
    late.lane.transfers[0].next_block = 4
    assert late.hedge() is None


@pytest.mark.parametrize(
    ("spent_bytes", "is_left"), [(MIB - 1, True), (MIB, True), (MIB + 1, False)]
)
def test_hedges_spend_no_more_than_their_share_of_the_version(
    spent_bytes: int, is_left: bool
) -> None:
    late = late_lane()
    late.recovery.duplicates.hedged_bytes = spent_bytes
    assert (late.hedge() is not None) is is_left


# Who races for what


class Race(NamedTuple):
    """A owes two critical ranges; B could race for one of them."""

    scene: Scene
    recovery: Recovery
    lane: Lane
    runner: Peer

    def found(self) -> tuple[int, int] | None:
        found = find_race(self.scene.step, self.recovery, self.runner)
        return None if found is None else found[1]


def race(*, is_background: bool = False, redundancy: int = 2) -> Race:
    options = adjusted(Options(), hedging={"redundancy": redundancy})
    scene, version = Scene(options=options), saved(4, critical=[8])
    recovery = scene.recovery(version, unclaimed=blocks(), is_background=is_background)
    owing = scene.peer(A, version, rate=8 * MIB)
    lane = scene.lane(recovery, owing, (0, 4), (4, 8), criticality=Criticality.CRITICAL)
    return Race(scene, recovery, lane, scene.peer(B, version, rate=8 * MIB))


def test_a_source_races_for_what_would_be_here_last() -> None:
    assert race().found() == (4, 8)
    case = race()
    case.lane.transfers[1].is_hedged = True
    assert case.found() == (0, 4), "for each range once"


@pytest.mark.parametrize(
    ("reason", "is_racing"),
    [
        ("redundancy is 1", False),
        ("in the background", False),
        ("paused", False),
        ("has a critical range of its own", False),
        ("has a normal range of its own", True),
        ("has no room", False),
        ("has something critical to begin", False),
        ("has something to begin that somebody waits for", False),
        ("has something normal to begin", True),
        ("the lane is closing", False),
        ("the ranges are not critical", False),
        ("has none of it", False),
        ("cannot begin with them", False),
    ],
)
def test_who_has_critical_work_or_cannot_help_does_not_race(reason: str, is_racing: bool) -> None:
    case = race(
        is_background=reason == "in the background",
        redundancy=1 if reason == "redundancy is 1" else 2,
    )
    scene, recovery, runner = case.scene, case.recovery, case.runner
    match reason:
        case "paused":
            recovery.is_paused = True
        case "has a critical range of its own":
            scene.lane(recovery, runner, (8, 9), criticality=Criticality.CRITICAL)
        case "has a normal range of its own":
            scene.lane(recovery, runner, (8, 9))
        case "has no room":
            runner.link.usable_at_ns = scene.now + 1
        case "has something critical to begin":
            case.lane.transfers.pop()
            recovery.coverage.unclaimed = blocks((4, 8))
        case "has something to begin that somebody waits for":
            recovery.coverage.unclaimed = recovery.coverage.prioritized = blocks((9, 10))
        case "has something normal to begin":
            recovery.coverage.unclaimed = blocks((9, 10))
        case "the lane is closing":
            case.lane.is_closing = True
        case "the ranges are not critical":
            case.lane.transfers.clear()
            scene.lane(recovery, scene.state.peers[A], (8, 12))
        case "has none of it":
            runner.holdings.clear()
        case "cannot begin with them":
            recovery.refused[OF_B] = blocks((0, 1), (4, 5))
        case _:
            pass
    assert (case.found() is not None) is is_racing


@pytest.mark.parametrize(
    ("rates", "received", "expected"),
    [
        ((8, 8), 0, (0, 4)),  # equally late: the first
        ((8, 4), 0, (4, 8)),
        ((4, 8), 0, (0, 4)),
        ((8, 8), 1, (4, 8)),
        ((0, 8), 0, (0, 4)),  # not known: a byte a second
    ],
)
def test_how_late_a_range_will_be_is_what_is_ahead_of_it_at_the_rate_of_its_source(
    rates: tuple[int, int], received: int, expected: tuple[int, int]
) -> None:
    case = race()
    case.lane.transfers.pop()
    other = case.scene.peer(C, saved(4, critical=[8]), rate=rates[1] * MIB)
    case.scene.lane(case.recovery, other, (4, 8), criticality=Criticality.CRITICAL)
    case.lane.link.rate.bytes_per_s = float(rates[0] * MIB)
    case.lane.transfers[0].received_bytes = received
    assert case.found() == expected


def test_lanes_that_work_share_the_rate_of_their_source() -> None:
    case = race()
    case.lane.transfers.pop()
    case.scene.lane(case.recovery, case.scene.state.peers[A], (8, 9))
    other = case.scene.peer(C, saved(4, critical=[8]), rate=5 * MIB)
    case.scene.lane(case.recovery, other, (4, 8), criticality=Criticality.CRITICAL)
    assert case.found() == (0, 4), "half of 8 MiB/s is less than 5"


@pytest.mark.parametrize(
    ("raced_bytes", "is_racing"), [(4 * MIB - 1, True), (4 * MIB, True), (4 * MIB + 1, False)]
)
def test_races_spend_no_more_than_the_critical_units_have(
    raced_bytes: int, is_racing: bool
) -> None:
    case = race()
    case.recovery.duplicates.raced_bytes = raced_bytes
    assert (case.found() is not None) is is_racing


# Who lost


@pytest.mark.parametrize(
    ("change", "is_lost"),
    [
        ("nothing", True),
        ("it is the hedge", True),
        ("nobody hedged it", False),
        ("there were no duplicates", False),
        ("the lane is closing", False),
        ("it is dealt with", False),
        ("a block is missing", False),
        ("it is behind another one", False),
        ("the lane stands idle", False),
    ],
)
def test_a_range_lost_if_a_duplicate_of_it_delivered_all_that_it_owes(
    change: str, is_lost: bool
) -> None:
    case = race()
    case.recovery.duplicates.count = 1
    case.recovery.coverage.verified = blocks((1, 4))
    first = case.lane.transfers[0]
    first.next_block, first.is_hedged = 1, True
    match change:
        case "it is the hedge":
            first.is_hedge, first.is_hedged = True, False
        case "nobody hedged it":
            first.is_hedged = False
        case "there were no duplicates":
            case.recovery.duplicates.count = 0
        case "the lane is closing":
            case.lane.is_closing = True
        case "it is dealt with":
            first.next_block = 4
        case "a block is missing":
            case.recovery.coverage.verified = blocks((1, 3))
        case "it is behind another one":
            case.lane.transfers.rotate()
        case "the lane stands idle":
            case.lane.transfers.clear()
        case _:
            pass
    assert list(losers(case.recovery)) == [case.lane] * is_lost
