"""Closing lanes and forgetting them, and whom to look at after an event."""

from __future__ import annotations

from random import Random

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.options import Options
from ckptd.core.state import step
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Bundle, Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Epoch, LaneId, TransferId
from ckptd.model.words import CloseReason
from tests.support.scheduling import A, B, R, saved, wanted


@pytest.fixture
def turn() -> step.Turn:
    """An event is handled; there is a recovery with two idle lanes to one source."""
    state = State(peers={A: Peer(A, Epoch(1))})
    recovery = Recovery(wanted(saved(8)), 1, 0)
    state.recoveries[R] = recovery
    lanes = [Lane(LaneId(each), A, R, state.peers[A].link, heard_ns=0) for each in (1, 2)]
    recovery.bundles[A] = Bundle(list(lanes))
    for lane in lanes:
        recovery.lanes[lane.id] = state.lanes[lane.id] = lane
        state.lane_alarms.set(lane.id, 500)
    return step.Turn(state, Options(), Random(1), now=100)


def test_an_idle_lane_is_forgotten_as_soon_as_it_is_closed(turn: step.Turn) -> None:
    recovery = turn.state.recoveries[R]
    first, second = recovery.bundles[A].lanes
    turn.close_lane(first, CloseReason.IDLE)
    assert turn.effects == [CloseLane(first.id, A, CloseReason.IDLE)]
    assert turn.state.lanes == recovery.lanes == {second.id: second}
    assert recovery.bundles[A].lanes == [second]
    assert first.id not in turn.state.lane_alarms
    assert second.id in turn.state.lane_alarms
    turn.close_lane(second, CloseReason.FAILED)
    assert not recovery.bundles
    assert not recovery.lanes
    assert not turn.state.lanes


def test_a_lane_with_transfers_is_closed_once_and_forgotten_when_they_ended(
    turn: step.Turn,
) -> None:
    recovery = turn.state.recoveries[R]
    lane = recovery.lanes[LaneId(1)]
    lane.transfers.append(Transfer(TransferId(1), BlockRun(0, 1), 1, 0))
    turn.close_lane(lane, CloseReason.SILENT)
    turn.close_lane(lane, CloseReason.IDLE)
    assert turn.effects == [CloseLane(lane.id, A, CloseReason.SILENT)]
    assert (lane.is_closing, lane.closing) == (True, CloseReason.SILENT)
    assert lane.id in turn.state.lanes
    assert lane.id not in turn.state.lane_alarms
    lane.transfers.clear()
    turn.forget_if_done(lane)
    turn.forget_if_done(lane)
    assert lane.id not in turn.state.lanes


def test_a_lane_that_is_idle_but_not_closing_stays(turn: step.Turn) -> None:
    turn.forget_if_done(turn.state.lanes[LaneId(1)])
    assert LaneId(1) in turn.state.lanes
    assert LaneId(1) in turn.state.lane_alarms


def test_a_peer_that_rests_is_looked_at_when_its_pause_is_over(turn: step.Turn) -> None:
    turn.state.peers[A].link.usable_at_ns = 101
    turn.rest(A)
    turn.rest(B)
    assert turn.state.peer_alarms.earliest() == 101
    assert B not in turn.state.peer_alarms


def test_a_peer_that_does_not_rest_needs_no_alarm(turn: step.Turn) -> None:
    turn.state.peers[A].link.usable_at_ns = 100
    turn.rest(A)
    assert A not in turn.state.peer_alarms


def test_room_is_noticed_once_a_peer_in_the_order_of_noticing(turn: step.Turn) -> None:
    for node in (B, A, B):
        turn.note_room(node)
    assert list(turn.room) == [B, A]
    assert not turn.is_room_everywhere
    turn.note_room_everywhere()
    assert turn.is_room_everywhere
