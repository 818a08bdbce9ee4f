"""What of a recovery's life gets into its story."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.core.events import (
    BlocksCommitted,
    DiscoverySettled,
    HoldingConfirmed,
    ManifestMissed,
    PeerLost,
    RangeProgressed,
    RecoveryPaused,
    RecoveryResumed,
    VersionPlaced,
)
from ckptd.core.explain import narration
from ckptd.core.options import Options
from ckptd.core.report.story import Entry, sentence
from ckptd.core.report.verdicts import Explanation
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer, Trial
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Epoch, LaneId, TransferId
from ckptd.model.words import (
    CloseReason,
    Confirmation,
    Criticality,
    LocalOrder,
    RangeOutcome,
    Stage,
    StoryKind,
    StoryReason,
    WasteReason,
)
from tests.support.scheduling import (
    FULL_DISK,
    LOST_STAGING,
    NO_COMMITS,
    R2,
    A,
    B,
    R,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    resumed,
    saved,
    wanted,
)

WIDE = adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB}, hedging={"share": 0.5})
"""Ranges of four blocks, and half of the version may be asked for twice."""


def explanation(script: Script) -> Explanation:
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    return known


def told(script: Script, kind: StoryKind) -> list[Entry]:
    return [entry for entry in explanation(script).entries if entry.kind is kind]


def the(script: Script, kind: StoryKind) -> Entry:
    [entry] = told(script, kind)
    return entry


def test_of_a_recovery_where_all_is_well_only_the_beginning_and_the_end_are_told() -> None:
    script, version = Script(options=NO_COMMITS), saved(64, critical=[4])
    script.start(version, A, B)
    while script.in_flight:
        script.deliver(script.in_flight[0], after_ms=10)
    script.tell(BlocksCommitted(R))  # what is critical
    script.tell(BlocksCommitted(R))
    assert set(explanation(script).counts) == {
        StoryKind.VERSION_CHOSEN,
        StoryKind.CRITICAL_COMPLETE,
    }
    [end] = script.tell(VersionPlaced(R))
    assert isinstance(end, EndRecovery)
    assert end.explanation is not None
    assert end.explanation.counts[StoryKind.CRITICAL_COMPLETE] == 1


def test_the_version_is_told_with_the_reason_and_what_was_passed_over() -> None:
    script, version, older = Script(), saved(2), saved(2, version=90)
    script.tell(holds(A, version, older), wanted(version), DiscoverySettled())
    chosen = the(script, StoryKind.VERSION_CHOSEN)
    assert (chosen.reason, chosen.numbers) == (StoryReason.NEWEST, {"version": 100})
    choice = explanation(script).choice
    assert choice is not None
    assert [(other.version, other.why) for other in choice.passed_over] == [(90, "older")]


def test_a_version_that_an_earlier_life_chose_is_told_as_such() -> None:
    script = Script()
    script.tell(resumed(saved(2)))
    assert the(script, StoryKind.VERSION_CHOSEN).reason is StoryReason.RESUMED
    assert explanation(script).choice is None


def late_critical() -> Script:
    """Let A deliver one block of a critical range and fall silent; B has delivered its own."""
    script, version = Script(options=WIDE), saved(critical=[8])
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    script.arrive(orders[A], orders[A].blocks.start + 1, after_ms=10)
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    return script


def test_a_hedge_is_told_with_the_silence_that_led_to_it_and_who_won() -> None:
    script = late_critical()
    [hedge] = ranges(script.wait(250))
    entry = the(script, StoryKind.HEDGE)
    assert (entry.source, entry.other, entry.reason) == (A, B, StoryReason.SILENT)
    assert entry.blocks == hedge.blocks
    assert entry.numbers["silent_ns"] >= entry.numbers["allowed_ns"] >= 200 * MS
    script.deliver(hedge, after_ms=1)
    settled = the(script, StoryKind.HEDGE_SETTLED)
    assert (settled.source, settled.other) == (A, B)


def test_what_the_loser_of_a_race_had_begun_is_wasted_by_the_hedge() -> None:
    script = late_critical()
    [late] = [order for order in script.in_flight if order.source == A]
    [hedge] = ranges(script.wait(250))
    script.tell(RangeProgressed(late.transfer, MIB + 700, late.blocks.start + 1))
    script.deliver(hedge)
    script.end(late, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.HEDGE: 700}


def test_a_lane_that_is_cut_off_is_told_with_its_silence_and_the_pause() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.tell(RangeProgressed(order.transfer, MIB + 5, order.blocks.start + 1))
    script.wait(600)
    entry = the(script, StoryKind.LANE_LATE)
    assert (entry.source, entry.reason, entry.blocks) == (A, StoryReason.SILENT, order.blocks)
    assert entry.numbers["silent_ns"] >= entry.numbers["allowed_ns"] == 500 * MS
    assert 125 * MS <= entry.numbers["pause_ns"] <= 250 * MS
    script.end(order, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.SILENT: 5}


def test_work_that_is_taken_over_is_told_with_both_times() -> None:
    script, version = Script(options=adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB})), saved(8)
    orders = {order.source: order for order in ranges(script.start(version, A, B))}
    slow = orders[A]
    for node, rate in ((A, MIB), (B, 10 * MIB)):
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    script.arrive(slow, slow.blocks.start + 1, after_ms=1)
    script.tell(RangeProgressed(slow.transfer, MIB + 9, slow.blocks.start + 1))
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    entry = the(script, StoryKind.STEAL)
    assert (entry.source, entry.other) == (A, B)
    assert entry.blocks == BlockRun(slow.blocks.start + 1, slow.blocks.end)
    assert entry.numbers["needs_ns"] >= 4 * entry.numbers["other_needs_ns"] > 0
    script.end(slow, RangeOutcome.CLOSED)
    assert script.view().wasted_bytes == {WasteReason.STOLEN: 9}


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (RangeOutcome.BUSY, StoryReason.BUSY),
        (RangeOutcome.DISCONNECTED, StoryReason.DISCONNECTED),
        (RangeOutcome.UNREACHABLE, StoryReason.UNREACHABLE),
        (RangeOutcome.MISBEHAVED, StoryReason.MISBEHAVED),
    ],
)
def test_a_back_off_is_told_with_its_reason_and_its_length(
    outcome: RangeOutcome, reason: StoryReason
) -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.end(order, outcome)
    entry = the(script, StoryKind.BACK_OFF)
    rest_ns = script.scheduler.inspect().peers[A].link.usable_at_ns - script.now
    assert (entry.source, entry.reason) == (A, reason)
    assert entry.numbers == {"pause_ns": rest_ns, "failures": 1}


def test_bad_blocks_and_the_quarantine_that_follows_are_told() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end(order)
    assert the(script, StoryKind.BAD_BLOCKS).numbers == {"blocks": 4, "size_bytes": 4 * MIB}
    assert told(script, StoryKind.QUARANTINE) == []
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    entry = the(script, StoryKind.QUARANTINE)
    assert (entry.source, entry.reason) == (A, StoryReason.WRONG_DIGEST)
    assert entry.numbers["pause_ns"] == script.options.trust.quarantine_ns
    assert told(script, StoryKind.BACK_OFF) == []


def test_a_source_that_gives_its_version_up_is_told_whichever_way_it_shows() -> None:
    for answer in (True, False):
        script, version = Script(), saved(64)
        [order] = ranges(script.start(version, A))
        if answer:
            script.arrive(order, rejected=(0,))
            script.tell(HoldingConfirmed(A, version.digest, Confirmation.NOT_HELD))
        else:
            script.end(order, RangeOutcome.NOT_HELD)
        assert the(script, StoryKind.WITHDRAWN).source == A


def test_a_source_that_does_not_say_whether_it_stands_by_a_block_is_left_alone() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0,))
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.NO_ANSWER))
    assert the(script, StoryKind.BACK_OFF).reason is StoryReason.NO_ANSWER


def test_a_source_that_is_born_again_or_lost_is_told_once() -> None:
    script, version = Script(), saved(64)
    script.start(version, A, B)
    script.tell(holds(A, version, epoch=2), PeerLost(B), PeerLost(B))
    assert the(script, StoryKind.EPOCH_CHANGED).source == A
    assert the(script, StoryKind.SOURCE_LOST).source == B


def test_a_peer_that_has_nothing_to_do_with_a_recovery_is_not_in_its_story() -> None:
    script, version = Script(), saved(64)
    script.start(version, A, holds(B))
    script.tell(PeerLost(B))
    assert told(script, StoryKind.SOURCE_LOST) == []


def test_a_manifest_that_was_not_delivered_is_told() -> None:
    script, version = Script(), saved(8)
    script.tell(holds(A, version), DiscoverySettled(), wanted(version))
    script.tell(ManifestMissed(R, A, is_lie=True))
    assert the(script, StoryKind.BACK_OFF).reason is StoryReason.WRONG_MANIFEST


def test_a_disk_that_stumbles_is_told_with_its_words() -> None:
    script, version = Script(), saved(8)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.STORE_FAILED, refusal=FULL_DISK)
    entry = the(script, StoryKind.DISK_REFUSED)
    assert (entry.reason, entry.source) == (StoryReason.RETRYABLE, None)
    assert sentence(entry) == "this node's disk: root /data: no room; tried again in 5.0s"
    assert the(script, StoryKind.STANDSTILL).reason is StoryReason.DISK


def test_a_standstill_is_told_when_it_begins_and_when_it_ends() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    before = len(told(script, StoryKind.STANDSTILL))
    script.tell(RecoveryPaused(R))
    assert len(told(script, StoryKind.STANDSTILL)) == before, "something is still under way"
    script.end_all(RangeOutcome.CLOSED)
    script.wait(3000)
    begun = told(script, StoryKind.STANDSTILL)[-1]
    assert (begun.reason, begun.text) == (StoryReason.PAUSED, "an operator to resume it")
    script.tell(RecoveryResumed(R))
    ended = told(script, StoryKind.STANDSTILL_ENDED)[-1]
    assert ended.numbers == {"stood_ns": ended.at_ns - begun.at_ns}
    script.wake()
    assert told(script, StoryKind.STANDSTILL_ENDED)[-1] is ended, "it goes on once"


def test_a_source_that_is_passed_over_is_told_with_both_times() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    for node in (A, B):
        script.tell(holds(node, version))
    for node, rate in ((A, MIB // 10), (B, 100 * MIB)):
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    script.start(version)
    entry = the(script, StoryKind.DETOUR)
    assert entry.source == A
    assert entry.numbers["needs_ns"] > 2 * entry.numbers["rest_ns"] > 0


# By records: each number of an entry

VERSION = saved(16)


@pytest.fixture
def step() -> Step:
    """Handle an event at 1000; a lane to A, silent since 700, owes blocks 3 to 6 and 8 to 10."""
    state = State(peers={node: Peer(node, Epoch(1)) for node in (A, B)})
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery = Recovery(
        wanted(VERSION), 1, 400, Stage.TRANSFERRING, digest=VERSION.digest, described=described
    )
    lane = Lane(LaneId(1), A, R, state.peers[A].link, heard_ns=700)
    lane.transfers.append(Transfer(TransferId(1), BlockRun(2, 6), 4 * MIB, 3))
    lane.transfers.append(Transfer(TransferId(2), BlockRun(8, 10), 2 * MIB, 8))
    lane.transfers[0].received_bytes = 1 * MIB
    recovery.work.bundles[A] = Bundle([lane], width=2)
    recovery.work.lanes[lane.id] = state.lanes[lane.id] = lane
    recovery.work.transfer_count = 2
    recovery.work.owed_bytes = lane.owed_bytes
    state.recoveries[R] = recovery
    for peer, rate in ((state.peers[A], 1.0 * MIB), (state.peers[B], 10.0 * MIB)):
        peer.link.rate.bytes_per_s = rate
    return Step(state, Options(), Random(1), now=1000)


def last(step: Step) -> Entry:
    return step.state.recoveries[R].story.entries[-1]


def entries(step: Step) -> list[Entry]:
    return list(step.state.recoveries[R].story.entries)


@pytest.mark.parametrize(
    ("closing", "is_hedge", "is_hedged", "otherwise", "reason"),
    [
        (None, False, False, WasteReason.DUPLICATE, WasteReason.DUPLICATE),
        (None, True, False, WasteReason.DUPLICATE, WasteReason.HEDGE),
        (None, False, True, WasteReason.DUPLICATE, WasteReason.HEDGE),
        (None, True, True, WasteReason.CANCELLED, WasteReason.CANCELLED),
        (CloseReason.NOT_WANTED, False, False, WasteReason.CANCELLED, WasteReason.CANCELLED),
        (CloseReason.STOLEN, False, False, WasteReason.CANCELLED, WasteReason.STOLEN),
        (CloseReason.SILENT, True, False, WasteReason.DUPLICATE, WasteReason.SILENT),
    ],
)
def test_bytes_are_wasted_by_what_cut_the_lane_off_or_by_a_race(
    step: Step,
    closing: CloseReason | None,
    is_hedge: bool,
    is_hedged: bool,
    otherwise: WasteReason,
    reason: WasteReason,
) -> None:
    lane = step.state.lanes[LaneId(1)]
    lane.closing = closing
    transfer = replace(lane.transfers[0], is_hedge=is_hedge, is_hedged=is_hedged)
    assert narration.why_wasted(lane, transfer, otherwise) is reason


def test_a_manifest_that_is_late_is_told_with_who_is_asked_as_well(step: Step) -> None:
    narration.report_manifest_late(step, step.state.recoveries[R], A, B)
    assert entries(step) == [Entry(1000, StoryKind.MANIFEST_LATE, StoryReason.SILENT, A, B)]


def test_what_is_told_of_a_lane_has_its_blocks_and_times(step: Step) -> None:
    lane = step.state.lanes[LaneId(1)]
    lane.link.usable_at_ns = 5000
    narration.report_hedge(
        step, lane, Transfer(TransferId(3), BlockRun(3, 5), 2 * MIB, 3), B, allowed_ns=200
    )
    narration.report_settled(step, replace(lane, source=B), lane)
    narration.report_late(step, lane, allowed_ns=250)
    lane.has_body = True
    narration.report_late(step, lane, allowed_ns=250)
    narration.report_steal(step, lane, step.state.peers[B], needs_ns=77)
    narration.report_preempted(step, lane)
    late = {"silent_ns": 300, "allowed_ns": 250, "pause_ns": 4000}
    owed = {"owed_bytes": 5 * MIB}
    hedged = {"silent_ns": 300, "allowed_ns": 200, "size_bytes": 2 * MIB}
    no_byte, run, rest = StoryReason.FIRST_BYTE_LATE, BlockRun(2, 6), BlockRun(3, 10)
    assert entries(step) == [
        Entry(1000, StoryKind.HEDGE, no_byte, A, B, BlockRun(3, 5), hedged),
        Entry(1000, StoryKind.HEDGE_SETTLED, StoryReason.OVERTAKEN, A, B, run, {}),
        Entry(1000, StoryKind.LANE_LATE, no_byte, A, None, run, late),
        Entry(1000, StoryKind.LANE_LATE, StoryReason.SILENT, A, None, run, late),
        Entry(
            1000,
            StoryKind.STEAL,
            StoryReason.SLOW,
            A,
            B,
            rest,
            {**owed, "needs_ns": 77, "other_needs_ns": SECOND // 2},
        ),
        Entry(
            1000,
            StoryKind.PREEMPTED,
            StoryReason.OUTRANKED,
            A,
            None,
            rest,
            {**owed, "needs_ns": 5 * SECOND},
        ),
    ]


@pytest.mark.parametrize(
    ("is_fewer", "reason", "before", "kept"),
    [
        (False, StoryReason.FASTER, 1, 2),
        (False, StoryReason.NO_FASTER, 1, 1),
        (True, StoryReason.FASTER, 3, 3),
        (True, StoryReason.NO_FASTER, 3, 2),
    ],
)
def test_of_a_trial_it_is_told_how_many_lanes_are_kept(
    step: Step, is_fewer: bool, reason: StoryReason, before: int, kept: int
) -> None:
    trial = Trial(R, A, step.state.recoveries[R].work.bundles[A], is_fewer, 1, link_rate=7.9)
    narration.report_trial(step, trial, reason, 9.9)
    numbers = {
        "lanes": kept,
        "before_lanes": before,
        "before_bytes_per_s": 7,
        "after_lanes": 2,
        "after_bytes_per_s": 9,
    }
    assert entries(step) == [Entry(1000, StoryKind.LANES_TRIED, reason, A, numbers=numbers)]


def test_a_source_that_is_not_asked_is_told_with_the_reason(step: Step) -> None:
    recovery, peer = step.state.recoveries[R], step.state.peers[A]
    recovery.coverage.unclaimed = blocks((10, 16))
    recovery.swarm.total_rate = 1.0 * MIB
    run = BlockRun(10, 12)
    offer = Offer((False, Criticality.NORMAL, 0, 0, A, 0), recovery, peer, run, Criticality.NORMAL)
    narration.report_outranked(step, offer)
    narration.report_detour(step, offer, run)
    numbers = {"needs_ns": 2 * SECOND, "rest_ns": (6 + 5) * SECOND}
    assert entries(step) == [
        Entry(1000, StoryKind.OUTRANKED, StoryReason.OUTRANKED, A),
        Entry(1000, StoryKind.DETOUR, StoryReason.SLOW, A, None, run, numbers),
    ]


def test_a_rest_is_told_with_what_is_left_of_it(step: Step) -> None:
    recovery, peer = step.state.recoveries[R], step.state.peers[A]
    link, standing = peer.link, peer.standing
    link.usable_at_ns, link.refusals = 4000, 3
    narration.report_pause(step, recovery, A, StoryReason.BUSY)
    link.failures, standing.began_quarantine_ns, standing.quarantined_until_ns = 2, 1000, 9000
    narration.report_pause(step, recovery, A, StoryReason.BUSY)
    assert entries(step) == [
        Entry(
            1000,
            StoryKind.BACK_OFF,
            StoryReason.BUSY,
            A,
            numbers={"pause_ns": 3000, "failures": 3},
        ),
        Entry(
            1000,
            StoryKind.QUARANTINE,
            StoryReason.BUSY,
            A,
            numbers={"pause_ns": 8000, "failures": 2},
        ),
    ]


@pytest.mark.parametrize(
    ("losses", "is_lost", "is_retryable", "reason"),
    [
        (2, True, False, StoryReason.STAGING_LOST),
        (3, True, False, StoryReason.FATAL),
        (3, True, True, StoryReason.RETRYABLE),
        (0, False, False, StoryReason.FATAL),
    ],
)
def test_what_is_lost_may_be_fetched_again_three_times(
    step: Step, losses: int, is_lost: bool, is_retryable: bool, reason: StoryReason
) -> None:
    recovery = step.state.recoveries[R]
    recovery.local.staging_losses = losses
    refusal = replace(LOST_STAGING, is_staging_lost=is_lost, is_retryable=is_retryable)
    narration.report_refusal(step, recovery, refusal)
    numbers = {"pause_ns": 5 * SECOND} if is_retryable else {}
    assert entries(step) == [
        Entry(1000, StoryKind.DISK_REFUSED, reason, numbers=numbers, text=LOST_STAGING.message)
    ]


def test_the_last_critical_block_is_told_with_the_time_since_the_request(step: Step) -> None:
    narration.report_critical(step, step.state.recoveries[R])
    assert last(step).numbers == {"elapsed_ns": 600}


@pytest.mark.parametrize(
    ("stage", "order", "has_unclaimed", "is_still"),
    [
        (Stage.SEEKING, None, False, True),
        (Stage.DESCRIBING, None, False, True),
        (Stage.DESCRIBING, LocalOrder.MANIFEST, False, False),
        (Stage.TRANSFERRING, None, True, True),
        (Stage.TRANSFERRING, None, False, False),
        (Stage.PREPARING, LocalOrder.STAGING, True, False),
        (Stage.PLACING, None, True, False),
    ],
)
def test_only_who_needs_something_of_others_stands_still(
    step: Step, stage: Stage, order: LocalOrder | None, has_unclaimed: bool, is_still: bool
) -> None:
    recovery = step.state.recoveries[R]
    recovery.stage, recovery.local.pending_order = stage, order
    recovery.local.trouble = "the disk is full"  # waits in whatever stage
    recovery.coverage.unclaimed = blocks((0, 1)) if has_unclaimed else blocks()
    recovery.work.transfer_count = 0
    narration.report_standstills(step)
    assert [entry.kind for entry in entries(step)] == [StoryKind.STANDSTILL] * is_still
    step.now = 3000
    narration.report_standstills(step)
    assert len(entries(step)) == is_still, "it is told once"
    assert recovery.tally.still_since_ns == (1000 if is_still else None)
    recovery.work.transfer_count = 1
    narration.report_standstills(step)
    assert recovery.tally.still_since_ns is None
    if is_still:
        assert last(step) == Entry(
            3000, StoryKind.STANDSTILL_ENDED, StoryReason.MOVING, numbers={"stood_ns": 2000}
        )


def test_it_concerns_a_recovery_what_becomes_of_a_holder_or_of_who_has_a_lane(step: Step) -> None:
    for node, has_version, is_concerned in ((A, False, True), (B, False, False), (B, True, True)):
        peer = step.state.peers[node]
        if has_version:
            peer.holdings[VERSION.digest] = holding(VERSION)
        before = len(entries(step))
        narration.report_lost(step, peer)
        narration.report_reborn(step, peer)
        kinds = [entry.kind for entry in entries(step)[before:]]
        told_of = [StoryKind.SOURCE_LOST, StoryKind.EPOCH_CHANGED]
        assert kinds == (told_of if is_concerned else [])


@pytest.mark.parametrize(
    ("reason", "began_ns", "kinds"),
    [
        (StoryReason.STALE, -1, [StoryKind.WITHDRAWN]),
        (StoryReason.NO_ANSWER, -1, [StoryKind.BACK_OFF]),
        (StoryReason.WRONG_DIGEST, -1, []),
        (StoryReason.WRONG_DIGEST, 999, []),
        (StoryReason.WRONG_DIGEST, 1000, [StoryKind.QUARANTINE]),
    ],
)
def test_what_came_of_asking_is_told_to_recoveries_of_the_version(
    step: Step, reason: StoryReason, began_ns: int, kinds: list[StoryKind]
) -> None:
    other = Recovery(wanted(VERSION, R2), 2, 0, digest=saved(3).digest)
    step.state.recoveries[R2] = other
    step.state.peers[A].standing.began_quarantine_ns = began_ns
    narration.report_judged(step, step.state.peers[A], VERSION.digest, reason)
    assert [entry.kind for entry in entries(step)] == kinds
    assert not other.story.entries
