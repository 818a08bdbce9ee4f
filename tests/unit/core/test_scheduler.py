"""Whole recoveries, order by order."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    EndRecovery,
    FetchManifest,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    DiscoverySettled,
    Event,
    HoldingConfirmed,
    IngressLimited,
    ManifestArrived,
    ManifestMissed,
    ManifestRefused,
    PeerLost,
    PlacementFailed,
    RangeEnded,
    RangeProgressed,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryResumed,
    StagingDiscarded,
    StagingPrepared,
    StagingRefused,
    TimePassed,
    VersionPlaced,
)
from ckptd.core.explain.bottleneck import LocalLoad
from ckptd.core.options import Options
from ckptd.core.scheduler import Scheduler
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId, TransferId
from ckptd.model.words import (
    Bottleneck,
    CloseReason,
    Confirmation,
    Criticality,
    RangeOutcome,
    Result,
    Stage,
    StoryKind,
)
from tests.support.scheduling import (
    BROKEN_DISK,
    FOUR_AT_FIRST,
    LLAMA,
    NO_COMMITS,
    R2,
    A,
    B,
    C,
    R,
    Script,
    adjusted,
    blocks,
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

CRITICAL, NORMAL, DEFERRED = Criticality


def test_a_recovery_from_the_request_to_the_rename() -> None:
    options = adjusted(FOUR_AT_FIRST, ranges={"bytes_min": 2 * MIB})
    script, version = Script(options=options), saved(3, critical=[2], deferred=[2])

    assert script.tell(holds(A, version)) == []
    assert script.tell(DiscoverySettled()) == []
    assert script.tell(wanted(version)) == [
        ChooseVersion(R, LLAMA, version.version, version.digest),
        FetchManifest(R, A, version.digest),
    ]
    assert script.tell(ManifestArrived(R, A, version.space), after_ms=5) == [
        PrepareStaging(R, version.digest, version.space)
    ]
    critical = fetch(version, 1, A, (0, 2), lane=1, criticality=CRITICAL)
    assert script.tell(StagingPrepared(R, BlockSet()), after_ms=5) == [critical]

    # The first byte of a body lets the next range follow, so that the lane never runs dry.
    normal = fetch(version, 2, A, (2, 4), lane=1, criticality=NORMAL)
    assert script.arrive(critical, 1, after_ms=10) == [normal]
    # What is critical counts once it is durable.
    assert script.arrive(critical, after_ms=10) == [CommitBlocks(R, blocks((0, 2)))]
    assert script.tell(BlocksCommitted(R)) == []
    rest = fetch(version, 3, A, (4, 5), lane=1, criticality=NORMAL)
    assert script.end(critical) == []
    assert script.arrive(normal, 3, after_ms=10) == [rest]
    assert script.arrive(normal, after_ms=10) == []
    assert script.end(normal) == []
    deferred = fetch(version, 4, A, (5, 7), lane=1, criticality=DEFERRED)
    assert script.arrive(rest, after_ms=10) == [deferred]
    assert script.end(rest) == []
    assert script.arrive(deferred, after_ms=10) == []

    assert script.end(deferred) == [CommitBlocks(R, blocks((2, 7)))]
    assert script.tell(BlocksCommitted(R), after_ms=20) == [
        CloseLane(LaneId(1), A, CloseReason.NOT_WANTED),
        PlaceVersion(R, missing=BlockSet()),
    ]
    assert script.tell(VersionPlaced(R), after_ms=5) == [ended(Result.COMPLETE)]
    assert script.scheduler.recoveries(now=script.now) == ()
    assert script.scheduler.next_deadline() is None


def test_a_recovery_goes_on_after_a_restart_with_what_was_committed() -> None:
    script, version = Script(), saved(4)
    assert script.tell(resumed(version)) == [FetchManifest(R, None, version.digest)]
    assert script.tell(ManifestArrived(R, None, version.space)) == [
        PrepareStaging(R, version.digest, version.space)
    ]
    assert script.tell(StagingPrepared(R, blocks((0, 2), (3, 4)))) == []
    [order] = script.tell(holds(A, version))
    assert order == fetch(version, 1, A, (2, 3), lane=1)
    assert script.deliver(order) == [CommitBlocks(R, blocks((2, 3)))]
    assert script.tell(BlocksCommitted(R)) == [
        CloseLane(LaneId(1), A, CloseReason.NOT_WANTED),
        PlaceVersion(R, missing=BlockSet()),
    ]
    assert script.tell(VersionPlaced(R)) == [ended(Result.COMPLETE)]


def test_facts_that_became_known_together_are_decided_on_once() -> None:
    whom_first = []
    for is_together in (False, True):
        script, version = Script(), saved(1)
        script.tell(resumed(version))
        script.tell(ManifestArrived(R, None, version.space))
        script.tell(StagingPrepared(R, BlockSet()))
        later, first = holds(B, version), holds(A, version)  # of equals A is asked first
        if is_together:
            effects = script.scheduler.handle(later, first, now=script.now)
        else:
            effects = script.tell(later, first)
        whom_first += [source for source, _ in whom(effects)]
    assert whom_first == [B, A]


def test_a_source_that_sends_a_bad_block_and_breaks_off_does_not_stop_a_recovery() -> None:
    script, version = Script(), saved(4)
    first, other = ranges(script.start(version, A, B))
    assert whom([first, other]) == [(A, (0, 1)), (B, (1, 2))]
    assert script.arrive(first, 1, rejected=(0,)) == [
        ConfirmHolding(A, version.digest, blocks((0, 1)))
    ]
    assert script.end(first, RangeOutcome.DISCONNECTED) == [
        CloseLane(LaneId(1), A, CloseReason.FAILED)
    ]
    [bad_one] = script.arrive(other)
    assert bad_one == fetch(version, 3, B, (0, 1), lane=2)
    assert script.end(other) == []
    assert script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD)) == []
    [third] = ranges(script.arrive(bad_one))
    assert script.end(bad_one) == []
    [last] = ranges(script.arrive(third))
    assert script.end(third) == []
    assert script.deliver(last) == [CommitBlocks(R, version.blocks)]


def test_two_recoveries_run_side_by_side_on_their_own_lanes() -> None:
    script = Script()
    version, other = saved(1), saved(1, checkpoint="llama/rank-1")
    mine = script.start(version, holds(A, version, other))
    theirs = script.start(other, recovery=R2)
    assert mine == [fetch(version, 1, A, (0, 1), lane=1)]
    assert theirs == [fetch(other, 2, A, (0, 1), lane=2, recovery=R2)]
    assert script.deliver(ranges(theirs)[0]) == [CommitBlocks(R2, other.blocks)]
    assert script.tell(RecoveryCancelled(R)) == [CloseLane(LaneId(1), A, CloseReason.NOT_WANTED)]
    assert PlaceVersion(R2, missing=BlockSet()) in script.tell(BlocksCommitted(R2))
    assert script.tell(VersionPlaced(R2)) == [ended(Result.COMPLETE, recovery=R2)]
    assert script.end_all(RangeOutcome.CLOSED) == [DiscardStaging(R)]
    assert script.tell(StagingDiscarded(R)) == [ended(Result.CANCELLED)]


def test_a_name_may_be_used_again_once_its_recovery_ended() -> None:
    script, version = Script(), saved(1)
    script.start(version, A, verified=version.blocks)
    script.tell(VersionPlaced(R))
    assert script.start(version, A) == [fetch(version, 1, A, (0, 1), lane=1)]


LATE_REPORTS: list[Event] = [
    RecoveryPaused(R),
    RecoveryResumed(R),
    RecoveryCancelled(R),
    ManifestArrived(R, A, saved(1).space),
    ManifestMissed(R, A, is_lie=True),
    ManifestRefused(R, A, BROKEN_DISK),
    StagingPrepared(R, BlockSet()),
    StagingRefused(R, BROKEN_DISK),
    RangeProgressed(TransferId(1), 1, 1),
    RangeEnded(TransferId(1), RangeOutcome.MISBEHAVED),
    HoldingConfirmed(A, saved(1).digest, Confirmation.HELD),
    HoldingConfirmed(B, saved(1).digest, Confirmation.NOT_HELD),
    BlocksCommitted(R),
    CommitFailed(R, BROKEN_DISK),
    VersionPlaced(R),
    PlacementFailed(R, BROKEN_DISK),
    StagingDiscarded(R),
    PeerLost(B),
    TimePassed(),
]


@pytest.mark.parametrize("event", LATE_REPORTS, ids=lambda event: type(event).__name__)
def test_a_late_report_on_a_recovery_that_ended_changes_nothing(event: Event) -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A))
    script.deliver(order)
    script.tell(BlocksCommitted(R))
    assert isinstance(script.tell(VersionPlaced(R))[0], EndRecovery)
    before = repr(script.scheduler.inspect())
    assert script.tell(event) == []
    assert repr(script.scheduler.inspect()) == before


def test_time_does_not_go_back() -> None:
    script = Script()
    script.tell(TimePassed(), after_ms=5)
    with pytest.raises(AssertionError, match="time went back"):
        script.scheduler.handle(TimePassed(), now=script.now - 1)


def test_a_recovery_is_not_requested_twice_under_one_name() -> None:
    script, version = Script(), saved(1)
    script.tell(wanted(version))
    with pytest.raises(AssertionError, match="requested twice"):
        script.tell(wanted(version))


@pytest.mark.parametrize("seed", range(3))
def test_the_same_facts_and_the_same_seed_give_the_same_orders(seed: int) -> None:
    def run() -> list[object]:
        script, version = Script(seed=seed), saved(64)
        story: list[object] = [script.start(version, A, B)]
        for _ in range(5):
            story.append(script.end_all(RangeOutcome.DISCONNECTED))
            story.append((script.wake_at_deadline(), script.now))
        return story

    assert run() == run()


# What is looked at after every event


def test_a_lane_that_is_late_is_closed_when_time_passes() -> None:
    script, version = Script(), saved(8)
    script.start(version, A)
    script.now_ms = 1000
    [closing] = script.scheduler.handle(TimePassed(), now=script.now)
    assert closing == CloseLane(LaneId(1), A, CloseReason.SILENT)


def test_another_number_of_lanes_is_tried_while_a_source_works() -> None:
    script = Script(options=NO_COMMITS)
    script.start(saved(2000), A)
    for _ in range(8):
        script.deliver(script.in_flight[0], after_ms=250)
    assert script.scheduler.inspect().trial is not None


def test_an_idle_source_takes_over_from_a_slow_one() -> None:
    script = Script(options=adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB}))
    slow, fast = ranges(script.start(saved(8), A, B))
    for order, rate in ((slow, MIB), (fast, 100 * MIB)):
        link = script.scheduler.inspect().peers[order.source].link
        link.rate.bytes_per_s = link.rate.latest_bytes_per_s = rate
    script.arrive(slow, slow.blocks.start + 1, after_ms=1)
    closings = [each for each in script.deliver(fast) if isinstance(each, CloseLane)]
    assert [(each.source, each.reason) for each in closings] == [(A, CloseReason.STOLEN)]


def test_a_standstill_is_in_the_story() -> None:
    script = Script()
    script.start(saved(8), A)
    script.end_all(RangeOutcome.BUSY)
    kinds = [entry.kind for entry in script.recovery().story.entries]
    assert StoryKind.STANDSTILL in kinds


def test_a_limit_that_is_lifted_lets_every_source_work() -> None:
    script = Script(options=NO_COMMITS)
    script.tell(IngressLimited(1 * MIB))
    assert whom(script.start(saved(64), A, B, C)) == [(A, (0, 1))]
    lifted = script.scheduler.handle(IngressLimited(None), now=script.now)
    assert [order.source for order in ranges(lifted)] == [B, C]


# What may be read


def test_a_recovery_is_seen_only_under_its_name_and_while_it_goes_on() -> None:
    script, version = Script(), saved(8)
    script.start(version, A)
    scheduler, load = script.scheduler, LocalLoad()
    view = scheduler.recovery(R, now=script.now)
    assert view is not None
    assert scheduler.recoveries(now=script.now) == (view,)
    assert scheduler.stages() == {R: Stage.TRANSFERRING}
    assert scheduler.explain(R, now=script.now) is not None
    assert scheduler.bottleneck(R, load, now=script.now) is Bottleneck.SOURCE
    assert scheduler.recovery(R2, now=script.now) is None
    assert scheduler.explain(R2, now=script.now) is None
    assert scheduler.bottleneck(R2, load, now=script.now) is None


def test_a_peer_is_seen_once_it_was_heard_of() -> None:
    script = Script()
    script.tell(holds(A, saved(8)))
    seen = script.scheduler.peer(A, now=script.now)
    assert seen is not None
    assert seen.source.node == A
    assert script.scheduler.peer(B, now=script.now) is None


def test_holders_are_live_and_have_some_of_the_version() -> None:
    script, version = Script(), saved(8)
    other = saved(4, version=99)
    script.tell(holds(C, holding(version, blocks((0, 1)))), holds(B, other), holds(A, version))
    seen = script.scheduler.holders(version.digest, now=script.now)
    assert [peer.source.node for peer in seen] == [A, C]
    script.tell(PeerLost(A))
    seen = script.scheduler.holders(version.digest, now=script.now)
    assert [peer.source.node for peer in seen] == [C]


def test_without_options_it_works_with_the_usual_ones() -> None:
    script, version = Script(options=Options()), saved(8)
    script.scheduler = Scheduler(Random(0))
    assert whom(script.start(version, A)) == [(A, (0, 1))]
