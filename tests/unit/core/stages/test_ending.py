"""How recoveries end before they are complete, and how they stumble without ending."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    CloseLane,
    CommitBlocks,
    DiscardStaging,
    DropManifest,
    EndRecovery,
    PlaceVersion,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PlacementFailed,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryRequested,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.core.stages.ending import end, is_out_of_patience, retry_or_fail
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.recovery import Ending
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId
from ckptd.model.words import (
    CloseReason,
    FailureCause,
    RangeOutcome,
    Result,
    Stage,
    StoryKind,
)
from tests.support.scenes import TRANSFERRED, kinds, known, the
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
    script, version = bring_to(DESCRIBING)
    assert script.tell(RecoveryCancelled(R)) == [
        DropManifest(R, A, version.digest),
        DiscardStaging(R),
    ]
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


# By records


def add_lane(step: Step) -> Lane:
    lane = Lane(LaneId(1), A, R, step.state.peers[A].link, heard_ns=0)
    the(step).work.bundles[A] = Bundle([lane])
    the(step).work.lanes[lane.id] = step.state.lanes[lane.id] = lane
    return lane


@pytest.mark.parametrize(
    ("losses", "is_retryable", "is_lost"), [(0, False, True), (2, True, True), (3, True, False)]
)
def test_what_was_staged_may_be_lost_three_times(
    losses: int, is_retryable: bool, is_lost: bool
) -> None:
    step = known()
    add_lane(step)
    the(step).local.staging_losses = losses
    refusal = replace(LOST_STAGING, is_retryable=is_retryable)
    retry_or_fail(step, the(step), refusal)
    assert the(step).local.is_staging_lost is is_lost
    assert the(step).local.staging_losses == losses + is_lost
    assert the(step).local.trouble == refusal.message
    assert the(step).local.retry_at_ns == (None if is_lost else step.now + 5 * SECOND)
    assert bool(the(step).work.lanes) is not is_lost
    assert kinds(step) == [StoryKind.DISK_REFUSED]


def test_staging_that_is_lost_too_often_ends_a_recovery() -> None:
    step = known()
    the(step).local.staging_losses = 3
    retry_or_fail(step, the(step), LOST_STAGING)
    assert the(step).ending == Ending(Result.FAILED, FailureCause.STORE, LOST_STAGING.message)


@pytest.mark.parametrize(("is_ending", "is_lost"), [(True, False), (False, True), (True, True)])
def test_what_is_refused_after_that_changes_nothing(is_ending: bool, is_lost: bool) -> None:
    step = known()
    the(step).ending = Ending(Result.CANCELLED) if is_ending else None
    the(step).local.is_staging_lost = is_lost
    for refusal in (LOST_STAGING, FULL_DISK, BROKEN_DISK):
        retry_or_fail(step, the(step), refusal)
    assert kinds(step) == []
    assert the(step).local.retry_at_ns is None
    assert the(step).local.staging_losses == 0


@pytest.mark.parametrize(("best", "expected"), [(100.0, 90.0), (50.0, 60.0)])
def test_a_recovery_that_ended_leaves_the_best_rate_and_nothing_else(
    best: float, expected: float
) -> None:
    step = known()
    recovery = the(step)
    lane = add_lane(step)
    recovery.tally.rate.best_bytes_per_s = 60.0
    step.state.best_rate = best
    step.state.recovery_alarms.set(R, 5)
    end(step, recovery, Ending(Result.COMPLETE))
    assert step.state.best_rate == expected
    assert not step.state.recoveries
    assert not step.state.lanes
    assert R not in step.state.recovery_alarms
    closing, ended_with = step.effects
    assert closing == CloseLane(lane.id, A, CloseReason.NOT_WANTED)
    assert isinstance(ended_with, EndRecovery)


@pytest.mark.parametrize(
    ("patience_ns", "now", "is_out"),
    [(None, 1 << 60, False), (10, 14, False), (10, 15, True), (10, 16, True), (0, 5, True)],
)
def test_patience_ends_so_long_after_nobody_had_what_is_missing(
    patience_ns: int | None, now: int, is_out: bool
) -> None:
    step = known(RecoveryRequested(R, TRANSFERRED.checkpoint, patience_ns=patience_ns), now=5)
    recovery = the(step)
    assert is_out_of_patience(step, recovery, is_starved=True) is (patience_ns == 0)
    assert recovery.starved_since_ns == 5
    step.now = now
    assert is_out_of_patience(step, recovery, is_starved=True) is is_out
    assert recovery.starved_since_ns == 5
    assert not is_out_of_patience(step, recovery, is_starved=False)
    assert recovery.starved_since_ns is None
