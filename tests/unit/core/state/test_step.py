"""Closing lanes and forgetting them, and whom to look at after an event."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.events import PeerLost, RecoveryPaused
from ckptd.core.options import Options
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import NodeHandler, RecoveryHandler, Step
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Epoch, LaneId, TransferId
from ckptd.model.words import CloseReason
from tests.support.scheduling import R2, A, B, R, further_path, saved, wanted


@pytest.fixture
def step() -> Step:
    """An event is handled; there is a recovery with two idle lanes to one source."""
    state = State(peers={A: Peer(A, Epoch(1))})
    recovery = Recovery(wanted(saved(8)), 1, 0)
    state.recoveries[R] = recovery
    lanes = [Lane(LaneId(each), A, R, state.peers[A].link, heard_ns=0) for each in (1, 2)]
    recovery.work.bundles[A] = Bundle(list(lanes))
    for lane in lanes:
        recovery.work.lanes[lane.id] = state.lanes[lane.id] = lane
        state.lane_alarms.set(lane.id, 500)
    return Step(state, Options(), Random(1), now=100)


def test_an_idle_lane_is_forgotten_as_soon_as_it_is_closed(step: Step) -> None:
    recovery = step.state.recoveries[R]
    first, second = recovery.work.bundles[A].lanes
    step.close_lane(first, CloseReason.IDLE)
    assert step.effects == [CloseLane(first.id, A, CloseReason.IDLE)]
    assert step.state.lanes == recovery.work.lanes == {second.id: second}
    assert recovery.work.bundles[A].lanes == [second]
    assert first.id not in step.state.lane_alarms
    assert second.id in step.state.lane_alarms
    step.close_lane(second, CloseReason.FAILED)
    assert not recovery.work.bundles
    assert not recovery.work.lanes
    assert not step.state.lanes


def test_a_lane_with_transfers_is_closed_once_and_forgotten_when_they_ended(
    step: Step,
) -> None:
    recovery = step.state.recoveries[R]
    lane = recovery.work.lanes[LaneId(1)]
    lane.transfers.append(Transfer(TransferId(1), BlockRun(0, 1), 1, 0))
    step.close_lane(lane, CloseReason.SILENT)
    step.close_lane(lane, CloseReason.IDLE)
    assert step.effects == [CloseLane(lane.id, A, CloseReason.SILENT)]
    assert (lane.is_closing, lane.closing) == (True, CloseReason.SILENT)
    assert lane.id in step.state.lanes
    assert lane.id not in step.state.lane_alarms
    lane.transfers.clear()
    step.forget_if_done(lane)
    step.forget_if_done(lane)
    assert lane.id not in step.state.lanes


def test_a_lane_that_is_idle_but_not_closing_stays(step: Step) -> None:
    step.forget_if_done(step.state.lanes[LaneId(1)])
    assert LaneId(1) in step.state.lanes
    assert LaneId(1) in step.state.lane_alarms


def test_a_peer_that_rests_is_looked_at_when_its_pause_is_over(step: Step) -> None:
    step.state.peers[A].link.usable_at_ns = 101
    step.rest(A)
    step.rest(B)
    assert step.state.peer_alarms.earliest() == 101
    assert B not in step.state.peer_alarms


def test_a_peer_that_does_not_rest_needs_no_alarm(step: Step) -> None:
    step.state.peers[A].link.usable_at_ns = 100
    step.rest(A)
    assert A not in step.state.peer_alarms


def test_room_is_noticed_once_a_peer_in_the_order_of_noticing(step: Step) -> None:
    for node in (B, A, B):
        step.note_room(node)
    assert list(step.room) == [B, A]
    assert not step.is_room_everywhere
    step.note_room_everywhere()
    assert step.is_room_everywhere


def test_a_lane_whose_alarm_was_set_again_while_it_was_closing_is_forgotten_with_it(
    step: Step,
) -> None:
    lane = step.state.lanes[LaneId(1)]
    lane.is_closing = True
    step.forget_if_done(lane)
    assert lane.id not in step.state.lane_alarms


def test_a_handler_is_given_the_event() -> None:
    seen: list[PeerLost] = []
    step = Step(State(), Options(), Random(1), now=100)
    handler = NodeHandler(PeerLost, lambda _, event: seen.append(event))
    handler.take_in(step, PeerLost(A))
    assert seen == [PeerLost(A)]


def test_a_handler_is_given_the_recovery_and_nothing_of_one_that_ended(step: Step) -> None:
    seen: list[tuple[Recovery, RecoveryPaused]] = []
    handler = RecoveryHandler(
        RecoveryPaused, lambda _, recovery, event: seen.append((recovery, event))
    )
    handler.take_in(step, RecoveryPaused(R2))
    handler.take_in(step, RecoveryPaused(R))
    assert seen == [(step.state.recoveries[R], RecoveryPaused(R))]


def test_room_and_rest_are_noted_on_all_paths_to_a_node() -> None:
    first, further = Peer(A, Epoch(1)), Peer(A, Epoch(1), path=further_path(A, "x"))
    state = State()
    for peer in (first, further):
        state.add_peer(peer)
        peer.standing = first.standing
    step = Step(state, Options(), Random(1), now=5)
    step.note_room_of(first)
    assert list(step.room) == [first.path, further.path]
    first.standing.quarantined_until_ns = 9
    step.rest(further.path)
    assert all(peer.path in state.peer_alarms for peer in (first, further))
