"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.events import HoldingConfirmed, PeerLost
from ckptd.core.peers import claims
from ckptd.model.ids import LaneId, NodeId
from ckptd.model.words import CloseReason, Confirmation, RangeOutcome, SourceState
from tests.support.scheduling import (
    NO_COMMITS,
    A,
    B,
    C,
    Script,
    blocks,
    holding,
    holds,
    ranges,
    saved,
    whom,
)

_, HELD, NOT_HELD, NO_ANSWER = Confirmation


def test_what_a_peer_says_replaces_what_it_said_before() -> None:
    script, old, new = Script(), saved(2, version=90), saved(2, version=100)
    script.tell(holds(A, old))
    script.tell(holds(A, new))
    assert list(script.scheduler.inspect().peers[A].holdings) == [new.digest]


def test_blocks_that_a_peer_gained_are_asked_for_as_soon_as_it_says_so() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, holds(A, holding(version, blocks((0, 1))))))
    script.deliver(order)
    assert whom(script.tell(holds(A, holding(version, blocks((0, 1), (30, 40)))))) == [
        (A, (38, 40))
    ], "at its own place, since others recover it too"


def test_a_lost_peer_gets_no_more_work_and_what_it_still_sends_counts() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.tell(PeerLost(A))
    assert script.deliver(order) == []
    assert script.recovery().coverage.verified == blocks((0, 4))
    assert script.view_source(A).state is SourceState.LOST


def test_a_peer_that_returns_is_used_at_once_though_it_failed_before() -> None:
    script, version = Script(), saved(64)
    script.start(version, A)
    for _ in range(6):
        script.end_all(RangeOutcome.UNREACHABLE)
        script.wake_at_deadline()
    script.end_all(RangeOutcome.UNREACHABLE)
    script.tell(PeerLost(A))
    assert whom(script.tell(holds(A, version))) == [(A, (0, 4))]


def test_a_peer_that_was_never_known_can_be_lost() -> None:
    script = Script()
    assert script.tell(PeerLost(A)) == []
    assert script.scheduler.sources(now=script.now) == ()


# Blame


def test_a_quarantined_peer_does_not_get_out_by_going_away_for_a_moment() -> None:
    script, version = Script(options=NO_COMMITS), saved(128)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=tuple(range(*order.blocks)))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD), PeerLost(A))
    assert script.tell(holds(A, version)) == []
    assert ranges(script.wait(59_999)) == []
    assert ranges(script.wait(1)) != []


# Epochs


def test_a_reborn_peer_is_another_peer() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 1, 2, 3))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED
    [order] = ranges(script.tell(holds(A, version, epoch=2)))
    assert order.blocks.start == 0, "the bad blocks of the old one are not held against it"
    assert script.view_source(A).trust == 0
    assert script.view_source(A).rate_bytes_per_s == 0


def test_lanes_to_an_old_epoch_are_closed() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, 1)
    assert script.tell(holds(A, version, epoch=2)) == [CloseLane(LaneId(1), A, CloseReason.FAILED)]
    [again] = ranges(script.end_all(RangeOutcome.CLOSED))
    assert (again.lane, again.blocks.start) == (LaneId(2), 1)
    assert script.view_source(A).state is SourceState.ACTIVE


def test_an_idle_lane_to_an_old_epoch_does_not_keep_a_reborn_peer_from_work() -> None:
    script, version = Script(), saved(64)
    [order] = ranges(script.start(version, holds(A, holding(version, blocks((0, 1))))))
    script.deliver(order)
    close, again = script.tell(holds(A, version, epoch=2))
    assert close == CloseLane(LaneId(1), A, CloseReason.FAILED)
    assert whom([again]) == [(A, (1, 5))]


# How many are remembered


def test_peers_that_are_gone_make_room_when_there_are_too_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "PEERS_MAX", 3)
    script, version = Script(), saved(64)
    script.start(version, A, B)
    script.tell(PeerLost(A), holds(C), PeerLost(C))
    assert [source.node for source in script.scheduler.sources(now=0)] == [A, B, C]
    script.tell(holds(NodeId("d")), PeerLost(B))
    # C made room. Ranges are in flight from A and B.
    assert [source.node for source in script.scheduler.sources(now=0)] == [A, B, "d"]
