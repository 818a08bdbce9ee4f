"""What was staged and is gone: the same recovery fetches it again."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, CommitBlocks, DiscardStaging, PrepareStaging
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    PlacementFailed,
    RecoveryCancelled,
    StagingDiscarded,
    StagingPrepared,
    UnitsPrioritized,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId
from ckptd.model.words import CloseReason, FailureCause, RangeOutcome, Result, Stage, WasteReason
from tests.support.scheduling import (
    LOST_STAGING,
    A,
    B,
    R,
    Script,
    blocks,
    bring_to,
    ended,
    ranges,
    saved,
    whom,
)

PLACING = Stage.PLACING


def test_what_was_staged_and_is_lost_is_fetched_again_by_the_same_recovery() -> None:
    """Fault D15: noticed by a lane that finds no file to write to."""
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 2, after_ms=10)
    assert script.end(order, RangeOutcome.STORE_FAILED, refusal=LOST_STAGING) == [
        CloseLane(LaneId(1), A, CloseReason.FAILED)
    ]
    assert script.end_all(RangeOutcome.CLOSED) == [PrepareStaging(R, version.digest, version.space)]
    assert script.view().stage is Stage.PREPARING
    assert script.view_source(A).trust == 0
    assert whom(script.tell(StagingPrepared(R, blocks((1, 2))))) == [(A, (0, 1))]
    view = script.view()
    assert (view.verified_bytes, view.resumed_bytes) == (1 * MIB, 0)
    assert view.wasted_bytes == {WasteReason.LOST: 1 * MIB}
    assert view.waiting_for == ""


def test_a_staging_is_prepared_anew_only_when_nothing_writes_there_any_more() -> None:
    script, version = Script(), saved(40)
    effects = script.start(version, A, B)
    while not any(isinstance(effect, CommitBlocks) for effect in effects):
        effects = script.deliver(script.in_flight[0], after_ms=10)
    first, *others = script.in_flight
    assert {order.source for order in script.in_flight} == {A, B}
    closed = script.end(first, RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    assert {type(effect) for effect in closed} == {CloseLane}
    for order in others:
        assert script.end(order, RangeOutcome.CLOSED) == []
    assert script.wait(60_000) == []
    assert script.tell(CommitFailed(R, LOST_STAGING)) == [
        PrepareStaging(R, version.digest, version.space)
    ]
    assert script.recovery().local.staging_losses == 1


@pytest.mark.parametrize("event", [CommitFailed(R, LOST_STAGING), PlacementFailed(R, LOST_STAGING)])
def test_a_loss_that_a_commit_or_the_placing_notices_is_made_good(event: Event) -> None:
    script, version = bring_to(PLACING)
    if isinstance(event, CommitFailed):
        script, version = Script(), saved(1)
        [order] = ranges(script.start(version, A))
        script.deliver(order)
    *_, last = script.tell(event)
    assert last == PrepareStaging(R, version.digest, version.space)
    assert [order.blocks for order in ranges(script.tell(StagingPrepared(R, BlockSet())))]
    assert sum(script.view().wasted_bytes.values()) == version.space.size_bytes


def test_a_critical_unit_that_is_lost_is_not_ready_any_more() -> None:
    script, version = Script(), saved(4, critical=[4])
    script.start(version, A, verified=version.blocks)
    assert script.view().critical_ns is not None
    script.tell(PlacementFailed(R, LOST_STAGING), StagingPrepared(R, BlockSet()))
    assert script.view().critical_ns is None


def test_a_staging_that_is_lost_again_and_again_ends_the_recovery() -> None:
    script, version = bring_to(PLACING)
    for _ in range(script.options.commits.staging_losses_max):
        assert script.tell(PlacementFailed(R, LOST_STAGING)) == [
            PrepareStaging(R, version.digest, version.space)
        ]
        script.tell(StagingPrepared(R, version.blocks))
    assert script.tell(PlacementFailed(R, LOST_STAGING)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.STORE, LOST_STAGING.message)
    ]


def test_a_recovery_whose_staging_is_lost_can_be_cancelled_meanwhile() -> None:
    script, version = Script(), saved(40)
    orders = ranges(script.start(version, A, B))
    script.end(orders[0], RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    script.tell(RecoveryCancelled(R))
    assert [type(effect) for effect in script.end_all(RangeOutcome.CLOSED)] == [DiscardStaging]


def test_what_a_restart_finds_is_resumed_and_is_no_loss() -> None:
    script, version = Script(), saved(8)
    script.start(version, A, verified=blocks((0, 3)))
    view = script.view()
    assert (view.verified_bytes, view.resumed_bytes) == (3 * MIB, 3 * MIB)
    assert view.wasted_bytes == {}
    assert script.recovery().coverage.committed == blocks((0, 3))


def test_after_a_loss_only_what_was_found_is_verified_and_committed() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 3)
    script.end(order, RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    script.end_all(RangeOutcome.CLOSED)
    script.tell(StagingPrepared(R, blocks((1, 2))))
    recovery = script.recovery()
    assert recovery.coverage.verified == recovery.coverage.committed == blocks((1, 2))
    assert recovery.commit.committing == recovery.commit.blocks == BlockSet()
    assert (recovery.commit.size_bytes, recovery.commit.since_ns) == (0, None)
    assert recovery.tally.waste.by_reason == {WasteReason.LOST: 2 * MIB}


def test_a_critical_unit_that_was_found_again_is_ready_since_it_was() -> None:
    script, version = Script(), saved(4, critical=[4])
    script.start(version, A, verified=version.blocks)
    ready_ns = script.view().critical_ns
    script.tell(PlacementFailed(R, LOST_STAGING), StagingPrepared(R, blocks((0, 4))), after_ms=100)
    assert script.view().critical_ns == ready_ns is not None


def test_a_unit_that_somebody_waits_for_is_raised_only_as_far_as_it_is_missing() -> None:
    script, version = Script(), saved(4, deferred=[4])
    script.start(version, A)
    script.tell(UnitsPrioritized(R, blocks((4, 8))))
    [order] = script.in_flight[:1]
    script.end(order, RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    script.end_all(RangeOutcome.CLOSED)
    script.tell(StagingPrepared(R, blocks((4, 6))))
    assert script.recovery().coverage.prioritized == blocks((6, 8))


def test_what_was_raised_and_lost_once_it_was_here_is_raised_again() -> None:
    script, version = Script(), saved(4, deferred=[4])
    script.start(version, A)
    script.tell(UnitsPrioritized(R, blocks((0, 8))))
    [order] = script.in_flight[:1]
    script.arrive(order, 2)
    script.tell(BlocksCommitted(R))
    assert script.recovery().coverage.prioritized == blocks((2, 8))
    script.end(order, RangeOutcome.STORE_FAILED, refusal=LOST_STAGING)
    script.end_all(RangeOutcome.CLOSED)
    script.tell(StagingPrepared(R, blocks()))
    assert script.recovery().coverage.prioritized == blocks((0, 8))
