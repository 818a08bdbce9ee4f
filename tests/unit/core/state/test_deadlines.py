"""When the scheduler wants to be woken, and that waking it settles the matter."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, CommitBlocks, FetchManifest
from ckptd.core.events import (
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    PeerLost,
    PlacementFailed,
    RecoveryCancelled,
    StagingPrepared,
    TimePassed,
)
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import RangeOutcome
from tests.support.scheduling import (
    FULL_DISK,
    A,
    B,
    R,
    Script,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    wanted,
)


def due_ms(script: Script) -> float | None:
    deadline = script.scheduler.next_deadline()
    return None if deadline is None else deadline / MS


def test_nothing_is_due_while_nothing_is_wanted() -> None:
    script, version = Script(), saved(8)
    assert due_ms(script) is None
    script.tell(holds(A, version), DiscoverySettled(), holds(B), PeerLost(B))
    assert due_ms(script) is None


@pytest.mark.parametrize("patience_ms", [None, 0, 1, 60_000])
def test_a_recovery_of_what_nobody_has_is_due_when_its_patience_ends(
    patience_ms: int | None,
) -> None:
    script, version = Script(), saved(8)
    script.tell(DiscoverySettled())
    script.tell(wanted(version, patience_ms=patience_ms), after_ms=5)
    assert due_ms(script) == (patience_ms + 5 if patience_ms else None)


def test_orders_to_this_node_may_take_as_long_as_they_take() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version, patience_ms=1))
    assert due_ms(script) == 500  # somebody else would be asked for the manifest
    script.tell(ManifestArrived(R, A, version.space))
    assert due_ms(script) is None
    script.tell(StagingPrepared(R, version.blocks))
    assert due_ms(script) is None
    assert script.wait(3_600_000) == []


def test_a_first_byte_is_due_in_a_second_and_the_next_bytes_in_half_of_that() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    assert due_ms(script) == 1000
    script.arrive(order, 1, after_ms=100)
    assert due_ms(script) == 600


def test_the_earliest_of_all_deadlines_is_the_next_one() -> None:
    script, version = Script(), saved(64)
    first, other = ranges(script.start(version, A, B))
    script.arrive(first, 1, after_ms=100)
    script.arrive(other, 5, after_ms=100)
    assert due_ms(script) == 600
    script.arrive(first, 2, after_ms=100)
    assert due_ms(script) == 700


def test_a_commit_is_due_a_second_after_the_oldest_block_came() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1, after_ms=50)
    script.end_all(RangeOutcome.NOT_HELD)
    script.tell(TimePassed(), after_ms=10)
    assert due_ms(script) == 1050
    assert script.wait(990) == [CommitBlocks(R, blocks((0, 1)))]


def test_it_is_due_sooner_while_others_recover_the_same() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, holds(A, holding(version, blocks((0, 1))))))
    script.deliver(order, after_ms=50)
    script.tell(TimePassed(), after_ms=10)
    assert due_ms(script) == 300
    assert script.wait(240) == [CommitBlocks(R, blocks((0, 1)))]


def test_the_end_of_a_rest_is_due() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.BUSY, retry_after_ms=5000)
    assert due_ms(script) == script.scheduler.inspect().peers[A].link.usable_at_ns / MS >= 5000


def test_a_retry_is_due_after_five_seconds() -> None:
    script, version = Script(), saved(8)
    script.start(version, A, verified=version.blocks)
    script.tell(PlacementFailed(R, FULL_DISK), after_ms=1)
    assert due_ms(script) == 5001


def test_a_lane_that_is_closing_is_not_due_again() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    [close] = script.wait(1000)
    assert isinstance(close, CloseLane)
    assert script.wake_at_deadline() == []  # the end of A's rest
    assert due_ms(script) is None


def test_time_that_passes_for_nothing_changes_nothing() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    before = due_ms(script)
    assert script.tell(TimePassed(), after_ms=1) == []
    assert due_ms(script) == before


def test_a_late_wake_up_catches_up_with_everything_that_was_due() -> None:
    script, version = Script(), saved(64)
    first, other = ranges(script.start(version, A, B))
    script.arrive(first, 1)
    script.arrive(other, 5)
    effects = script.tell(TimePassed(), after_ms=3_600_000)
    assert len([effect for effect in effects if isinstance(effect, CloseLane)]) == 2
    assert CommitBlocks(R, blocks((0, 1), (4, 5))) in effects


@pytest.mark.parametrize("has_lanes", [False, True])
def test_running_out_of_patience_is_no_storm_of_wake_ups(has_lanes: bool) -> None:
    script, version = Script(), saved(critical=[8], deferred=[8])
    there = holds(A, holding(version, blocks((8, 16)) if has_lanes else BlockSet()))
    orders = script.start(version, there, patience_ms=1000)
    script.tell(PeerLost(A))
    for order in ranges(orders):
        script.end(order, RangeOutcome.DELIVERED)
    assert script.wait(1000) != []  # Script.wake asserts that nothing is due at once
    assert due_ms(script) is None


def test_nothing_is_due_while_an_ended_recovery_comes_to_rest() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A, patience_ms=0))
    script.arrive(order, 1)
    script.tell(RecoveryCancelled(R), PeerLost(A))
    assert due_ms(script) is None
    script.end_all(RangeOutcome.CLOSED)
    assert due_ms(script) is None


def test_a_manifest_that_everybody_missed_is_asked_for_again_later() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version, patience_ms=1))
    assert script.tell(ManifestMissed(R, A, is_lie=False)) == []
    assert script.wake_at_deadline() == []  # the end of A's rest
    assert due_ms(script) == 5 * SECOND / MS
    assert script.wait(5000) == [FetchManifest(R, A, version.digest)]
