"""Lanes: which one takes a range, how long each may be silent, and when it is looked at."""

from __future__ import annotations

from ckptd.core.state.deadlines import hedge_after_ns, lane_patience_ns
from ckptd.core.state.eligibility import lane_with_room
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import LaneId, PathId
from ckptd.model.words import LocalOrder


def lane_for(step: Step, recovery: Recovery, peer: Peer, *, is_express: bool = False) -> Lane:
    """Return the lane on which a source is asked for more, opened if that is better or needed.

    A duplicate is asked for even if no lane has room: on the one that has least to do.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        peer: The source.
        is_express: On the lane beside the others.
    """
    bundle = recovery.work.bundles.get(peer.path)
    if bundle is None:
        bundle = recovery.work.bundles[peer.path] = Bundle(busy_since_ns=step.now)
    elif not bundle.active_count:
        bundle.busy_since_ns = step.now
    if is_express:
        return bundle.express or _open(step, recovery, peer, bundle, is_express=True)
    lane = lane_with_room(bundle, step.options)
    is_idle = lane is not None and not lane.transfers
    if not is_idle and bundle.usual_count < bundle.width:
        return _open(step, recovery, peer, bundle)
    lane = lane or bundle.least_loaded()
    assert lane is not None, f"{recovery.id}: every lane to {peer.path} is closing"
    return lane


def _open(
    step: Step, recovery: Recovery, peer: Peer, bundle: Bundle, *, is_express: bool = False
) -> Lane:
    state, trial = step.state, step.state.trial
    lane = Lane(
        LaneId(state.next_lane), peer.path, recovery.id, peer.link, step.now, origin=peer.origin
    )
    state.next_lane += 1
    lane.is_on_trial = (
        trial is not None and trial.bundle is bundle and trial.is_changed and not trial.is_fewer
    )
    if is_express:
        lane.is_express, lane.is_on_trial = True, False
        bundle.lanes.insert(0, lane)  # a trial looks at the last one
    else:
        bundle.lanes.append(lane)
    recovery.work.lanes[lane.id] = state.lanes[lane.id] = lane
    return lane


def narrow(recovery: Recovery, lane: Lane) -> None:
    """Do without a lane that is lost, if there are others to its source."""
    if not (lane.is_closing or lane.is_surplus or lane.is_express):
        bundle = recovery.work.bundles[lane.source]
        bundle.width = max(bundle.width - 1, 1)


def is_held_up_here(step: Step, lane: Lane) -> bool:
    """Return whether this node's disk may be why a lane is silent.

    While a commit is under way and no lane of the recovery delivers, no source is to blame: a
    lane is late only if another one delivered when it was due already.
    """
    recovery = step.state.recoveries[lane.recovery]
    is_held_up = (
        recovery.local.pending_order is LocalOrder.COMMIT
        and recovery.work.delivered_ns < lane.heard_ns + lane_patience_ns(lane, step.options)
    )
    recovery.work.is_held_up = recovery.work.is_held_up or is_held_up
    return is_held_up


def reset_lane_alarms(step: Step, recovery: Recovery) -> None:
    """Look at lanes again that the disk may have held up."""
    recovery.work.is_held_up = False
    for lane in recovery.work.lanes.values():
        set_lane_alarm(step, lane)


def set_lane_alarm(step: Step, lane: Lane) -> None:
    """Set when a lane is to be hedged or closed unless something comes."""
    if not lane.is_closing:
        due_ns = lane.heard_ns + lane_patience_ns(lane, step.options)
        hedge_ns = hedge_after_ns(step.state, lane, step.options)
        if hedge_ns is not None:
            due_ns = min(due_ns, max(lane.heard_ns + hedge_ns, step.now + 1))
        step.state.lane_alarms.set(lane.id, due_ns)


def set_alarms_to(step: Step, source: PathId) -> None:
    """Look again at all lanes to a source: patience with its link may have shrunk."""
    for recovery in step.state.recoveries.values():
        bundle = recovery.work.bundles.get(source)
        for lane in () if bundle is None else bundle.lanes:
            set_lane_alarm(step, lane)
