"""A recovery on demand fetches what somebody waits for or reads, until the rest is wanted."""

from __future__ import annotations

from dataclasses import replace

from ckptd.core.effects import EndRecovery, PlaceVersion
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    ManifestArrived,
    NeedEnded,
    RangeNeeded,
    RestWanted,
    StagingPrepared,
    UnitsPrioritized,
    VersionPlaced,
)
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NeedId
from ckptd.model.words import Criticality, Result, Stage, StoryKind
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    holds,
    ranges,
    saved,
    wanted,
    whom,
)

SMALL = adjusted(NO_COMMITS, ranges={"bytes_min": 2 * MIB, "bytes_first": 2 * MIB})


def on_demand(version: Saved, *, nearby: BlockSet | None = None) -> Script:
    """Bring a recovery on demand as far as it comes by itself."""
    script = Script(options=SMALL)
    request = replace(wanted(version, patience_ms=1000), is_on_demand=True)
    script.tell(holds(A, version), DiscoverySettled(), request)
    script.tell(ManifestArrived(R, A, version.space))
    assert ranges(script.tell(StagingPrepared(R, BlockSet(), nearby=nearby or BlockSet()))) == []
    return script


def need(start: int, end: int, *, name: int = 1, reader: str = "") -> RangeNeeded:
    return RangeNeeded(R, NeedId(name), reader, 0, start * MIB, end * MIB)


def test_nothing_is_fetched_that_nobody_asked_for_however_long_it_takes() -> None:
    script = on_demand(saved(16, critical=[4]), nearby=blocks((4, 8)))
    assert ranges(script.wait(3_600_000)) == []
    view = script.view()
    assert view.stage is Stage.TRANSFERRING
    assert view.waiting_for == "somebody to read more of it, as it is on demand"
    assert view.is_idle
    bottleneck = script.scheduler.bottleneck(R, LocalLoad(), now=script.now)
    assert bottleneck is None, "nothing binds it"
    assert StoryKind.STANDSTILL not in script.recovery().story.counts


def test_what_is_needed_comes_and_nothing_else() -> None:
    script = on_demand(saved(16))
    [order] = ranges(script.tell(need(8, 10)))
    assert not script.view().is_idle
    assert (order.blocks, order.criticality) == ((8, 10), Criticality.CRITICAL)
    assert ranges(script.deliver(order, after_ms=1)) == []
    script.tell(NeedEnded(R, NeedId(1)))
    assert script.in_flight == []
    assert script.recovery().coverage.verified == blocks((8, 10))


def test_whole_units_that_are_prioritized_come_too_and_so_does_what_is_read_next() -> None:
    script = on_demand(saved(16, deferred=[4]))
    assert whom(script.tell(UnitsPrioritized(R, blocks((16, 18))))) == [(A, (16, 18))]
    script.tell(need(0, 1, reader="me"), need(1, 2, name=2, reader="me"))
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=1)
    assert script.recovery().coverage.verified == blocks((0, 3), (16, 18))


def test_who_does_not_wait_any_more_has_nothing_fetched() -> None:
    script = on_demand(saved(64))
    script.tell(need(8, 60), NeedEnded(R, NeedId(1)))
    assert len(script.in_flight) > 0
    for order in script.in_flight:
        assert ranges(script.deliver(order, after_ms=1)) == []


def test_a_source_that_is_lost_ends_nothing_as_long_as_nobody_reads() -> None:
    script = on_demand(saved(16))
    script.tell(holds(A))
    script.wait(60_000)
    assert script.view().stage is Stage.TRANSFERRING
    script.tell(need(8, 9))
    ended = [effect for effect in script.wait(60_000) if isinstance(effect, EndRecovery)]
    assert not ended, "its staging is removed first"
    assert script.view().stage is Stage.DISCARDING, "patience is over"


def test_the_rest_comes_once_somebody_wants_it() -> None:
    script = on_demand(saved(16))
    script.deliver(ranges(script.tell(need(8, 10)))[0], after_ms=1)
    assert whom(script.tell(RestWanted(R)))[0] == (A, (0, 3))
    assert script.tell(RestWanted(R)) == []
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=1)
    orders = script.wait(10)
    assert not [order for order in orders if isinstance(order, PlaceVersion)]
    orders = script.tell(BlocksCommitted(R))
    assert PlaceVersion in map(type, orders)
    [end] = [each for each in script.tell(VersionPlaced(R)) if isinstance(each, EndRecovery)]
    assert end.result is Result.COMPLETE


def test_the_rest_may_come_in_the_background() -> None:
    script = on_demand(saved(16))
    orders = ranges(script.tell(RestWanted(R, is_background=True)))
    assert [order.criticality for order in orders] == [Criticality.DEFERRED]


def test_a_recovery_that_brings_all_of_it_is_not_changed() -> None:
    script, version = Script(options=SMALL), saved(16)
    script.start(version, A)
    assert script.tell(RestWanted(R, is_background=True)) == []
    assert not script.recovery().is_background


def test_all_of_it_was_read_so_it_is_complete() -> None:
    script = on_demand(saved(4))
    script.tell(need(0, 4))
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=1)
    orders = script.tell(BlocksCommitted(R))
    assert PlaceVersion in map(type, orders)
