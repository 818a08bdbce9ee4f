"""What becomes of a recovery while this node is short of descriptors, memory, threads or room."""

from __future__ import annotations

import pytest

from ckptd.core.effects import (
    CloseLane,
    CommitBlocks,
    DiscardStaging,
    Effect,
    FetchManifest,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    DiscoverySettled,
    ManifestArrived,
    ManifestMissed,
    PlacementFailed,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.errors import Shortage
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId, NodeId
from ckptd.model.words import (
    CloseReason,
    FailureCause,
    RangeOutcome,
    Result,
    Stage,
    StoryKind,
    StoryReason,
)
from tests.support.scheduling import (
    BROKEN_DISK,
    FULL_DISK,
    A,
    B,
    R,
    Saved,
    Script,
    blocks,
    bring_to,
    ended,
    holds,
    ranges,
    resumed,
    saved,
    whom,
)

SHORT = Refusal.of(Shortage("file /data/model", "this process has no file descriptor left"))
HELD_UP = f"{SHORT.message}; tried again in 5.0s"
CLOSED = CloseLane(LaneId(1), A, CloseReason.NOT_WANTED)
PREPARING = Stage.PREPARING


def under_way() -> tuple[Script, Saved]:
    """Let one block be here, and durable."""
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.arrive(order, 2, after_ms=1000)
    script.tell(BlocksCommitted(R))
    return script, version


def failures_of(script: Script, source: NodeId) -> int:
    return script.scheduler.inspect().peers[source].link.failures


def said_of(script: Script) -> list[tuple[StoryKind, StoryReason]]:
    story = script.recovery().story
    return [(entry.kind, entry.reason) for entry in story.entries if entry.kind.value != "choice"]


def test_a_lane_that_finds_no_descriptor_holds_the_recovery_up_and_blames_nobody() -> None:
    script, _ = under_way()
    effects = script.end_all(RangeOutcome.STORE_FAILED, refusal=SHORT)
    assert effects == [CloseLane(LaneId(1), A, CloseReason.FAILED)]
    assert script.view().waiting_for == HELD_UP
    assert failures_of(script, A) == 0
    assert (StoryKind.DISK_REFUSED, StoryReason.SHORTAGE) in said_of(script)
    assert whom(script.wait(5000)) == [(A, (2, 3))]


def test_other_lanes_give_their_descriptors_back() -> None:
    script, version = Script(), saved(16)
    first, second = ranges(script.start(version, A, B))
    effects = script.end(first, RangeOutcome.STORE_FAILED, refusal=SHORT)
    assert CloseLane(LaneId(2), B, CloseReason.NOT_WANTED) in effects
    assert script.end(second, RangeOutcome.CLOSED) == []
    assert {source for source, _ in whom(script.wait(5000))} == {A, B}


def test_that_several_lanes_find_out_is_one_thing_that_happened() -> None:
    script, version = Script(), saved(16)
    first, second = ranges(script.start(version, A, B))
    script.end(first, RangeOutcome.STORE_FAILED, refusal=SHORT)
    script.end(second, RangeOutcome.STORE_FAILED, refusal=SHORT)
    assert said_of(script).count((StoryKind.DISK_REFUSED, StoryReason.SHORTAGE)) == 1


@pytest.mark.parametrize("refusal", [SHORT, FULL_DISK], ids=["descriptors", "journal"])
def test_a_commit_that_was_not_possible_is_repeated_and_nothing_is_fetched_again(
    refusal: Refusal,
) -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.arrive(order, 2, after_ms=1000) == [CommitBlocks(R, blocks((0, 2)))]
    script.tell(CommitFailed(R, refusal, may_repeat=True))
    script.end_all(RangeOutcome.CLOSED)
    assert script.view().waiting_for.startswith(refusal.message)
    assert script.wait(4999) == []
    effects = script.wait(1)
    assert CommitBlocks(R, blocks((0, 2))) in effects
    assert whom(effects)[0] == (A, (2, 3))
    script.tell(BlocksCommitted(R))
    assert script.view().waiting_for == ""
    assert script.recovery().coverage.committed == blocks((0, 2))


def test_a_commit_that_is_held_up_does_not_wake_the_scheduler_again_and_again() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.arrive(order, 2, after_ms=1000)
    assert script.tell(CommitFailed(R, FULL_DISK, may_repeat=True)) == [CLOSED]
    script.arrive(order, 3, after_ms=10)  # was verified before the lane ended
    script.end_all(RangeOutcome.CLOSED)
    assert script.wait(4989) == []
    assert CommitBlocks(R, blocks((0, 3))) in script.wait(1)


def test_after_a_sync_without_room_only_what_the_journal_has_counts() -> None:
    script, version = under_way()
    script.end_all(RangeOutcome.DISCONNECTED)
    [order, *_] = ranges(script.wait(5000))
    script.arrive(order, 3)
    assert CommitBlocks(R, blocks((2, 3))) in script.wait(1000)
    effects = script.tell(CommitFailed(R, FULL_DISK))
    effects += script.end_all(RangeOutcome.CLOSED)
    assert effects[-1] == PrepareStaging(R, version.digest, version.space)
    script.tell(StagingRefused(R, FULL_DISK))
    assert script.view().waiting_for == f"{FULL_DISK.message}; tried again in 5.0s"
    assert script.wait(5000) == [PrepareStaging(R, version.digest, version.space)]
    assert whom(script.tell(StagingPrepared(R, blocks((0, 2))))) == [(A, (2, 3))]


def test_after_a_sync_that_the_disk_refused_nothing_is_tried() -> None:
    script, _ = under_way()
    script.tell(CommitFailed(R, BROKEN_DISK))
    assert script.end_all(RangeOutcome.CLOSED) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.STORE, BROKEN_DISK.message)
    ]


def test_staging_is_prepared_once_there_are_descriptors() -> None:
    script, version = bring_to(PREPARING)
    assert script.tell(StagingRefused(R, SHORT)) == []
    assert script.view().waiting_for == HELD_UP
    assert script.wait(5000) == [PrepareStaging(R, version.digest, version.space)]
    assert script.tell(StagingPrepared(R, BlockSet())) != []
    assert script.view().waiting_for == ""


def test_a_version_for_which_there_is_no_room_fails_before_anything_travels() -> None:
    script, _ = bring_to(PREPARING)
    assert script.tell(StagingRefused(R, FULL_DISK)) == [DiscardStaging(R)]


def test_what_an_earlier_life_left_is_kept_while_there_is_no_room() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), resumed(version))
    script.tell(ManifestArrived(R, None, version.space))
    assert script.tell(StagingRefused(R, FULL_DISK)) == []
    assert script.wait(5000) == [PrepareStaging(R, version.digest, version.space)]


def test_placing_is_tried_again() -> None:
    script, version = Script(), saved(2)
    script.start(version, A, verified=version.blocks)
    assert script.tell(PlacementFailed(R, SHORT)) == []
    assert script.view().waiting_for == HELD_UP
    assert script.wait(5000) == [PlaceVersion(R, missing=BlockSet())]
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def missed(script: Script) -> list[Effect]:
    return script.tell(ManifestMissed(R, A, is_lie=False, shortage=SHORT))


def test_a_manifest_that_could_not_be_asked_for_is_asked_for_again_of_the_same_source() -> None:
    script, version = bring_to(Stage.DESCRIBING)
    assert missed(script) == []
    assert script.view().waiting_for == HELD_UP
    assert failures_of(script, A) == 0
    assert script.wait(5000) == [FetchManifest(R, A, version.digest)]
    script.tell(ManifestArrived(R, A, version.space))
    assert script.view().waiting_for == ""


def test_a_shortage_that_nobody_waits_for_any_more_changes_nothing() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), resumed(version))
    script.tell(ManifestMissed(R, None, is_lie=False))
    script.wait(600)  # B is asked as well
    script.tell(ManifestArrived(R, B, version.space))
    assert missed(script) == []
    assert script.view().waiting_for == ""
