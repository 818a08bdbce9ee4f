"""How recoveries end before they are complete, and how they stumble without ending."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane, CommitBlocks, DiscardStaging, PlaceVersion, PrepareStaging
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PlacementFailed,
    RecoveryCancelled,
    RecoveryPaused,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId
from ckptd.model.words import CloseReason, FailureCause, RangeOutcome, Result, Stage, WasteReason
from tests.support.scheduling import (
    BROKEN_DISK,
    FULL_DISK,
    HARMFUL,
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

SEEKING, DESCRIBING, PREPARING, TRANSFERRING, PLACING, DISCARDING, *_ = Stage


# When this node's disk says no


def test_a_full_disk_is_tried_again_after_a_pause() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.end_all(RangeOutcome.STORE_FAILED, refusal=FULL_DISK) == [
        CloseLane(LaneId(1), A, CloseReason.FAILED)
    ]
    assert script.view().waiting_for == f"{FULL_DISK.message}; tried again in 5.0s"
    assert script.view_source(A).trust == 0
    assert script.wait(4999) == [CommitBlocks(R, blocks((0, 1)))]
    assert whom(script.wait(1)) == [(A, (1, 4))]


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


def test_the_trouble_is_over_when_a_commit_worked() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.end_all(RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    script.wait(5000)
    assert script.view().waiting_for == FULL_DISK.message
    script.tell(BlocksCommitted(R))
    assert script.view().waiting_for == ""


def test_a_broken_disk_ends_the_recovery_once_nothing_writes_there_any_more() -> None:
    script, version = Script(), saved(16)
    first, other = ranges(script.start(version, A, B))
    assert script.end(first, RangeOutcome.STORE_FAILED, refusal=BROKEN_DISK) == [
        CloseLane(LaneId(1), A, CloseReason.FAILED),
        CloseLane(LaneId(2), B, CloseReason.NOT_WANTED),
    ]
    assert script.wait(60_000) == []
    assert script.end(other, RangeOutcome.CLOSED) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.STORE, BROKEN_DISK.message)
    ]


def test_placing_is_tried_again_when_it_may_work_later() -> None:
    script, version = Script(), saved(2)
    assert script.start(version, A, verified=version.blocks) == [
        PlaceVersion(R, missing=BlockSet())
    ]
    assert script.tell(PlacementFailed(R, FULL_DISK)) == []
    assert script.view().waiting_for == f"{FULL_DISK.message}; tried again in 5.0s"
    assert script.wait(5000) == [PlaceVersion(R, missing=BlockSet())]
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_a_version_that_is_not_what_the_manifest_says_is_not_placed() -> None:
    script, version = Script(), saved(2)
    script.start(version, A, verified=version.blocks)
    wrong = Refusal(
        "verification_failed", "unit x: wrong", is_retryable=False, is_verification=True
    )
    assert script.tell(PlacementFailed(R, wrong)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, wrong.message)
    ]


# Cancelled


def test_a_recovery_cancelled_before_it_chose_ends_at_once() -> None:
    script, _ = bring_to(SEEKING)
    assert script.tell(RecoveryCancelled(R)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


@pytest.mark.parametrize(
    "late",
    [
        ManifestArrived(R, A, saved(8).space),
        ManifestMissed(R, A, is_lie=False),
        ManifestRefused(R, A, HARMFUL),
    ],
)
def test_a_recovery_cancelled_while_the_manifest_comes_does_not_wait_for_it(
    late: ManifestArrived | ManifestMissed | ManifestRefused,
) -> None:
    script, _ = bring_to(DESCRIBING)
    assert script.tell(RecoveryCancelled(R)) == [DiscardStaging(R)]
    assert script.tell(late) == []
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]
    assert script.tell(late) == []


@pytest.mark.parametrize("last", [StagingPrepared(R, BlockSet()), StagingRefused(R, FULL_DISK)])
def test_a_recovery_cancelled_while_staging_is_prepared_ends_when_that_ended(
    last: StagingPrepared | StagingRefused,
) -> None:
    script, _ = bring_to(PREPARING)
    assert script.tell(RecoveryCancelled(R)) == []
    assert script.tell(last) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


@pytest.mark.parametrize("last", [BlocksCommitted(R), CommitFailed(R, BROKEN_DISK)])
def test_a_recovery_cancelled_in_full_flight_ends_when_nothing_writes_any_more(
    last: BlocksCommitted | CommitFailed,
) -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    [following] = ranges(script.arrive(order, 1))
    assert script.arrive(order, 2, after_ms=1000) == [CommitBlocks(R, blocks((0, 2)))]
    assert script.tell(RecoveryCancelled(R)) == [CloseLane(LaneId(1), A, CloseReason.NOT_WANTED)]
    assert script.arrive(order, 3) == []
    assert script.end(order, RangeOutcome.CLOSED) == []
    assert script.end(following, RangeOutcome.CLOSED) == []
    assert script.tell(RecoveryCancelled(R)) == []
    assert script.tell(last) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


def test_a_version_that_is_being_placed_cannot_be_cancelled_any_more() -> None:
    script, _ = bring_to(PLACING)
    assert script.tell(RecoveryCancelled(R)) == []
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_a_recovery_that_waits_to_place_again_can_be_cancelled() -> None:
    script, _ = bring_to(PLACING)
    script.tell(PlacementFailed(R, FULL_DISK))
    assert script.tell(RecoveryCancelled(R)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


def test_a_pause_does_not_keep_a_cancelled_recovery_alive() -> None:
    script, _ = bring_to(DISCARDING)
    assert script.tell(RecoveryPaused(R)) == []
    [order] = script.in_flight
    assert script.end(order, RangeOutcome.CLOSED) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]
