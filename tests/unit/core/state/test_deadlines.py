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
from ckptd.core.options import Options
from ckptd.core.state.deadlines import hedge_after_ns, next_deadline, recovery_deadline
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.link import Link
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, TransferId
from ckptd.model.words import Criticality, LocalOrder, RangeOutcome, Stage
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


# By records


@pytest.mark.parametrize(
    ("lane_ns", "peer_ns", "recovery_ns", "expected_ns"),
    [
        (None, None, None, None),
        (3, None, None, 3),
        (None, 2, None, 2),
        (3, 2, 4, 2),
        (1, 2, 3, 1),
        (3, 2, 1, 1),
    ],
)
def test_the_earliest_alarm_of_any_kind_is_next(
    lane_ns: int | None, peer_ns: int | None, recovery_ns: int | None, expected_ns: int | None
) -> None:
    state = State()
    state.lane_alarms.set(LaneId(1), lane_ns)
    state.peer_alarms.set(A, peer_ns)
    state.recovery_alarms.set(R, recovery_ns)
    assert next_deadline(state) == expected_ns


RETRY, ASK_AGAIN, OUT_OF_PATIENCE, COMMIT = 50, 40, 30, 20


@pytest.mark.parametrize(
    ("stage", "order", "is_paused", "is_lost", "expected_ns"),
    [
        (Stage.SEEKING, None, False, False, OUT_OF_PATIENCE),
        (Stage.DESCRIBING, LocalOrder.MANIFEST, False, False, ASK_AGAIN),
        (Stage.DESCRIBING, LocalOrder.MANIFEST, True, False, RETRY),
        (Stage.DESCRIBING, None, False, False, OUT_OF_PATIENCE),
        (Stage.PREPARING, LocalOrder.STAGING, False, False, RETRY),
        (Stage.TRANSFERRING, None, False, False, COMMIT),
        (Stage.TRANSFERRING, None, False, True, RETRY),
        (Stage.TRANSFERRING, LocalOrder.COMMIT, False, False, RETRY),
        (Stage.PLACING, None, False, False, RETRY),
        (Stage.PLACING, LocalOrder.PLACEMENT, False, False, RETRY),
        (Stage.DISCARDING, None, False, False, RETRY),
    ],
)
def test_each_stage_has_what_it_waits_for(
    stage: Stage, order: LocalOrder | None, is_paused: bool, is_lost: bool, expected_ns: int
) -> None:
    recovery = Recovery(wanted(saved(8), patience_ms=0), 1, 0, stage=stage)
    recovery.local.pending_order, recovery.is_paused = order, is_paused
    recovery.local.is_staging_lost = is_lost
    recovery.local.retry_at_ns, recovery.search.ask_again_at_ns = RETRY, ASK_AGAIN
    recovery.starved_since_ns = OUT_OF_PATIENCE
    recovery.commit.since_ns = COMMIT - Options().commits.age_ns
    assert recovery_deadline(recovery, Options()) == expected_ns
    recovery.local.retry_at_ns = None
    assert recovery_deadline(recovery, Options()) == (None if expected_ns == RETRY else expected_ns)


@pytest.mark.parametrize(
    ("starved_since_ns", "patience_ms", "expected_ns"),
    [(None, 1, None), (7, None, None), (7, 1, MS + 7)],
)
def test_patience_needs_a_beginning_and_an_end(
    starved_since_ns: int | None, patience_ms: int | None, expected_ns: int | None
) -> None:
    recovery = Recovery(wanted(saved(8), patience_ms=patience_ms), 1, 0)
    recovery.starved_since_ns = starved_since_ns
    assert recovery_deadline(recovery, Options()) == expected_ns


@pytest.mark.parametrize(
    ("has_body", "gap_ms", "latency_ms", "expected_ms"),
    [
        (True, 10, None, 200),
        (True, 100, None, 300),
        (False, 100, None, None),
        (False, 100, 1, 200),
    ],
)
def test_a_hedge_is_due_after_three_usual_times_or_the_least(
    has_body: bool, gap_ms: int, latency_ms: int | None, expected_ms: int | None
) -> None:
    state, lane = State(), critical_lane(has_body=has_body)
    lane.link.gap_ns = gap_ms * MS
    if latency_ms is not None:
        state.first_bytes.add(latency_ms * MS)
    expected_ns = None if expected_ms is None else expected_ms * MS
    assert hedge_after_ns(state, lane, Options()) == expected_ns


def test_a_hedge_waits_three_usual_latencies() -> None:
    state, lane = State(), critical_lane(has_body=False)
    state.first_bytes.add(1 * SECOND)
    usual_ns = state.first_bytes.percentile_ns(0.9)
    assert usual_ns is not None
    assert hedge_after_ns(state, lane, Options()) == 3 * usual_ns


def test_only_a_first_critical_range_is_hedged_once() -> None:
    for criticality, is_hedged, is_due in (
        (Criticality.CRITICAL, False, True),
        (Criticality.CRITICAL, True, False),
        (Criticality.NORMAL, False, False),
    ):
        lane = critical_lane(has_body=True)
        lane.transfers[0].criticality, lane.transfers[0].is_hedged = criticality, is_hedged
        other = Criticality.NORMAL if is_due else Criticality.CRITICAL
        lane.transfers.append(Transfer(TransferId(2), BlockRun(1, 2), MIB, 1, other))
        assert (hedge_after_ns(State(), lane, Options()) is not None) is is_due
        lane.transfers.clear()
        assert hedge_after_ns(State(), lane, Options()) is None


def critical_lane(*, has_body: bool) -> Lane:
    lane = Lane(LaneId(1), A, R, Link(), heard_ns=0, has_body=has_body)
    transfer = Transfer(TransferId(1), BlockRun(0, 1), MIB, 0, Criticality.CRITICAL)
    lane.transfers.append(transfer)
    return lane
