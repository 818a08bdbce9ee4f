"""Units, and whole recoveries, that somebody waits for while they are under way."""

from __future__ import annotations

from ckptd.core.effects import CommitBlocks, Effect
from ckptd.core.events import (
    BlocksCommitted,
    HoldingsArrived,
    ManifestArrived,
    RecoveryPaused,
    RecoveryPromoted,
    StagingPrepared,
)
from ckptd.core.events import UnitsPrioritized as Raised
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import CRITICAL
from ckptd.model.words import Criticality, RangeOutcome
from tests.support.scheduling import (
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
    wanted,
    whom,
)

SMALL = adjusted(NO_COMMITS, ranges={"bytes_min": 2 * MIB, "bytes_first": 2 * MIB})
"""Ranges of two blocks."""


def finish(script: Script, orders: list[Effect]) -> list[tuple[int, int]]:
    """Deliver whatever is ordered, oldest first; return the runs in the order of the orders."""
    found = [run for _, run in whom(orders)]
    while script.in_flight:
        found += [run for _, run in whom(script.deliver(script.in_flight[0], after_ms=1))]
    return found


def test_a_raised_unit_goes_before_everything_that_is_not_in_flight() -> None:
    script, version = Script(options=SMALL), saved(6, critical=[4], deferred=[6])
    first = script.start(version, A)
    script.tell(Raised(R, blocks((10, 13))))
    assert finish(script, first) == [
        (0, 2), (10, 12), (12, 13), (2, 4), (4, 6), (6, 8), (8, 10), (13, 15), (15, 16)
    ]  # fmt: skip


def test_a_raised_range_is_asked_for_as_critical_and_the_rest_is_not() -> None:
    script, version = Script(options=SMALL), saved(4, deferred=[4])
    [first] = ranges(script.start(version, A))
    script.tell(Raised(R, blocks((4, 6))))
    [prioritized] = ranges(script.arrive(first, 1, after_ms=1))
    assert (prioritized.blocks, prioritized.criticality) == ((4, 6), Criticality.CRITICAL)
    [after] = ranges(
        script.end(first, RangeOutcome.BUSY) + script.deliver(prioritized, after_ms=500)
    )
    assert after.criticality is Criticality.NORMAL


def test_what_is_raised_later_does_not_overtake_a_lower_address() -> None:
    script, version = Script(options=SMALL), saved(4, deferred=[2, 2, 2])
    first = script.start(version, A)
    script.tell(Raised(R, blocks((6, 8))), Raised(R, blocks((4, 6))), Raised(R, blocks((8, 10))))
    assert finish(script, first)[1:4] == [(4, 6), (6, 8), (8, 10)]


def test_raised_units_of_one_recovery_go_before_normal_ones_of_an_older_one() -> None:
    script = Script(options=SMALL)
    version, other = saved(8), saved(2, deferred=[2], checkpoint="llama/rank-1")
    script.start(version, holds(A, version, other))
    script.tell(wanted(other, R2), ManifestArrived(R2, A, other.space))
    orders = ranges(script.tell(Raised(R2, blocks((2, 4))), StagingPrepared(R2, BlockSet())))
    assert [(order.recovery, order.blocks) for order in orders] == [(R2, (2, 4))]


def test_a_source_without_the_raised_unit_goes_on_with_what_it_has() -> None:
    script, version = Script(options=SMALL), saved(4, deferred=[2])
    script.start(version, holds(B, holding(version, blocks((0, 4)))))
    script.tell(Raised(R, blocks((4, 6))))
    assert whom(script.tell(holds(A, version))) == [(A, (4, 6))]
    [theirs] = [order for order in script.in_flight if order.source == B]
    assert [source for source, _ in whom(script.deliver(theirs, after_ms=1))] == [B]


def test_a_raised_unit_goes_before_the_place_at_which_a_node_begins_in_a_swarm() -> None:
    script, version = Script(seed=3, options=SMALL), saved(64)
    other: HoldingsArrived = holds(B, holding(version, blocks((0, 2))))
    script.start(version, other)
    script.tell(Raised(R, blocks((60, 62))))
    assert whom(script.tell(holds(A, version)))[0] == (A, (60, 62))


def test_blocks_stay_raised_when_their_source_fails() -> None:
    script, version = Script(options=SMALL), saved(4, deferred=[4])
    [first] = ranges(script.start(version, A))
    script.tell(Raised(R, blocks((4, 6))))
    [prioritized] = ranges(script.deliver(first, after_ms=1))
    script.end(prioritized, RangeOutcome.DISCONNECTED)
    assert whom(script.wake_at_deadline()) == [(A, (4, 6))]


def test_nothing_is_raised_any_more_once_it_is_here() -> None:
    version = saved(4, deferred=[4])
    script = Script(options=SMALL)
    script.start(version, A, verified=blocks((4, 5)))
    script.tell(Raised(R, blocks((4, 8))))
    assert script.recovery().coverage.prioritized == blocks((5, 8))
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=1)
    assert script.recovery().coverage.prioritized == BlockSet()


def test_a_raised_range_that_is_late_is_asked_of_a_second_source() -> None:
    def second_sources(*events: Raised) -> list[tuple[int, int]]:
        options = adjusted(SMALL, hedging={"share": 0.5}, ranges={"bytes_min": 4 * MIB})
        script, version = Script(options=options), saved(8)
        orders = {order.source: order for order in ranges(script.start(version, A, B))}
        script.arrive(orders[A], orders[A].blocks.start + 1, after_ms=10)
        script.tell(*events)
        while others := [order for order in script.in_flight if order.source == B]:
            script.deliver(others[0], after_ms=1)
        return [run for source, run in whom(script.wait(300)) if source == B]

    assert second_sources(Raised(R, saved(8).blocks)) != []
    assert second_sources() == []


def test_the_time_to_critical_is_about_critical_units_only() -> None:
    version: Saved = saved(2, critical=[2], deferred=[2])
    script = Script()
    script.start(version, A, verified=version.blocks - blocks((4, 6)))
    script.tell(Raised(R, blocks((4, 6))))
    assert script.recovery().phasing.reached[CRITICAL] == script.now
    assert script.view().critical_ns == 0


def test_what_somebody_waits_for_is_committed_without_waiting_for_more() -> None:
    script, version = Script(), saved(6)
    [order] = ranges(script.start(version, A))
    assert committed(script.arrive(order, 1, after_ms=1)) == []
    script.tell(Raised(R, blocks((1, 2))))
    assert committed(script.arrive(order, 2, after_ms=1)) == [blocks((0, 2))]
    script.tell(BlocksCommitted(R))
    assert committed(script.arrive(order, 3, after_ms=1)) == []


def committed(effects: list[Effect]) -> list[BlockSet]:
    return [effect.blocks for effect in effects if isinstance(effect, CommitBlocks)]


# A recovery that leaves the background

LATER = saved(8, critical=[2])
USUAL = saved(8, checkpoint="llama/rank-1")


def test_a_promoted_recovery_is_asked_for_as_urgent_as_it_is() -> None:
    script = Script(options=SMALL)
    [first] = ranges(script.start(LATER, A, is_background=True))
    assert first.criticality is Criticality.DEFERRED
    script.tell(RecoveryPromoted(R))
    assert not script.recovery(R).is_background
    [second] = ranges(script.arrive(first, 1, after_ms=1))
    assert (second.blocks, second.criticality) == ((2, 4), Criticality.NORMAL)


def test_what_a_promoted_recovery_has_in_flight_counts_as_urgent() -> None:
    script = Script(options=SMALL)
    script.start(LATER, A, is_background=True)
    script.tell(RecoveryPromoted(R))
    [lane] = script.recovery(R).work.lanes.values()
    assert [known.criticality for known in lane.transfers] == [Criticality.CRITICAL]


def test_a_promoted_recovery_gets_at_once_what_others_kept_from_it() -> None:
    script = Script(options=SMALL)
    script.start(USUAL, holds(A, LATER, USUAL))
    assert ranges(script.start(LATER, recovery=R2, is_background=True)) == []
    orders = ranges(script.tell(RecoveryPromoted(R2)))
    assert [(order.recovery, order.criticality) for order in orders] == [(R2, Criticality.CRITICAL)]


def test_promoting_what_is_not_in_the_background_changes_nothing() -> None:
    script = Script(options=SMALL)
    [first] = ranges(script.start(LATER, A))
    script.tell(Raised(R, blocks((0, 10))))
    before = script.recovery(R).request
    assert script.tell(RecoveryPromoted(R)) == []
    assert script.recovery(R).request == before
    assert script.in_flight == [first]


def test_a_paused_recovery_that_is_promoted_stands_still() -> None:
    script = Script(options=SMALL)
    script.start(LATER, A, is_background=True)
    script.tell(RecoveryPaused(R))
    assert ranges(script.tell(RecoveryPromoted(R))) == []
