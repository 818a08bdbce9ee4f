"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.events import HoldingConfirmed, PeerLost
from ckptd.core.options import Options
from ckptd.core.peers import claims
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.knowledge import State
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.described import Described
from ckptd.core.state.record.spread import Spread
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Epoch, LaneId, NodeId, Origin
from ckptd.model.words import (
    CloseReason,
    Confirmation,
    RangeOutcome,
    SourceState,
    Stage,
    StoryKind,
)
from tests.support.scheduling import (
    LLAMA,
    NO_COMMITS,
    OF_A,
    A,
    B,
    C,
    R,
    Script,
    blocks,
    further_path,
    holding,
    holds,
    ranges,
    saved,
    wanted,
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


def test_a_reborn_peer_is_another_peer_of_the_same_standing() -> None:
    script, version = Script(options=NO_COMMITS), saved(64)
    [order] = ranges(script.start(version, A))
    script.arrive(order, rejected=(0, 1, 2, 3))
    script.end_all(RangeOutcome.DELIVERED)
    script.tell(HoldingConfirmed(A, version.digest, HELD))
    assert script.view_source(A).state is SourceState.DISTRUSTED
    assert ranges(script.tell(holds(A, version, epoch=2))) == []
    assert script.view_source(A).state is SourceState.DISTRUSTED
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


# By records

VERSION = saved(8)
STALE = blocks((7, 8))
"""What was noted of holders before: it goes just when they are counted again."""


def knowing(*peers: Peer) -> tuple[Step, Recovery]:
    """Handle an event at 100 that concerns one recovery."""
    state = State(peers={peer.node: peer for peer in peers})
    for peer in peers:
        peer.standing.epoch = peer.epoch
        state.standings[peer.origin] = peer.standing
    described = Described.of(VERSION.version, VERSION.digest, VERSION.space)
    recovery = Recovery(
        wanted(VERSION), 1, 0, Stage.TRANSFERRING, digest=VERSION.digest, described=described
    )
    recovery.coverage.unclaimed = VERSION.blocks
    recovery.swarm.spread = Spread([STALE])
    state.recoveries[R] = recovery
    return Step(state, Options(), Random(1), now=100), recovery


def having(node: NodeId, held: BlockSet | None) -> Peer:
    return Peer(node, Epoch(1), holdings={VERSION.digest: holding(VERSION, held)})


NOTHING, PART, MORE = blocks(), blocks((0, 4)), blocks((0, 6))
ALL = VERSION.blocks


@pytest.mark.parametrize(
    ("before", "now", "spread", "has_grown", "source_count"),
    [
        (NOTHING, PART, PART | STALE, False, 1),
        (NOTHING, ALL, STALE, False, 1),
        (PART, MORE, blocks((4, 6)) | STALE, True, 0),
        (PART, PART, STALE, False, 0),
        (PART, ALL, STALE, False, 1),
        (PART, NOTHING, NOTHING, False, 0),
        (ALL, NOTHING, NOTHING, False, 0),
        (ALL, PART, PART, False, 1),
        (ALL, ALL, STALE, False, 0),
    ],
)
def test_what_a_peer_has_now_is_told_apart_from_what_it_had(
    before: BlockSet, now: BlockSet, spread: BlockSet, has_grown: bool, source_count: int
) -> None:
    peer = having(A, before)
    if not before:
        peer.holdings.clear()
    step, recovery = knowing(peer)
    said = [holding(VERSION, now)] if now else []
    claims.on_holdings_arrived(step, holds(A, *said))
    swarm = recovery.swarm
    assert swarm.spread.had_by[:2] == [spread, NOTHING]
    assert swarm.spread_grew_ns == (100 if has_grown else None)
    assert swarm.source_count == source_count, "0: not counted again"
    assert swarm.is_swarming is (now in (PART, MORE))
    assert list(step.room) == [A]


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize(
    ("more", "committed", "has_met"),
    [
        ((0, 6), NOTHING, True),  # what is under way here, or was just verified
        ((0, 6), blocks((4, 5)), True),
        ((0, 6), blocks((4, 6)), False),  # it can have them from here
        ((0, 4), NOTHING, False),
        ((6, 8), NOTHING, False),
    ],
)
def test_a_receiver_that_goes_on_side_by_side_with_another_one_moves(
    more: tuple[int, int], committed: BlockSet, has_met: bool, is_known: bool
) -> None:
    step, recovery = knowing(having(A, NOTHING) if is_known else having(B, ALL))
    recovery.swarm.own_run, recovery.swarm.own_place = BlockRun(4, 6), 0.25
    recovery.coverage.committed = committed
    claims.on_holdings_arrived(step, holds(A, holding(VERSION, blocks(more))))
    assert (recovery.swarm.own_run is None) is has_met
    assert (recovery.swarm.own_place != 0.25) is has_met


@pytest.mark.parametrize("has_epoch_changed", [False, True])
def test_a_holder_that_goes_leaves_second_chances_to_others(has_epoch_changed: bool) -> None:
    step, recovery = knowing(having(A, None), having(B, None))
    recovery.refused[OF_A] = blocks((0, 1))
    claims.on_holdings_arrived(step, holds(B, epoch=2 if has_epoch_changed else 1))
    assert not recovery.refused


def test_a_holder_that_is_lost_leaves_second_chances_to_others_once() -> None:
    step, recovery = knowing(having(A, None), having(B, None))
    recovery.refused[OF_A] = blocks((0, 1))
    for _ in range(2):
        claims.on_peer_lost(step, PeerLost(B))
        assert len(recovery.story.entries) == 1
    assert not recovery.refused
    assert step.is_room_everywhere
    assert [entry.kind for entry in recovery.story.entries] == [StoryKind.SOURCE_LOST]
    assert recovery.swarm.source_count == 1


def test_the_loss_of_any_holder_makes_room_for_others() -> None:
    step, _ = knowing(having(A, None), having(B, None))
    claims.on_peer_lost(step, PeerLost(B))
    assert step.is_room_everywhere


def test_a_holder_that_is_reborn_is_counted_again_and_nothing_is_forgotten() -> None:
    old = having(A, PART)
    old.standing.evidence.note(BadBlock(0, LLAMA, VERSION.version, VERSION.digest, "unit", 0, R))
    step, recovery = knowing(old, having(B, None))
    recovery.refused[OF_A] = blocks((0, 1))
    claims.on_holdings_arrived(step, holds(A, VERSION, epoch=2))
    assert recovery.refused == {OF_A: blocks((0, 1))}
    assert step.state.peers[A].standing is old.standing
    assert recovery.swarm.spread.had_by[0] == NOTHING
    assert [entry.kind for entry in recovery.story.entries] == [StoryKind.EPOCH_CHANGED]
    assert [bad.answer for bad in step.state.peers[A].standing.evidence.last] == [NO_ANSWER]


def test_what_a_node_brings_on_a_second_path_has_spread_already() -> None:
    step, recovery = knowing(having(B, None))
    claims.on_holdings_arrived(step, holds(A, holding(VERSION, PART)))
    claims.on_holdings_arrived(step, holds(A, holding(VERSION, MORE), via="x"))
    claims.on_holdings_arrived(step, holds(A, holding(VERSION, MORE)))
    assert recovery.swarm.spread.had_by[:2] == [MORE | STALE, NOTHING]
    assert recovery.swarm.source_count == 3, "each path is a source"
    claims.on_peer_lost(step, PeerLost(A))
    assert recovery.swarm.spread.had_by[:2] == [MORE, NOTHING]
    assert recovery.swarm.source_count == 2


def test_lanes_on_one_path_stay_when_the_other_is_lost() -> None:
    script, version = Script(), saved(64)
    via = further_path(A, "x")
    script.tell(holds(A, version, via="x"))
    orders = ranges(script.start(version, A))
    assert {order.source for order in orders} == {A, via}
    script.tell(PeerLost(A))
    lanes = {lane.source: lane.is_closing for lane in script.scheduler.inspect().lanes.values()}
    assert lanes[via] is False
    assert script.scheduler.paths_to(A) == (via, A)
    assert script.scheduler.paths_to(B) == ()


def test_how_a_source_stands_goes_by_its_origin_and_not_by_its_path_or_its_id() -> None:
    step, _ = knowing(having(A, None))
    blamed = step.state.peers[A].standing
    said = holds(C, VERSION, epoch=7)
    claims.on_holdings_arrived(step, replace(said, origin=OF_A))
    claims.on_holdings_arrived(step, replace(said, node=A, path=A, origin=Origin("other:1")))
    assert step.state.peers[C].standing is blamed
    assert step.state.peers[A].standing is step.state.standings[Origin("other:1")]
    assert step.state.peers[A].standing is not blamed


def test_who_copies_a_node_id_and_its_epoch_is_blamed_alone() -> None:
    script, version = Script(options=NO_COMMITS), saved(64, critical=[64])
    copied = replace(holds(A, version, via="y"), origin=Origin("y"))
    orders = {
        order.source: order for order in ranges(script.start(version, holds(A, version), copied))
    }
    false = orders[copied.path]
    script.arrive(false, rejected=tuple(range(*false.blocks)))
    script.tell(HoldingConfirmed(copied.path, version.digest, HELD))
    honest, liar = (script.scheduler.peer(path, now=script.now) for path in (A, copied.path))
    assert honest is not None
    assert liar is not None
    assert liar.source.state is SourceState.DISTRUSTED
    assert (honest.bad_block_count, honest.quarantined_until_ns) == (0, None)
    assert [rival.nodes for rival in script.scheduler.contents(LLAMA, None, now=script.now)] == [
        (A,)
    ]
