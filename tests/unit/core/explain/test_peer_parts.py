"""Which part each known peer has in a recovery."""

from __future__ import annotations

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.core.events import BlocksCommitted, HoldingConfirmed, PeerLost, VersionPlaced
from ckptd.core.explain.peer_parts import explain
from ckptd.core.options import Options
from ckptd.core.report.story import Entry
from ckptd.core.report.verdicts import PeerVerdict
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.recovery import Recovery
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, NodeId, TransferId
from ckptd.model.words import (
    Confirmation,
    RangeOutcome,
    Stage,
    StoryKind,
    StoryReason,
    Verdict,
)
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    B,
    C,
    R,
    Script,
    adjusted,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    wanted,
)


def part(script: Script, node: NodeId) -> PeerVerdict:
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    [verdict] = [verdict for verdict in known.peers if verdict.node == node]
    return verdict


def test_a_peer_that_holds_what_is_not_chosen_says_what_it_holds() -> None:
    script, version = Script(), saved(8, version=100)
    script.tell(holds(A, version), holds(B, saved(8, checkpoint="another")))
    script.tell(wanted(saved(8, version=90)))  # the newest, once all peers were asked
    known = part(script, A)
    assert known.verdict is Verdict.NOT_CHOSEN
    assert known.sentence == f"holds version 100 ({version.digest[:12]}); nothing is chosen"
    assert part(script, B).verdict is Verdict.NOT_HELD


def test_a_source_that_delivers_is_used_and_says_how_much() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.deliver(order, after_ms=100)
    known = part(script, A)
    assert (known.verdict, known.verified_bytes) == (Verdict.USED, 4 * MIB)
    assert known.sentence.startswith("gave 4 MiB, delivers 40 MiB/s, asked for 0.")


def test_peers_that_cannot_serve_say_why() -> None:
    script, version = Script(), saved(64)
    script.start(version, A, B, holds(C))
    script.tell(PeerLost(B))
    assert part(script, B).verdict is Verdict.LOST
    assert part(script, C).verdict is Verdict.NOT_HELD


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (RangeOutcome.BUSY, Verdict.BUSY),
        (RangeOutcome.DISCONNECTED, Verdict.RESTING),
        (RangeOutcome.NOT_HELD, Verdict.STALE),
    ],
)
def test_a_source_that_disappointed_says_how(outcome: RangeOutcome, verdict: Verdict) -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    script.end(order, outcome, retry_after_ms=7000)
    known = part(script, A)
    assert known.verdict is verdict
    assert known.sentence.startswith("gave 1 MiB; ")


def test_a_source_that_rests_says_for_how_long_and_after_what() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.end(order, RangeOutcome.BUSY, retry_after_ms=7000)
    rest_s = script.scheduler.inspect().peers[A].link.usable_at_ns / SECOND
    script.wait(2000)
    assert part(script, A).sentence == (
        f"not asked for another {rest_s - 2:.1f}s after this: "
        f"a said it is busy: not asked for {rest_s:.1f}s"
    )


def test_a_source_that_sent_bad_blocks_is_questioned_then_quarantined_then_asked() -> None:
    script, version = Script(), saved(2)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 1))
    script.end(order)
    assert part(script, A).verdict is Verdict.QUESTIONED
    script.scheduler.inspect().peers[A].standing.trust = -5
    script.tell(HoldingConfirmed(A, version.digest, Confirmation.HELD))
    assert part(script, A).verdict is Verdict.QUARANTINED
    script.wait(60_000)
    assert part(script, A).verdict is Verdict.USED, "nobody else has them"


def test_a_source_that_holds_nothing_of_the_rest_says_so() -> None:
    script, version = Script(), saved(64)
    script.start(version, holds(A, holding(version, blocks((0, 4)))), B)
    while of_a := [order for order in script.in_flight if order.source == A]:
        script.deliver(of_a[0], after_ms=1)
    assert part(script, A).verdict is Verdict.NOTHING_MISSING


def test_a_source_that_would_hold_up_the_end_is_a_detour() -> None:
    script, version = Script(options=NO_COMMITS), saved(16)
    for node, rate in ((A, MIB // 10), (B, 100 * MIB)):
        script.tell(holds(node, version))
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    script.start(version)
    assert (part(script, A).verdict, part(script, A).rate_bytes_per_s) == (
        Verdict.DETOUR,
        MIB // 10,
    )


def test_a_source_whose_work_was_taken_over_is_slow() -> None:
    script, version = Script(options=adjusted(NO_COMMITS, ranges={"bytes_min": 4 * MIB})), saved(8)
    script.start(version, A, B)
    for node, rate in ((A, MIB), (B, 10 * MIB)):
        script.scheduler.inspect().peers[node].link.rate.bytes_per_s = rate
    while others := [order for order in script.in_flight if order.source == B]:
        script.deliver(others[0], after_ms=1)
    assert part(script, A).verdict is Verdict.SLOW


def test_a_source_with_a_full_window_has_no_room() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    script.tell(holds(B, version))
    script.end_all(RangeOutcome.CLOSED)
    script.recovery().work.bundles.clear()
    link = script.scheduler.inspect().peers[B].link
    link.rate.bytes_per_s, link.outstanding_bytes = MIB, 3 * MIB
    known = part(script, B)
    assert known.sentence == "has 3.0s of work, allowed 2.0s"
    assert known.verdict is Verdict.NO_ROOM


def test_who_was_not_needed_is_said_at_the_end() -> None:
    script, version = Script(), saved(1)
    [order] = ranges(script.start(version, A, B))
    script.deliver(order, after_ms=100)
    script.tell(BlocksCommitted(R))
    [end] = script.tell(VersionPlaced(R))
    assert isinstance(end, EndRecovery)
    assert end.explanation is not None
    assert {peer.node: peer.verdict for peer in end.explanation.peers} == {
        A: Verdict.USED,
        B: Verdict.NOT_NEEDED,
    }
    assert end.explanation.taken_ns - end.explanation.started_ns == SECOND // 10


# By records

VERSION = saved(8)


def known() -> tuple[State, Recovery, Peer]:
    """Make a recovery of which nothing is asked for, and a peer that has all of it."""
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery = Recovery(
        wanted(VERSION), 1, 0, Stage.TRANSFERRING, digest=VERSION.digest, described=described
    )
    recovery.coverage.unclaimed = blocks((0, 8))
    peer = Peer(A, Epoch(1), holdings={VERSION.digest: holding(VERSION)})
    return State(peers={A: peer}, recoveries={R: recovery}), recovery, peer


def verdict_of(state: State, *, now: int = 0) -> PeerVerdict:
    [verdict] = explain(state, state.recoveries[R], Options(), now=now).peers
    return verdict


def happened(recovery: Recovery, kind: StoryKind, reason: StoryReason = StoryReason.SLOW) -> None:
    numbers = {"needs_ns": 1, "rest_ns": 1, "other_needs_ns": 1, "pause_ns": 1}
    recovery.story.latest[A] = Entry(0, kind, reason, A, B, numbers=numbers)


def put_to_work(recovery: Recovery, peer: Peer, lane_count: int) -> None:
    lanes = [Lane(LaneId(number), A, R, peer.link, heard_ns=0) for number in range(lane_count)]
    for lane in lanes:
        lane.transfers.append(Transfer(TransferId(int(lane.id)), BlockRun(0, 1), MIB, 0))
    recovery.work.bundles[A] = Bundle(lanes)


def test_a_quarantine_is_told_with_what_is_left_of_it() -> None:
    state, _, peer = known()
    peer.standing.quarantined_until_ns = 5 * SECOND
    said = "sent bad blocks; in quarantine for another 3.0s"
    assert verdict_of(state, now=2 * SECOND) == PeerVerdict(A, A, Verdict.QUARANTINED, said, 0, 0)
    assert verdict_of(state, now=5 * SECOND).verdict is Verdict.NOT_NEEDED


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (None, Verdict.NOT_HELD),
        (StoryKind.BACK_OFF, Verdict.NOT_HELD),
        (StoryKind.WITHDRAWN, Verdict.STALE),
    ],
)
def test_who_gave_the_version_up_is_told_from_who_never_had_it(
    kind: StoryKind | None, verdict: Verdict
) -> None:
    state, recovery, peer = known()
    peer.holdings.clear()
    if kind is not None:
        happened(recovery, kind)
    assert verdict_of(state).verdict is verdict
    recovery.digest = None
    assert verdict_of(state).verdict is verdict


def test_a_peer_may_rest_for_what_it_did_to_another_recovery() -> None:
    state, _, peer = known()
    peer.link.usable_at_ns = 5 * SECOND
    said = "not asked for another 2.0s"
    assert verdict_of(state, now=3 * SECOND) == PeerVerdict(A, A, Verdict.RESTING, said, 0, 0)


@pytest.mark.parametrize(
    ("kind", "has_unclaimed", "verdict"),
    [
        (StoryKind.OUTRANKED, True, Verdict.OUTRANKED),
        (StoryKind.OUTRANKED, False, Verdict.NOT_NEEDED),
        (StoryKind.DETOUR, False, Verdict.DETOUR),
        (StoryKind.STEAL, False, Verdict.SLOW),
        (StoryKind.BACK_OFF, True, Verdict.NOT_NEEDED),
    ],
)
def test_what_happened_last_says_why_a_peer_has_no_work(
    kind: StoryKind, has_unclaimed: bool, verdict: Verdict
) -> None:
    state, recovery, peer = known()
    if not has_unclaimed:
        recovery.coverage.unclaimed = BlockSet()
    happened(recovery, kind)
    assert verdict_of(state).verdict is verdict
    recovery.described = None
    assert verdict_of(state).verdict is Verdict.NOT_NEEDED
    _, recovery.described = None, known()[1].described
    put_to_work(recovery, peer, 1)
    assert verdict_of(state).verdict is Verdict.USED


@pytest.mark.parametrize(
    ("queue_bytes", "has_unclaimed", "verdict"),
    [
        (2 * MIB - 1, True, Verdict.NOT_NEEDED),
        (2 * MIB, True, Verdict.NO_ROOM),
        (2 * MIB, False, Verdict.NOT_NEEDED),
    ],
)
def test_there_is_no_room_from_two_seconds_of_work_on(
    queue_bytes: int, has_unclaimed: bool, verdict: Verdict
) -> None:
    state, recovery, peer = known()
    if not has_unclaimed:
        recovery.coverage.unclaimed = BlockSet()
    peer.link.rate.bytes_per_s, peer.link.outstanding_bytes = MIB, queue_bytes
    assert verdict_of(state).verdict is verdict


@pytest.mark.parametrize(("lane_count", "over"), [(1, ""), (2, " over 2 lanes")])
def test_several_lanes_are_told(lane_count: int, over: str) -> None:
    state, recovery, peer = known()
    peer.link.rate.bytes_per_s = MIB
    put_to_work(recovery, peer, lane_count)
    assert verdict_of(state).sentence == (
        f"delivers 1 MiB/s{over}, asked for 0.0s of work; its next 1 MiB in 1.0s"
    )
