"""Ranges that somebody waits for jump the queue; what is read next comes before the rest."""

from __future__ import annotations

from ckptd.core.effects import CommitBlocks, Effect, WakeReader
from ckptd.core.events import (
    ManifestArrived,
    NeedEnded,
    RangeNeeded,
    StagingPrepared,
    UnitsPrioritized,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NeedId
from ckptd.model.words import Criticality, RangeOutcome, Stage
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
    bring_to,
    holding,
    holds,
    ranges,
    saved,
    wanted,
    whom,
)

SMALL = adjusted(NO_COMMITS, ranges={"bytes_min": 2 * MIB, "bytes_first": 2 * MIB})
"""Ranges of two blocks."""


def need(
    start: int, end: int, *, name: int = 1, unit: int = 0, reader: str = "", byte: int = 0
) -> RangeNeeded:
    """Need some blocks of a unit; of the first and the last, all bytes but one."""
    return RangeNeeded(R, NeedId(name), reader, unit, start * MIB + byte, end * MIB)


def woken(effects: list[Effect]) -> list[int]:
    return [effect.need for effect in effects if isinstance(effect, WakeReader)]


def busy(version: Saved) -> Script:
    """Bring a recovery so far that its source is known to be fast and has two ranges to do."""
    script = Script(options=NO_COMMITS)
    script.start(version, A)
    for _ in range(3):
        script.deliver(script.in_flight[0], after_ms=40)
    script.arrive(script.in_flight[0], script.in_flight[0].blocks.start + 1, after_ms=10)
    assert len(script.in_flight) == 2
    return script


def test_it_goes_before_everything_that_is_not_in_flight() -> None:
    script, version = Script(options=SMALL), saved(6, critical=[4], deferred=[6, 6])
    first = ranges(script.start(version, A))
    script.tell(UnitsPrioritized(R, blocks((10, 16))))
    [express] = ranges(script.tell(need(2, 4, unit=2, byte=1)))
    assert express.blocks == (12, 14)
    assert express.criticality is Criticality.CRITICAL
    assert express.lane != first[0].lane, "it does not wait behind what was asked for before"
    [after] = ranges(script.deliver(first[0], after_ms=1))
    assert after.blocks == (10, 12), "then prioritized units"


def test_whoever_waits_is_woken_when_any_of_it_is_here_and_not_for_anything_else() -> None:
    script, version = Script(options=SMALL), saved(16)
    [first] = ranges(script.start(version, A))
    [express] = ranges(script.tell(need(8, 10)))
    assert woken(script.arrive(first, 1, after_ms=1)) == []
    assert woken(script.arrive(express, 9, after_ms=1)) == [1]
    assert woken(script.arrive(express, 10, after_ms=1)) == [1]
    assert not script.recovery().coverage.needed
    script.tell(NeedEnded(R, NeedId(1)))
    script.tell(NeedEnded(R, NeedId(1)))
    assert not script.recovery().needs.open


def test_bytes_within_one_block_need_that_block_alone() -> None:
    script = Script(options=SMALL)
    script.start(saved(16), A)
    middle = RangeNeeded(R, NeedId(1), "", 0, 8 * MIB + 5, 8 * MIB + 6)
    assert whom(script.tell(middle)) == [(A, (8, 9))]
    nothing = RangeNeeded(R, NeedId(2), "", 0, 8 * MIB, 8 * MIB)
    assert whom(script.tell(nothing)) == []
    beyond = RangeNeeded(R, NeedId(3), "", 0, 15 * MIB, 99 * MIB)
    script.tell(beyond)
    assert script.recovery().coverage.needed == blocks((8, 9), (15, 16))


def test_who_asked_first_is_served_first_and_who_asked_again_keeps_the_place() -> None:
    script = Script(options=SMALL)
    [first] = ranges(script.start(saved(32), A))
    script.tell(need(20, 22, name=1), need(4, 6, name=2), need(30, 32, name=3))
    script.tell(need(24, 26, name=1))
    found: list[tuple[int, int]] = []
    while len(found) < 4:
        [express] = [order for order in script.in_flight if order.lane != first.lane]
        found.append(express.blocks)
        script.deliver(express, after_ms=50)
    assert found[0] == (20, 22), "that was on its way"
    assert found[1:] == [(24, 26), (4, 6), (30, 32)]


def test_whoever_needs_everything_takes_turns_with_others() -> None:
    script, version = Script(options=NO_COMMITS), saved(1000)
    script.start(version, A)
    script.tell(need(100, 1000, name=1), need(50, 51, name=2))
    assert script.recovery().coverage.needed == blocks((50, 51), (100, 116))
    assert script.recovery().coverage.ahead == blocks((116, 164)), "the rest is fetched ahead"
    script.tell(need(101, 1000, name=1))
    assert script.recovery().coverage.needed == blocks((50, 51), (100, 116))
    while not script.recovery().coverage.verified.meets(blocks((108, 109))):
        script.deliver(script.in_flight[-1], after_ms=10)
    first = min(script.recovery().coverage.needed - blocks((50, 51)))
    script.tell(need(first, 1000, name=1))
    assert script.recovery().coverage.needed.meets(blocks((first + 15, first + 16)))
    assert not script.recovery().coverage.needed.meets(blocks((first + 16, 1000)))


def test_of_so_many_that_wait_no_more_are_taken() -> None:
    script = Script(options=adjusted(NO_COMMITS, needs={"at_once_max": 2}))
    script.start(saved(64), A)
    script.tell(*(need(at, at + 1, name=at) for at in range(40, 45)))
    assert list(script.recovery().needs.open) == [40, 41]


def test_it_does_not_wait_behind_two_long_ranges() -> None:
    version = saved(1000)
    script = busy(version)
    before = {order.lane for order in script.in_flight}
    [express] = ranges(script.tell(need(900, 901)))
    assert (express.blocks, express.criticality) == ((900, 901), Criticality.CRITICAL)
    assert express.lane not in before
    # One more while that has brought nothing yet has to wait, for the express lane alone.
    assert ranges(script.tell(need(700, 701, name=2))) == []
    [second] = ranges(script.deliver(express, after_ms=10))
    assert (second.lane, second.blocks) == (express.lane, (700, 701))


def test_what_needs_nothing_takes_no_express_lane() -> None:
    script = busy(saved(1000))
    lanes = {order.lane for order in script.in_flight}
    script.tell(need(900, 901))
    script.deliver(script.in_flight[-1], after_ms=10)
    for _ in range(4):
        [usual] = [order for order in script.in_flight if order.lane in lanes][:1]
        for order in ranges(script.deliver(usual, after_ms=200)):
            assert order.lane in lanes
    assert script.recovery().work.bundles[A].usual_count == 1


def test_an_idle_source_is_asked_on_the_lane_that_there_is() -> None:
    script = Script(options=NO_COMMITS)
    version = saved(64)
    [first] = ranges(script.start(version, holds(A, holding(version, blocks((0, 1))))))
    script.deliver(first, after_ms=40)
    assert script.in_flight == []
    script.tell(need(60, 61), holds(A, version))
    assert {order.lane for order in script.in_flight} == {first.lane}
    assert script.in_flight[0].blocks == (60, 61)


def test_in_the_background_nobody_is_in_a_hurry() -> None:
    script, version = Script(options=SMALL), saved(32)
    [first] = ranges(script.start(version, A, is_background=True))
    assert ranges(script.tell(need(20, 21))) == []
    [after] = ranges(script.deliver(first, after_ms=1))
    assert (after.blocks, after.criticality) == ((20, 21), Criticality.DEFERRED)


def test_a_source_that_failed_last_is_given_no_express_lane() -> None:
    script, version = Script(options=SMALL), saved(32)
    script.start(version, A)
    script.end_all(RangeOutcome.DISCONNECTED)
    script.tell(need(20, 21))
    orders = ranges(script.wake_at_deadline())
    assert [order.blocks for order in orders] == [(20, 21)]
    assert ranges(script.tell(need(25, 26, name=2))) == []


def test_what_is_needed_stays_so_when_its_source_fails() -> None:
    script, version = Script(options=SMALL), saved(32)
    script.start(version, A, B)
    [express] = ranges(script.tell(need(20, 21)))
    again = ranges(script.end(express, RangeOutcome.DISCONNECTED))[0]
    assert again.blocks == (20, 21)
    assert again.source != express.source


def test_a_wrong_block_that_is_needed_is_asked_of_another_source_at_once() -> None:
    script, version = Script(options=SMALL), saved(32)
    script.start(version, A, B)
    [express] = ranges(script.tell(need(20, 21)))
    orders = script.arrive(express, 21, rejected=(20,), after_ms=1)
    [again] = [order for order in ranges(orders) if order.blocks == (20, 21)]
    assert again.source != express.source
    assert woken(orders) == []
    assert woken(script.arrive(again, 21, after_ms=1)) == [1]


def test_all_who_have_it_bring_a_part_of_it() -> None:
    script, version = Script(options=NO_COMMITS), saved(2000)
    script.start(version, A, B)
    for _ in range(6):
        for order in script.in_flight[:2]:
            script.deliver(order, after_ms=60)
    for order in script.in_flight:
        script.arrive(order, order.blocks.start + 1, after_ms=1)
    orders = ranges(script.tell(need(1000, 1016)))
    assert {order.source for order in orders} == {A, B}
    assert max(order.blocks.block_count for order in orders) < 16


def test_it_is_not_made_durable_sooner_than_other_blocks() -> None:
    script, version = Script(options=SMALL), saved(32)
    script.start(version, A)
    [express] = ranges(script.tell(need(20, 21)))
    orders = script.deliver(express, after_ms=1)
    assert not [order for order in orders if isinstance(order, CommitBlocks)]


def test_what_is_here_when_it_is_needed_is_not_waited_for() -> None:
    script, version = Script(options=SMALL), saved(32)
    script.start(version, A, verified=blocks((20, 24)))
    assert ranges(script.tell(need(20, 24))) == []
    assert not script.recovery().coverage.needed


def test_a_need_before_the_staging_is_prepared_counts_from_then_on() -> None:
    script, version = bring_to(Stage.PREPARING)
    script.tell(need(6, 7))
    orders = script.tell(StagingPrepared(R, BlockSet()))
    assert ranges(orders)[0].blocks == (6, 7)
    assert woken(orders) == [1], "it may be here"
    del version


def test_a_need_of_a_recovery_without_a_manifest_is_forgotten() -> None:
    script, _ = bring_to(Stage.DESCRIBING)
    script.tell(need(6, 7), NeedEnded(R, NeedId(1)))
    assert not script.recovery().needs.open


def test_what_a_reader_will_ask_for_next_comes_after_critical_units_and_before_the_rest() -> None:
    script, version = Script(options=SMALL), saved(16, critical=[4], deferred=[32])
    [first] = ranges(script.start(version, A))
    script.tell(need(0, 1, unit=2, reader="me"))
    script.tell(NeedEnded(R, NeedId(1)), need(1, 2, name=2, unit=2, reader="me"))
    assert script.recovery().coverage.ahead == blocks((22, 23))
    found: list[tuple[tuple[int, int], Criticality]] = []
    script.deliver(first, after_ms=1)
    while len(found) < 5:
        order = script.in_flight[0]
        found.append((order.blocks, order.criticality))
        script.deliver(order, after_ms=1)
    assert found[:2] == [((20, 21), Criticality.CRITICAL), ((21, 22), Criticality.CRITICAL)]
    assert found[2:4] == [((2, 4), Criticality.CRITICAL), ((22, 23), Criticality.NORMAL)]
    assert found[4] == ((4, 6), Criticality.NORMAL)


def test_a_part_of_a_need_is_not_the_reader_going_on() -> None:
    script, version = Script(options=SMALL), saved(256)
    script.start(version, A)
    script.tell(need(0, 100, reader="me"), need(8, 100, reader="me"), need(16, 100, reader="me"))
    reader = script.recovery().needs.readers["me"]
    assert reader.ahead.position == 100 * MIB
    assert not reader.blocks
    script.tell(NeedEnded(R, NeedId(1)), need(100, 101, name=2, reader="me"))
    assert reader.blocks == blocks((101, 102))


def test_a_seek_drops_what_was_to_be_fetched_ahead() -> None:
    script, version = Script(options=SMALL), saved(256)
    script.start(version, A)
    script.tell(need(0, 1, reader="me"), need(1, 2, name=2, reader="me"))
    assert script.recovery().coverage.ahead
    script.tell(NeedEnded(R, NeedId(1)), NeedEnded(R, NeedId(2)))
    assert script.recovery().coverage.ahead, "it reads, though it waits for nothing"
    script.tell(need(200, 201, name=3, reader="me"))
    assert not script.recovery().coverage.ahead


def test_what_is_under_way_far_behind_is_asked_for_once_more() -> None:
    script = busy(saved(1000))
    second = script.in_flight[1]
    late = second.blocks.end - 1
    [again] = ranges(script.tell(need(late, late + 1)))
    assert again.blocks == (late, late + 1)
    assert again.lane != second.lane
    assert woken(script.deliver(again, after_ms=10)) == [1]
    near = script.in_flight[0].blocks.start + 1
    assert ranges(script.tell(need(near, near + 1, name=2))) == [], "that comes in a moment"


def test_what_is_asked_for_once_more_spends_the_budget_of_hedges() -> None:
    version = saved(1000)
    script = busy(version)
    script.recovery().duplicates.hedged_bytes = version.space.size_bytes
    late = script.in_flight[1].blocks.end - 1
    assert ranges(script.tell(need(late, late + 1))) == []


def test_the_budget_of_hedges_is_a_share_of_what_is_wanted() -> None:
    script = busy(saved(1000))
    recovery = script.recovery()
    late = script.in_flight[1].blocks.end - 1
    recovery.coverage.unchosen = blocks((500, 1000))
    recovery.coverage.unclaimed -= recovery.coverage.unchosen
    recovery.duplicates.hedged_bytes = 25 * MIB
    assert ranges(script.tell(need(late, late + 1))) == []
    recovery.duplicates.hedged_bytes = 24 * MIB
    assert len(ranges(script.tell(need(late, late + 1, name=2)))) == 1


def test_another_recovery_gives_way_to_what_is_needed() -> None:
    script = Script(options=SMALL)
    version, other = saved(8), saved(2, deferred=[8], checkpoint="llama/rank-1")
    script.start(version, holds(A, version, other))
    script.tell(wanted(other, R2), ManifestArrived(R2, A, other.space))
    needed = RangeNeeded(R2, NeedId(1), "", 1, 0, MIB)
    script.tell(StagingPrepared(R2, BlockSet()))
    script.tell(needed)
    script.deliver(script.in_flight[0], after_ms=1)
    assert (R2, (2, 3)) in [(order.recovery, order.blocks) for order in script.in_flight]


def test_an_express_lane_that_is_idle_is_closed() -> None:
    script = busy(saved(9000))
    [express] = ranges(script.tell(need(900, 901)))
    script.deliver(express, after_ms=10)
    bundle = script.recovery().work.bundles[A]
    assert bundle.express is not None
    until = script.now + 2 * script.options.lanes.idle_ns
    while bundle.express is not None:
        assert script.now < until
        script.deliver(script.in_flight[0], after_ms=200)
