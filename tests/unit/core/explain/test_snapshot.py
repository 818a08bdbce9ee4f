"""What people see of a recovery and of its sources."""

from __future__ import annotations

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    HoldingConfirmed,
    ManifestArrived,
    ManifestMissed,
    PeerLost,
    RangeProgressed,
    RecoveryCancelled,
    RecoveryPaused,
    RecoveryResumed,
    StagingDiscarded,
    StagingPrepared,
)
from ckptd.core.explain.snapshot import (
    MISSING_UNITS_SHOWN,
    missing_blocks,
    view_peer,
    view_recovery,
)
from ckptd.core.options import Options
from ckptd.core.report.views import SourceSnapshot
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest, Epoch, LaneId, TransferId
from ckptd.model.milestones import CRITICAL
from ckptd.model.words import (
    Confirmation,
    Criticality,
    RangeOutcome,
    SourceState,
    Stage,
    WasteReason,
)
from tests.support.scheduling import (
    FULL_DISK,
    LLAMA,
    R2,
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


def waiting_for(script: Script) -> str:
    return script.view().waiting_for


# What it waits for


def test_a_recovery_says_what_it_waits_for_before_it_has_a_version() -> None:
    script, version = Script(), saved(2)
    script.tell(wanted(version))
    assert waiting_for(script) == "peers to say what they hold"
    script.tell(DiscoverySettled())
    assert waiting_for(script) == f"a peer that has a whole version of {LLAMA}"
    script.tell(wanted(version, R2, is_named=True))
    assert script.view(R2).waiting_for == f"a peer that has version 100 of {LLAMA}"
    script.tell(RecoveryPaused(R))
    assert waiting_for(script) == "an operator to resume it"


def test_a_recovery_that_is_busy_waits_for_nothing() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    assert waiting_for(script) == ""
    script.tell(ManifestArrived(R, A, version.space))
    assert waiting_for(script) == ""
    script.tell(StagingPrepared(R, BlockSet()))
    assert waiting_for(script) == ""


def test_a_recovery_waits_for_a_peer_that_has_the_manifest() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    script.tell(ManifestMissed(R, A, is_lie=False))
    assert waiting_for(script) == "a peer that has the manifest; tried again in 5.0s"


def test_a_recovery_waits_for_a_peer_that_has_what_is_missing() -> None:
    script, version = Script(), saved(8)
    script.start(version, A)
    script.tell(PeerLost(A))
    assert waiting_for(script) == "", "something may still come"
    script.end_all(RangeOutcome.DISCONNECTED)
    assert waiting_for(script) == "a peer that has the missing 8 MiB"


def test_a_recovery_waits_for_a_source_that_rests() -> None:
    script, version = Script(), saved(8)
    first, other = ranges(script.start(version, A, B))
    script.end(first, RangeOutcome.BUSY, retry_after_ms=7000)
    script.end(other, RangeOutcome.BUSY, retry_after_ms=2500)
    soonest_ns = script.scheduler.inspect().peers[B].link.usable_at_ns
    assert waiting_for(script) == f"a source to be tried again in {soonest_ns / SECOND:.1f}s"


def test_a_recovery_waits_for_sources_to_stand_by_their_holdings() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end(order)
    assert waiting_for(script) == "sources to stand by their holdings"
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    assert waiting_for(script) == ""


def test_a_recovery_waits_for_the_disk_when_all_has_come() -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A))
    script.deliver(order)
    assert waiting_for(script) == "the disk"
    script.tell(BlocksCommitted(R))
    assert waiting_for(script) == ""
    assert script.view().stage is Stage.PLACING


def test_trouble_with_the_disk_is_said_before_anything_else() -> None:
    script, version = Script(), saved(8)
    script.start(version, A)
    script.end_all(RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    script.tell(PeerLost(A), RecoveryPaused(R))
    assert waiting_for(script) == FULL_DISK.message


def test_a_recovery_that_is_being_discarded_waits_for_no_peer() -> None:
    script, version = Script(), saved(8)
    script.start(version, A)
    script.tell(PeerLost(A), RecoveryCancelled(R))
    script.end_all(RangeOutcome.CLOSED)
    assert script.view().stage is Stage.DISCARDING
    assert waiting_for(script) == ""


# What is missing


def test_missing_units_are_those_of_which_nobody_live_has_some_block() -> None:
    script, version = Script(), saved(2, 2, 2, deferred=[1])
    script.start(version, holds(A, holding(version, blocks((1, 5)))))
    assert script.view().missing_blocks == 3
    assert script.view().missing_units == ("normal-0", "normal-2", "deferred-0")
    script.tell(holds(B, version))
    assert (script.view().missing_blocks, script.view().missing_units) == (0, ())
    script.tell(PeerLost(B))
    script.end_all(RangeOutcome.DISCONNECTED)
    assert script.view().missing_blocks == 3


def test_blocks_that_every_holder_sent_wrongly_are_missing() -> None:
    script, version = Script(), saved(1, 1)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.end(order)
    assert script.view().missing_units == ("normal-0",)


def test_only_the_first_missing_units_are_named() -> None:
    script, version = Script(), saved(*[1] * 30)
    script.start(version, holds(A, holding(version, BlockSet())))
    assert script.view().missing_blocks == 30
    assert script.view().missing_units == tuple(
        f"normal-{index}" for index in range(MISSING_UNITS_SHOWN)
    )


def test_before_a_manifest_is_here_nothing_is_known_to_be_missing() -> None:
    script, version = Script(), saved(8)
    script.tell(wanted(version))
    view = script.view()
    assert (view.units_total, view.total_bytes, view.missing_blocks) == (0, 0, 0)
    assert (view.version, view.digest, view.eta_ns) == (None, None, None)


# Numbers


def test_the_numbers_of_a_recovery_add_up() -> None:
    script, version = Script(), saved(4, 4, 56)
    [order] = ranges(script.start(version, A, verified=blocks((0, 4))))
    script.arrive(order, 6, rejected=(5,), after_ms=500)
    script.tell(RangeProgressed(order.transfer, 2 * MIB + 7, 6))
    script.end_all(RangeOutcome.DISCONNECTED)
    view = script.view()
    assert view.units_total == 3
    assert view.units_done == 1
    assert view.total_bytes == 64 * MIB
    assert view.resumed_bytes == 4 * MIB
    assert view.verified_bytes == 5 * MIB
    assert not view.is_committed
    assert view.received_bytes == 2 * MIB + 7
    assert view.wasted_bytes == {WasteReason.CORRUPT: 1 * MIB, WasteReason.CANCELLED: 7}
    assert view.bad_blocks == 1
    assert view.elapsed_ns == SECOND // 2


def test_what_is_left_at_the_present_rate_is_the_time_to_the_end() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    assert (script.view().rate_bytes_per_s, script.view().eta_ns) == (0, None)
    script.arrive(order, 4, after_ms=1000)
    assert script.view().rate_bytes_per_s == 4 * MIB
    assert script.view().eta_ns == 15 * SECOND


def test_a_recovery_that_stands_still_has_no_rate_and_no_end() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 4, after_ms=1000)
    script.tell(RecoveryPaused(R))
    script.end_all(RangeOutcome.CLOSED)
    assert (script.view().rate_bytes_per_s, script.view().eta_ns) == (0, None)
    assert script.view().is_paused
    script.tell(RecoveryResumed(R))
    assert not script.view().is_paused


def test_the_last_view_of_a_recovery_comes_with_its_end() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.tell(RecoveryCancelled(R))
    script.end_all(RangeOutcome.CLOSED)
    [end] = script.tell(StagingDiscarded(R), after_ms=1000)
    assert isinstance(end, EndRecovery)
    assert end.final.received_bytes == 1 * MIB
    assert end.final.elapsed_ns == SECOND
    assert script.scheduler.recovery(R, now=script.now) is None


def test_recoveries_are_shown_oldest_first() -> None:
    script, version = Script(), saved(8)
    script.tell(wanted(version, R2), wanted(version, R))
    shown = script.scheduler.recoveries(now=0)
    assert [view.recovery for view in shown] == [R2, R]


# Sources


def test_peers_are_shown_by_name_with_what_they_do() -> None:
    script, version = Script(), saved(64)
    script.tell(holds(B), holds(A, version))
    idle, lost = SourceState.IDLE, SourceState.LOST
    assert script.scheduler.sources(now=0) == (
        SourceSnapshot(A, Epoch(1), idle, 0, 0, 0, versions=1, path=A),
        SourceSnapshot(B, Epoch(1), idle, 0, 0, 0, versions=0, path=B),
    )
    script.start(version, holds(A, version, epoch=2))
    script.tell(PeerLost(B))
    assert script.scheduler.sources(now=0) == (
        SourceSnapshot(A, Epoch(2), SourceState.ACTIVE, 0, 4 * MIB, 0, versions=1, path=A),
        SourceSnapshot(B, Epoch(1), lost, 0, 0, 0, versions=0, path=B),
    )


def test_a_source_that_failed_is_backing_off_until_its_rest_is_over() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.BUSY, retry_after_ms=1000)
    script.wait(999)
    assert script.view_source(A).state is SourceState.BACKING_OFF
    script.wait(502)
    assert script.view_source(A).state is SourceState.ACTIVE


def test_a_source_that_failed_and_lied_is_distrusted() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end(order, RangeOutcome.DISCONNECTED)
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED


def test_a_source_that_was_distrusted_once_and_fails_now_is_backing_off() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end(order)
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    script.wait(60_000)
    script.end_all(RangeOutcome.DISCONNECTED)
    assert script.view_source(A).state is SourceState.BACKING_OFF


def test_the_sources_of_a_recovery_are_those_that_can_serve_it_or_did() -> None:
    script, version = Script(), saved(64)
    other = saved(8, checkpoint="llama/rank-1")
    first, _ = ranges(script.start(version, A, B))
    script.tell(holds(B, other))
    script.deliver(first)
    shown = {view.source.node: view.verified_bytes for view in script.view().sources}
    assert shown == {A: 4 * MIB}
    script.tell(holds(A, other))
    assert [view.source.node for view in script.view().sources] == [A], "it did"


def test_a_source_is_active_for_the_recovery_it_works_for() -> None:
    script, version = Script(), saved(64)
    other = saved(8, checkpoint="llama/rank-1")
    script.start(version, holds(A, version, other))
    script.tell(wanted(other, R2, is_named=True))
    [busy], [idle] = script.view(R).sources, script.view(R2).sources
    assert (busy.source.state, idle.source.state) == (SourceState.ACTIVE, SourceState.IDLE)


# What the daemon reads


def test_stages_and_blocks_are_read_one_by_one() -> None:
    script, version = Script(), saved(2)
    assert not script.scheduler.is_settled
    script.tell(wanted(version))
    assert script.scheduler.stages() == {R: Stage.SEEKING}
    assert script.scheduler.bytes_by_class() == {}
    script, version = Script(), saved(8, critical=[1])
    order = ranges(script.start(version, A))[0]
    script.arrive(order)
    assert script.scheduler.is_settled
    assert script.scheduler.stages() == {R: Stage.TRANSFERRING}
    here = BlockSet((order.blocks,))
    assert script.scheduler.verified(R) == here
    assert script.scheduler.committed(R) == BlockSet()
    assert script.scheduler.bytes_by_class() == {
        (True, Criticality.CRITICAL): MIB,
        (True, Criticality.NORMAL): 0,
        (False, Criticality.CRITICAL): 0,
        (False, Criticality.NORMAL): 8 * MIB,
    }


# By records

VERSION = saved(critical=[2], deferred=[6])


def known() -> tuple[State, Recovery]:
    """Make a recovery that began at 3000, with a lane to each of two peers; only A has work."""
    state = State(peers={node: Peer(node, Epoch(1)) for node in (A, B)})
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery = Recovery(
        wanted(VERSION),
        1,
        started_ns=3000,
        stage=Stage.TRANSFERRING,
        digest=VERSION.digest,
        described=described,
    )
    for number, peer in enumerate(state.peers.values(), 1):
        peer.holdings[VERSION.digest] = holding(VERSION)
        lane = Lane(LaneId(number), peer.node, R, peer.link, heard_ns=0)
        recovery.work.bundles[peer.node] = Bundle([lane])
        recovery.work.lanes[lane.id] = state.lanes[lane.id] = lane
    lane = state.lanes[LaneId(1)]
    lane.transfers.append(
        Transfer(TransferId(1), BlockRun(0, 2), 2 * MIB, 0, criticality=Criticality.CRITICAL)
    )
    recovery.work.transfer_count = 1
    recovery.coverage.unclaimed = blocks((3, 8))
    recovery.coverage.verified = blocks((2, 3))
    state.recoveries[R] = recovery
    return state, recovery


@pytest.mark.parametrize(("until_ns", "shown_ns"), [(6999, None), (7000, None), (7001, 7001)])
def test_a_quarantine_is_shown_until_it_ends(until_ns: int, shown_ns: int | None) -> None:
    state, _ = known()
    state.peers[A].standing.quarantined_until_ns = until_ns
    assert view_peer(state, state.peers[A], now=7000).quarantined_until_ns == shown_ns


def test_a_peer_is_active_if_a_lane_to_it_has_work() -> None:
    state, _ = known()
    seen = [view_peer(state, peer, now=0).source.state for peer in state.peers.values()]
    assert seen == [SourceState.ACTIVE, SourceState.IDLE]


@pytest.mark.parametrize(
    ("committing", "waiting", "is_committed"),
    [
        (blocks(), blocks(), True),
        (blocks((0, 1)), blocks(), False),
        (blocks(), blocks((0, 1)), False),
        (blocks((0, 1)), blocks((1, 2)), False),
    ],
)
def test_all_is_committed_when_no_block_waits_for_a_commit(
    committing: BlockSet, waiting: BlockSet, is_committed: bool
) -> None:
    state, recovery = known()
    recovery.commit.committing, recovery.commit.blocks = committing, waiting
    assert view_recovery(state, recovery, Options(), now=7000).is_committed is is_committed


def test_times_are_counted_from_the_request() -> None:
    state, recovery = known()
    recovery.tally.rate.bytes_per_s = 1.0 * MIB
    view = view_recovery(state, recovery, Options(), now=7000)
    assert (view.elapsed_ns, view.critical_ns, view.eta_ns) == (4000, None, 7 * SECOND)
    recovery.phasing.reached[CRITICAL] = 5000
    assert view_recovery(state, recovery, Options(), now=7000).critical_ns == 2000


def test_without_a_manifest_nothing_is_counted() -> None:
    state, recovery = known()
    recovery.tally.rate.bytes_per_s = 1.0 * MIB
    recovery.described = None
    view = view_recovery(state, recovery, Options(), now=7000)
    assert (view.verified_bytes, view.total_bytes, view.units_done, view.units_total) == (
        0,
        0,
        0,
        0,
    )
    assert view.eta_ns is None


def test_a_source_is_shown_with_when_it_is_asked_again_and_when_a_hedge_is_due() -> None:
    state, recovery = known()
    for lane, gap_ns in zip(state.lanes.values(), (SECOND, SECOND // 2), strict=True):
        lane.has_body = True
        lane.link.gap_ns = gap_ns
    state.peers[A].link.usable_at_ns, state.peers[B].link.usable_at_ns = 7500, 6500
    view = view_recovery(state, recovery, Options(), now=7000)
    assert [source.tuning.back_off_ns for source in view.sources] == [500, 0]
    assert [source.tuning.hedge_after_ns for source in view.sources] == [3 * SECOND, None]
    first, second = state.lanes.values()
    second.transfers.append(first.transfers[0])
    recovery.work.bundles[A].lanes.append(second)
    view = view_recovery(state, recovery, Options(), now=7000)
    assert view.sources[0].tuning.hedge_after_ns == 3 * SECOND // 2


@pytest.mark.parametrize(
    ("digest", "stage", "missing"),
    [
        (VERSION.digest, Stage.TRANSFERRING, blocks()),
        (VERSION.digest, Stage.PLACING, blocks((3, 8))),
        (None, Stage.SEEKING, blocks((3, 8))),
        (saved(1).digest, Stage.TRANSFERRING, blocks((3, 8))),
    ],
)
def test_what_nobody_has_is_missing_and_what_a_version_is_placed_without(
    digest: Digest | None, stage: Stage, missing: BlockSet
) -> None:
    state, recovery = known()
    recovery.digest, recovery.stage = digest, stage
    assert missing_blocks(state, recovery) == missing
