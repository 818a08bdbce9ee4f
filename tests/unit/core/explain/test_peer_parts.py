"""Which part each known peer has in a recovery."""

from __future__ import annotations

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.core.events import BlocksCommitted, HoldingConfirmed, PeerLost, VersionPlaced
from ckptd.core.report.verdicts import PeerVerdict
from ckptd.limits import MIB, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Confirmation, RangeOutcome, Verdict
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
)


def part(script: Script, node: NodeId) -> PeerVerdict:
    known = script.scheduler.explain(R, now=script.now)
    assert known is not None
    [verdict] = [verdict for verdict in known.peers if verdict.node == node]
    return verdict


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
    script.scheduler.inspect().peers[A].link.trust = -5
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
