"""The stages of a recovery, one fact at a time."""

from __future__ import annotations

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    DiscardStaging,
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
    ManifestRefused,
    PeerLost,
    PlacementFailed,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryResumed,
    Refusal,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    VersionPlaced,
)
from ckptd.core.options import Options
from ckptd.core.stages import advance
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.step import Step
from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, TransferId
from ckptd.model.milestones import CRITICAL
from ckptd.model.words import (
    CloseReason,
    FailureCause,
    LocalOrder,
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
    LLAMA,
    LOST_STAGING,
    R2,
    A,
    B,
    R,
    Saved,
    Script,
    adjusted,
    blocks,
    bring_to,
    ended,
    fetch,
    holding,
    holds,
    ranges,
    resumed,
    saved,
    wanted,
    whom,
)

SEEKING, DESCRIBING, PREPARING, TRANSFERRING, PLACING, DISCARDING, *_ = Stage


def place(*missing: tuple[int, int]) -> PlaceVersion:
    return PlaceVersion(R, missing=blocks(*missing))


def choose(version: Saved) -> ChooseVersion:
    return ChooseVersion(R, version.checkpoint, version.version, version.digest)


# The manifest


def test_an_interrupted_recovery_looks_for_the_manifest_in_its_journal_first() -> None:
    script, version = Script(), saved(4)
    assert script.tell(resumed(version)) == [FetchManifest(R, None, version.digest)]
    assert script.tell(holds(A, version), DiscoverySettled()) == []
    assert script.tell(ManifestArrived(R, None, version.space)) == [
        PrepareStaging(R, version.digest, version.space)
    ]
    assert whom(script.tell(StagingPrepared(R, blocks((0, 3))))) == [(A, (3, 4))]
    assert script.view().resumed_bytes == 3 * MIB


def test_a_manifest_that_the_journal_does_not_have_comes_from_a_peer() -> None:
    script, version = Script(), saved(4)
    script.tell(holds(A, version), DiscoverySettled(), resumed(version))
    assert script.tell(ManifestMissed(R, None, is_lie=False)) == [
        FetchManifest(R, A, version.digest)
    ]
    assert script.view_source(A).trust == 0


def test_an_interrupted_recovery_keeps_its_version_though_a_newer_one_is_there() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old, new), DiscoverySettled(), resumed(old))
    assert script.tell(ManifestMissed(R, None, is_lie=False)) == [FetchManifest(R, A, old.digest)]


def test_a_manifest_that_one_source_misses_is_asked_of_the_next() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled())
    assert script.tell(wanted(version)) == [choose(version), FetchManifest(R, A, version.digest)]
    assert script.tell(ManifestMissed(R, A, is_lie=False)) == [FetchManifest(R, B, version.digest)]
    assert script.tell(ManifestMissed(R, B, is_lie=False)) == []
    assert script.view().waiting_for == "a peer that has the manifest; tried again in 5.0s"
    assert script.wait(4999) == []
    assert script.wait(1) == [FetchManifest(R, A, version.digest)]


def test_a_source_that_lies_about_a_manifest_is_blamed_and_not_asked_again() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), holds(B, version), DiscoverySettled(), wanted(version))
    assert script.tell(ManifestMissed(R, A, is_lie=True)) == [FetchManifest(R, B, version.digest)]
    assert script.view_source(A).trust == -script.options.trust.per_bad_block
    assert script.tell(ManifestMissed(R, B, is_lie=False)) == []
    assert script.wait(5000) == [FetchManifest(R, B, version.digest)]


def test_a_version_that_only_a_liar_claims_gives_way_to_an_honest_one() -> None:
    script, honest, invented = Script(), saved(2, version=90), saved(2, version=10**9)
    script.tell(holds(A, honest), holds(B, invented), DiscoverySettled())
    assert script.tell(wanted(honest)) == [
        choose(invented),
        FetchManifest(R, B, invented.digest),
    ]
    assert script.tell(ManifestMissed(R, B, is_lie=True)) == [
        choose(honest),
        FetchManifest(R, A, honest.digest),
    ]


def test_an_old_version_sold_as_a_newer_one_is_a_lie() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    disguised = Saved(new.space, old.digest)
    script.tell(holds(A, disguised), holds(B, old), DiscoverySettled())
    assert script.tell(wanted(old)) == [choose(disguised), FetchManifest(R, A, old.digest)]
    assert script.tell(ManifestArrived(R, A, old.space)) == [
        choose(old),
        FetchManifest(R, B, old.digest),
    ]
    assert script.view_source(A).trust < 0
    assert script.view_source(B).trust == 0


def test_a_version_whose_last_holder_is_gone_for_a_moment_is_waited_for() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old), holds(B, new), DiscoverySettled(), wanted(old))
    assert script.tell(PeerLost(B), ManifestMissed(R, B, is_lie=False)) == []
    assert script.wait(60_000) == []
    assert script.tell(holds(B, new)) == []
    assert script.wait(5000) == [FetchManifest(R, B, new.digest)]


def test_a_version_whose_last_holder_stays_away_gives_way_to_another() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old), holds(B, new), DiscoverySettled(), wanted(old))
    script.tell(PeerLost(B), ManifestMissed(R, B, is_lie=False))
    assert script.wait(119_000) == []
    assert script.wait(5_000) == [choose(old), FetchManifest(R, A, old.digest)]


def test_a_holder_that_comes_and_goes_is_not_waited_for_again_and_again() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old), holds(B, new), DiscoverySettled(), wanted(old))
    script.tell(PeerLost(B), ManifestMissed(R, B, is_lie=False))
    chosen = []
    for _ in range(40):
        orders = script.tell(holds(B, new)) + script.wait(1000)
        if FetchManifest(R, B, new.digest) in orders:
            orders += script.tell(PeerLost(B), ManifestMissed(R, B, is_lie=False))
        else:
            orders += script.tell(PeerLost(B))
        orders += script.wait(2500)
        chosen += [order for order in orders if isinstance(order, ChooseVersion)]
    assert chosen == [choose(old)]


def test_a_version_that_its_last_holder_removed_gives_way_to_another() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old), holds(B, new), DiscoverySettled(), wanted(old))
    assert script.tell(holds(B)) == []
    assert script.tell(ManifestMissed(R, B, is_lie=False)) == [
        choose(old),
        FetchManifest(R, A, old.digest),
    ]


def test_patience_ends_for_a_manifest_that_nobody_has_any_more() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version, patience_ms=1000))
    assert script.tell(PeerLost(A), ManifestMissed(R, A, is_lie=False)) == []
    assert script.wait(1000) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.REQUIRED_MISSING, f"nobody has {LLAMA}@100 any more")
    ]


def test_a_manifest_that_would_do_harm_ends_the_recovery() -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    assert script.tell(ManifestRefused(R, A, HARMFUL)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.VERIFICATION, HARMFUL.message)
    ]


# Staging


@pytest.mark.parametrize("refusal", [FULL_DISK, BROKEN_DISK])
def test_a_target_without_room_ends_the_recovery_before_anything_travels(refusal: Refusal) -> None:
    script, version = Script(), saved(2)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    script.tell(ManifestArrived(R, A, version.space))
    assert script.tell(StagingRefused(R, refusal)) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.STORE, refusal.message)
    ]


def test_a_recovery_of_which_everything_is_here_is_placed_at_once() -> None:
    script, version = Script(), saved(4)
    assert script.start(version, A, verified=version.blocks) == [place()]


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0, 0)])
def test_a_version_without_blocks_is_placed_at_once(sizes: tuple[int, ...]) -> None:
    script = Script()
    assert script.start(saved(*sizes), A) == [place()]
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_empty_units_between_others_cost_nothing() -> None:
    script, version = Script(), saved(0, 1, 0, 0, 1, 0, critical=[0], deferred=[0])
    [order] = ranges(script.start(version, A))
    assert order == fetch(version, 1, A, (0, 1), lane=1)
    [order] = ranges(script.deliver(order))
    assert order == fetch(version, 2, A, (1, 2), lane=1)
    assert script.deliver(order) == [CommitBlocks(R, version.blocks)]
    assert script.view().units_done == 8


# Committing


def test_blocks_are_committed_when_enough_of_them_have_come_together() -> None:
    options = adjusted(Options(), ranges={"bytes_first": 32 * MIB}, commits={"bytes_due": 16 * MIB})
    script, version = Script(options=options), saved(128)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.arrive(order, 15, after_ms=500) == []
    assert script.arrive(order, 17) == [CommitBlocks(R, blocks((0, 17)))]


def test_blocks_are_committed_when_the_oldest_is_a_second_old() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.arrive(order, 2, after_ms=400)
    script.arrive(order, 3, after_ms=400)
    assert script.wait(199) == []
    assert script.wait(1) == [CommitBlocks(R, blocks((0, 3)))]


def test_one_commit_at_a_time_takes_up_all_that_came_meanwhile() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.wait(450) == []
    script.arrive(order, 2)
    assert script.wait(450) == []
    script.arrive(order, 3)
    assert CommitBlocks(R, blocks((0, 3))) in script.wait(100)
    assert script.arrive(order, 4, after_ms=100) == []
    assert script.tell(BlocksCommitted(R), after_ms=100) == []
    assert script.recovery().coverage.committed == blocks((0, 3))
    # The age of a block counts from its arrival, not from the end of the commit before it.
    assert CommitBlocks(R, blocks((3, 4))) in script.wait(900)


THREE_AT_LEAST = adjusted(Options(), ranges={"bytes_first": 8 * MIB, "bytes_min": 3 * MIB})
"""A few critical blocks are one range."""


def test_the_last_critical_block_is_committed_at_once() -> None:
    script, version = Script(options=THREE_AT_LEAST), saved(64, critical=[3])
    [first] = ranges(script.start(version, A))
    script.arrive(first, 2)
    assert script.wait(100) == []
    assert script.arrive(first, 3) == [CommitBlocks(R, blocks((0, 3)))]


def test_everything_is_committed_before_the_version_is_placed() -> None:
    script, version = Script(), saved(2)
    [first] = ranges(script.start(version, A))
    [second] = ranges(script.deliver(first))
    assert script.deliver(second) == [CommitBlocks(R, blocks((0, 2)))]
    assert script.wait(60_000) == [CloseLane(LaneId(1), A, CloseReason.IDLE)]
    assert script.tell(BlocksCommitted(R)) == [place()]


def test_what_came_during_the_last_commit_is_committed_too() -> None:
    script, version = Script(), saved(2)
    [first] = ranges(script.start(version, A))
    [second] = ranges(script.deliver(first))
    assert CommitBlocks(R, blocks((0, 1))) in script.wait(1000)
    script.deliver(second)
    assert script.tell(BlocksCommitted(R)) == [CommitBlocks(R, blocks((1, 2)))]
    assert place() in script.tell(BlocksCommitted(R))


def test_a_failed_commit_ends_the_recovery() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.arrive(order, 2, after_ms=1000) == [CommitBlocks(R, blocks((0, 2)))]
    assert script.tell(CommitFailed(R, BROKEN_DISK)) == [
        CloseLane(LaneId(1), A, CloseReason.NOT_WANTED)
    ]
    in_flight = script.lane(A).transfers[1]
    assert script.end(order, RangeOutcome.CLOSED) == []
    assert in_flight.id == 2
    assert script.end(
        fetch(Saved(version.space, version.digest), 2, A, (4, 6), lane=1), RangeOutcome.CLOSED
    ) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.STORE, BROKEN_DISK.message)
    ]


# When nobody has what is missing


def test_a_recovery_that_lost_all_sources_waits_and_goes_on_when_one_returns() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.tell(PeerLost(A))
    script.end_all(RangeOutcome.DISCONNECTED)
    assert script.wait(1000) == [CommitBlocks(R, blocks((0, 1)))]
    script.tell(BlocksCommitted(R))
    assert script.wait(3_600_000) == []
    assert script.view().waiting_for == "a peer that has the missing 7 MiB"
    assert script.view().missing_units == ("normal-0",)
    assert whom(script.tell(holds(A, version))) == [(A, (1, 4))]
    assert script.view().waiting_for == ""


def test_required_units_that_nobody_has_are_left_out_if_the_request_permits_it() -> None:
    script, version = Script(), saved(1, critical=[1], deferred=[1, 1])
    there = holds(A, holding(version, blocks((0, 3))))
    [order] = ranges(script.start(version, there, patience_ms=2000, allow_partial=True))
    [order] = ranges(script.deliver(order))
    script.tell(BlocksCommitted(R))
    [order] = ranges(script.deliver(order))
    script.deliver(order)
    assert script.wait(1000) == [CommitBlocks(R, blocks((1, 3)))]
    assert script.tell(BlocksCommitted(R)) == []
    assert script.wait(999) == [], "patience began with the last arrival"
    assert script.wait(1) == [CloseLane(LaneId(1), A, CloseReason.NOT_WANTED), place((3, 4))]
    assert script.view().waiting_for == ""
    assert script.tell(PlacementFailed(R, FULL_DISK)) == []
    assert script.wait(5000) == [place((3, 4))]
    assert script.tell(VersionPlaced(R)) == [ended(Result.PARTIAL)]


def bring_all_but_the_last(
    version: Saved, *, patience_ms: int | None = 2000, allow_partial: bool = False
) -> Script:
    """Bring everything of a version but its last block, which nobody has."""
    script, last = Script(), version.space.block_count - 1
    there = holds(A, holding(version, blocks((0, last))))
    orders = ranges(
        script.start(version, there, patience_ms=patience_ms, allow_partial=allow_partial)
    )
    while orders:
        orders = ranges(script.deliver(orders[0]))
    assert script.wait(1000) == [CommitBlocks(R, blocks((0, last)))]
    assert script.tell(BlocksCommitted(R)) == []
    return script


@pytest.mark.parametrize(
    ("version", "allow_partial", "message"),
    [
        (
            saved(2, 2),
            False,
            "nobody has 1 MiB of required units; to place the units that are whole",
        ),
        (saved(4), False, "nobody has 1 MiB of required units, and no unit is whole"),
        (saved(4), True, "nobody has 1 MiB of required units, and no unit is whole"),
        (saved(4, 0, 0), True, "nobody has 1 MiB of required units, and no unit is whole"),
    ],
)
def test_without_required_units_a_recovery_fails_when_patience_ends(
    version: Saved, allow_partial: bool, message: str
) -> None:
    script = bring_all_but_the_last(version, allow_partial=allow_partial)
    assert script.wait(1000) == [
        CloseLane(LaneId(1), A, CloseReason.NOT_WANTED),
        DiscardStaging(R),
    ]
    ending = script.recovery().ending
    assert ending is not None
    assert (ending.result, ending.cause) == (Result.FAILED, FailureCause.REQUIRED_MISSING)
    assert ending.message.startswith(message)


@pytest.mark.parametrize(
    ("patience_ms", "wait_ms"), [(None, 10_000), (3_600_000, 10_000), (4000, 4000)]
)
@pytest.mark.parametrize("allow_partial", [False, True])
def test_a_recovery_is_complete_without_optional_units_that_nobody_has(
    patience_ms: int | None, wait_ms: int, allow_partial: bool
) -> None:
    script = bring_all_but_the_last(
        saved(4, optional=[1]), patience_ms=patience_ms, allow_partial=allow_partial
    )
    assert script.wait(wait_ms - 1001) == [], "a holder that restarts is found again"
    assert script.wait(1)[-1] == place((4, 5))
    assert script.view().missing_units == ("optional-0",)
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_critical_units_that_nobody_has_end_the_recovery_when_patience_ends() -> None:
    script, version = Script(), saved(1, critical=[2])
    there = holds(A, holding(version, blocks((1, 3))))
    [order] = ranges(script.start(version, there, patience_ms=2000, allow_partial=True))
    [order] = ranges(script.deliver(order))
    script.deliver(order)
    assert script.wait(1000) == [CommitBlocks(R, blocks((1, 3)))]
    script.tell(BlocksCommitted(R))
    assert script.wait(1000) == [
        CloseLane(LaneId(1), A, CloseReason.NOT_WANTED),
        DiscardStaging(R),
    ]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.CRITICAL_MISSING, "nobody has 1 MiB of critical units")
    ]


def test_a_version_of_which_nothing_came_is_not_recovered_in_part() -> None:
    """An empty directory under the final name would block every later try."""
    script, version = Script(), saved(4, deferred=[2])
    [order] = ranges(script.start(version, A, patience_ms=2000, allow_partial=True))
    script.end(order, RangeOutcome.NOT_HELD)
    script.end_all(RangeOutcome.NOT_HELD)
    assert script.wait(1999) == []
    assert script.wait(1) == [CloseLane(LaneId(1), A, CloseReason.NOT_WANTED), DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [
        ended(Result.FAILED, FailureCause.REQUIRED_MISSING, "nobody has any of the 6 MiB")
    ]


def test_patience_begins_anew_whenever_a_holder_returns() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A, patience_ms=2000))
    script.tell(PeerLost(A))
    script.end(order, RangeOutcome.DISCONNECTED)
    assert script.wait(1999) == []
    [order] = ranges(script.tell(holds(A, version)))
    script.tell(PeerLost(A))
    script.end(order, RangeOutcome.DISCONNECTED)
    assert script.wait(1999) == []
    assert script.wait(1) == [DiscardStaging(R)]


def test_nobody_runs_out_of_patience_while_something_is_arriving() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A, patience_ms=100))
    script.tell(PeerLost(A))
    assert script.wait(400) == []
    assert script.arrive(order, 1) == []
    assert script.wait(400) == []


def test_nobody_runs_out_of_patience_before_every_peer_was_heard() -> None:
    script, version = Script(), saved(8)
    script.tell(resumed(version), ManifestArrived(R, None, version.space))
    script.tell(StagingPrepared(R, BlockSet()))
    assert script.wait(60_000) == []
    assert script.recovery().starved_since_ns is None


# Paused


def test_a_pause_while_the_manifest_comes_puts_off_asking_somebody_else() -> None:
    script, version = bring_to(DESCRIBING)
    script.tell(RecoveryPaused(R))
    assert script.tell(ManifestMissed(R, A, is_lie=False), holds(B, version)) == []
    assert script.wait(60_000) == []
    assert script.tell(RecoveryResumed(R)) == [FetchManifest(R, B, version.digest)]


def test_a_pause_while_staging_is_prepared_puts_off_the_first_range() -> None:
    script, _ = bring_to(PREPARING)
    script.tell(RecoveryPaused(R))
    assert script.tell(StagingPrepared(R, BlockSet())) == []
    assert whom(script.tell(RecoveryResumed(R))) == [(A, (0, 4))]


def test_a_pause_cuts_off_what_is_on_its_way_and_keeps_what_is_verified() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    [following] = ranges(script.arrive(order, 2))
    assert script.tell(RecoveryPaused(R)) == [CloseLane(LaneId(1), A, CloseReason.NOT_WANTED)]
    assert script.arrive(order, 3) == [], "what was verified before the lane closed counts"
    assert script.end(order, RangeOutcome.CLOSED) == []
    assert script.tell(RecoveryResumed(R)) == [], "the old lane is still closing"
    assert whom(script.end(following, RangeOutcome.CLOSED)) == [(A, (3, 5))]
    assert script.view().waiting_for == ""
    assert script.view_source(A).trust == 0


def test_a_paused_recovery_makes_durable_what_it_has_and_does_not_lose_patience() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A, patience_ms=10))
    script.arrive(order, 1)
    script.tell(RecoveryPaused(R), PeerLost(A))
    for order in script.in_flight:
        script.end(order, RangeOutcome.CLOSED)
    assert script.wait(60_000) == [CommitBlocks(R, blocks((0, 1)))]
    assert script.tell(BlocksCommitted(R)) == []
    assert script.wait(60_000) == []


def test_a_pause_in_the_last_step_changes_nothing() -> None:
    script, _ = bring_to(PLACING)
    assert script.tell(RecoveryPaused(R)) == []
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


# Moments


def test_the_moment_the_last_critical_block_became_durable_is_noted() -> None:
    script, version = Script(options=THREE_AT_LEAST), saved(8, critical=[2])
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert CommitBlocks(R, blocks((0, 2))) in script.arrive(order, 2, after_ms=200)
    assert script.view().critical_ns is None
    script.tell(BlocksCommitted(R), after_ms=7)
    assert script.view().critical_ns == 207 * MS


def test_critical_blocks_that_an_earlier_run_left_are_there_from_the_beginning() -> None:
    script, version = Script(), saved(8, critical=[2])
    script.start(version, A, verified=blocks((0, 2)))
    assert script.view().critical_ns == 0


def test_without_critical_units_there_is_no_such_moment() -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A))
    script.deliver(order)
    assert script.tell(BlocksCommitted(R))
    assert script.view().critical_ns is None


# By records


def add_lane(step: Step, number: int, heard_ms: int, *, has_work: bool, has_body: bool) -> Lane:
    link = step.state.peers[A].link
    lane = Lane(LaneId(number), A, R, link, heard_ns=heard_ms * MS, has_body=has_body)
    if has_work:
        lane.transfers.append(Transfer(TransferId(number), BlockRun(0, 1), MIB, 0))
    the(step).work.lanes[lane.id] = lane
    return lane


def test_requests_are_numbered_as_they_come() -> None:
    script, version = Script(), saved(2)
    script.tell(wanted(version), wanted(version, R2))
    assert [script.recovery(name).sequence for name in (R, R2)] == [1, 2]


def test_that_an_interrupted_recovery_goes_on_is_in_its_story() -> None:
    script = Script()
    script.tell(resumed(saved(2)))
    assert [entry.kind for entry in script.recovery().story.entries] == [StoryKind.VERSION_CHOSEN]


@pytest.mark.parametrize("order", [None, LocalOrder.COMMIT, LocalOrder.PLACEMENT])
def test_a_recovery_may_be_cancelled_until_it_is_placed(order: LocalOrder | None) -> None:
    step = known()
    the(step).local.pending_order = order
    advance.on_cancelled(step, the(step), RecoveryCancelled(R))
    assert (the(step).ending is None) is (order is LocalOrder.PLACEMENT)


def test_a_prediction_counts_from_the_request() -> None:
    script, version = Script(), saved(6, critical=[2])
    script.tell(holds(A, version), DiscoverySettled())
    script.tell(wanted(version), after_ms=50)
    script.scheduler.inspect().peers[A].link.rate.bytes_per_s = 2.0 * MIB
    script.tell(ManifestArrived(R, A, version.space), after_ms=100)
    script.tell(StagingPrepared(R, BlockSet()), after_ms=100)
    tally = script.recovery().tally
    assert (tally.predicted_critical_ns, tally.predicted_ns) == (1200 * MS, 4200 * MS)


@pytest.mark.parametrize(
    ("started_ms", "delivered_ms", "heard_ms", "expected_ms"),
    [
        (980, None, 500, 520),
        (981, None, 500, 500),
        (980, 990, 500, 500),
        (500, 900, 500, 600),
        (500, 980, 500, 520),
        (500, 981, 500, 500),
        (990, 500, 500, 500),
        (500, 400, 950, 1000),
    ],
)
def test_the_time_in_which_the_disk_held_all_lanes_up_is_given_back(
    started_ms: int, delivered_ms: int | None, heard_ms: int, expected_ms: int
) -> None:
    for is_held_up in (False, True):
        step = known()
        the(step).commit.started_ns = started_ms * MS
        the(step).work.is_held_up = is_held_up
        lane = add_lane(step, 1, heard_ms, has_work=True, has_body=False)
        idle = add_lane(step, 2, delivered_ms or 0, has_work=False, has_body=bool(delivered_ms))
        advance.on_blocks_committed(step, the(step), BlocksCommitted(R))
        assert lane.heard_ns == expected_ms * MS
        assert idle.heard_ns == (delivered_ms or 0) * MS
        is_moved = expected_ms != heard_ms
        assert (lane.id in step.state.lane_alarms) is (is_moved or is_held_up)


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_commit_that_failed_is_fatal_unless_what_was_staged_is_lost(is_lost: bool) -> None:
    step = known()
    the(step).commit.committing, the(step).commit.blocks = blocks((0, 1)), blocks((1, 2))
    refusal = LOST_STAGING if is_lost else BROKEN_DISK
    advance.on_commit_failed(step, the(step), CommitFailed(R, refusal))
    assert the(step).commit.blocks == blocks((0, 2))
    assert (the(step).ending is None) is is_lost
    assert the(step).local.is_staging_lost is is_lost


def test_what_the_disk_refused_is_dealt_with_once_and_all_sources_are_looked_at_after() -> None:
    step = known()
    the(step).local.refusals.append(FULL_DISK)
    advance.advance(step)
    assert not the(step).local.refusals
    assert kinds(step) == [StoryKind.DISK_REFUSED]
    retry_at_ns = the(step).local.retry_at_ns
    assert retry_at_ns is not None
    assert not step.is_room_everywhere
    step.now = retry_at_ns
    advance.advance(step)
    assert the(step).local.retry_at_ns is None
    assert step.is_room_everywhere


def test_what_was_staged_and_is_lost_is_prepared_again() -> None:
    step = known()
    the(step).local.is_staging_lost = True
    advance.advance(step)
    assert step.effects == [PrepareStaging(R, TRANSFERRED.digest, TRANSFERRED.space)]


def ready(*, size_bytes: int = MIB, since_ns: int | None = 1000 * MS) -> Step:
    """Let a block wait for a commit that is not due, while a range is in flight."""
    step = known()
    recovery = the(step)
    recovery.work.transfer_count = 1
    recovery.coverage.unclaimed = blocks((2, 8))
    recovery.commit.blocks = blocks((0, 1))
    recovery.commit.size_bytes, recovery.commit.since_ns = size_bytes, since_ns
    return step


@pytest.mark.parametrize(
    ("size_bytes", "since_ns", "is_urgent", "order", "is_committed"),
    [
        (8 * MIB - 1, 1000 * MS, False, None, False),
        (8 * MIB, 1000 * MS, False, None, True),
        (MIB, 1, False, None, False),
        (MIB, 0, False, None, True),
        (MIB, None, False, None, True),
        (MIB, 1000 * MS, True, None, True),
        (8 * MIB, 0, True, LocalOrder.COMMIT, False),
    ],
)
def test_a_commit_is_due_by_size_age_or_urgency_one_at_a_time(
    size_bytes: int,
    since_ns: int | None,
    is_urgent: bool,
    order: LocalOrder | None,
    is_committed: bool,
) -> None:
    step = ready(size_bytes=size_bytes, since_ns=since_ns)
    commit = the(step).commit
    commit.is_urgent, the(step).local.pending_order = is_urgent, order
    advance.advance(step)
    assert step.effects == [CommitBlocks(R, blocks((0, 1)))] * is_committed
    if is_committed:
        assert (commit.committing, commit.blocks) == (blocks((0, 1)), blocks())
        assert (commit.size_bytes, commit.is_urgent, commit.since_ns) == (0, False, None)
        assert commit.started_ns == step.now


@pytest.mark.parametrize(
    ("unclaimed", "has_holder", "is_paused", "is_settled", "is_starved"),
    [
        (blocks((0, 8)), False, False, True, True),
        (blocks((0, 8)), True, False, True, False),
        (blocks((0, 8)), False, True, True, False),
        (blocks((0, 8)), False, False, False, False),
        (blocks(), False, False, True, False),
    ],
)
def test_patience_is_measured_while_nobody_has_what_is_missing(
    unclaimed: BlockSet, has_holder: bool, is_paused: bool, is_settled: bool, is_starved: bool
) -> None:
    step = known()
    recovery = the(step)
    recovery.local.pending_order = LocalOrder.COMMIT
    recovery.coverage.unclaimed, recovery.is_paused = unclaimed, is_paused
    step.state.is_settled = is_settled
    if not has_holder:
        step.state.peers.clear()
    advance.advance(step)
    assert recovery.starved_since_ns == (step.now if is_starved else None)


def test_the_last_critical_block_is_told_once() -> None:
    step = known()
    recovery = the(step)
    recovery.commit.committing = blocks((0, 2))
    advance.on_blocks_committed(step, recovery, BlocksCommitted(R))
    assert recovery.phasing.reached[CRITICAL] == step.now
    step.now += 1
    advance.on_blocks_committed(step, recovery, BlocksCommitted(R))
    assert recovery.phasing.reached[CRITICAL] == step.now - 1
    assert kinds(step) == [StoryKind.CRITICAL_COMPLETE]
