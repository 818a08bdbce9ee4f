"""Duplicate requests for critical ranges that are late."""

from __future__ import annotations

from itertools import pairwise

from ckptd.core.effects import CloseLane, FetchRange
from ckptd.core.options import Options
from ckptd.limits import MIB, MS
from ckptd.model.ids import NodeId
from ckptd.model.words import CloseReason, Criticality, RangeOutcome, WasteReason
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    B,
    C,
    Saved,
    Script,
    adjusted,
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
