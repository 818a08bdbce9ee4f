"""Ranges in flight: ordering them, crediting what they bring, noticing that they are late."""

from __future__ import annotations

from ckptd.core.effects import CloseReason, FetchRange
from ckptd.core.endings import stumble
from ckptd.core.events import RangeEnded, RangeOutcome, RangeProgressed
from ckptd.core.options import Options
from ckptd.core.picker import Pick, pick_next
from ckptd.core.sources import question
from ckptd.core.stages import LocalOrder
from ckptd.core.state import Lane, Recovery, State, Transfer
from ckptd.core.turn import Turn
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, TransferId

_LANE_ENDS = frozenset(
    {
        RangeOutcome.DISCONNECTED,
        RangeOutcome.UNREACHABLE,
        RangeOutcome.MISBEHAVED,
        RangeOutcome.CLOSED,
        RangeOutcome.STORE_FAILED,
    }
)
"""Outcomes after which the connection is gone."""


def order_ranges(turn: Turn) -> None:
    """Order ranges until no source has room or nothing is left to order."""
    state = turn.state
    while True:
        pick = pick_next(state.recoveries.values(), state.peers, turn.options, now=turn.now)
        if pick is None:
            return
        _order(turn, pick)


def _order(turn: Turn, pick: Pick) -> None:
    state, recovery = turn.state, pick.recovery
    link = state.peers[pick.source].link
    lane = recovery.lanes.get(pick.source)
    if lane is None:
        lane = Lane(LaneId(state.next_lane), pick.source, recovery.id, link, heard_ns=turn.now)
        state.next_lane += 1
        recovery.lanes[pick.source] = state.lanes[lane.id] = lane
    transfer = Transfer(
        TransferId(state.next_transfer),
        pick.blocks,
        recovery.known_space().run_bytes(pick.blocks),
        next_block=pick.blocks.start,
        is_prompt=not lane.transfers,
    )
    state.next_transfer += 1
    state.transfers[transfer.id] = lane.id
    if not lane.transfers:
        lane.heard_ns, lane.has_body = turn.now, False
    lane.transfers.append(transfer)
    lane.link.outstanding_bytes += transfer.size_bytes
    lane.link.rate.begin(now=turn.now)
    recovery.rate.begin(now=turn.now)
    recovery.unclaimed = recovery.unclaimed.without_run(pick.blocks)
    assert recovery.digest is not None
    turn.order(
        FetchRange(
            transfer.id,
            recovery.id,
            recovery.digest,
            pick.source,
            lane.id,
            pick.blocks,
            pick.criticality,
        )
    )


def on_range_progressed(turn: Turn, event: RangeProgressed) -> None:
    """Credit what came: blocks to the recovery, bytes and time to the link."""
    lane, transfer = _find(turn, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = turn.state.recoveries[lane.recovery]
    new_bytes = event.received_bytes - transfer.received_bytes
    _hear(turn, lane, transfer, new_bytes)
    lane.link.load_bytes = event.source_load_bytes
    transfer.received_bytes = event.received_bytes
    recovery.received_bytes += new_bytes
    recovery.rate.add(new_bytes, now=turn.now)
    assert transfer.next_block <= event.next_block <= transfer.blocks.end
    if event.next_block > transfer.next_block:
        dealt_with = BlockRun(transfer.next_block, event.next_block)
        transfer.next_block = event.next_block
        _credit(turn, recovery, lane, transfer, dealt_with, event.rejected)


def _hear(turn: Turn, lane: Lane, transfer: Transfer, new_bytes: int) -> None:
    """Note a sign of life and what it tells about the link."""
    if new_bytes <= 0:
        return
    since_ns = turn.now - lane.heard_ns
    if lane.has_body:
        lane.link.heard_again(since_ns)
    elif transfer.is_prompt:
        lane.link.heard_first_byte(since_ns)
    lane.has_body = True
    lane.heard_ns = turn.now
    lane.link.outstanding_bytes -= new_bytes
    lane.link.rate.add(new_bytes, now=turn.now)


def _credit(
    turn: Turn,
    recovery: Recovery,
    lane: Lane,
    transfer: Transfer,
    run: BlockRun,
    rejected: tuple[int, ...],
) -> None:
    """Take over a run of blocks that was verified, but for the rejected ones."""
    space = recovery.known_space()
    bad = BlockSet((block, block + 1) for block in rejected)
    good = BlockSet((run,)) - bad
    known = good & recovery.verified
    bad_bytes, known_bytes = space.set_bytes(bad), space.set_bytes(known)
    good_bytes = space.run_bytes(run) - bad_bytes - known_bytes
    transfer.credited_bytes += space.run_bytes(run)
    recovery.waste.duplicate_bytes += known_bytes
    recovery.waste.corrupt_bytes += bad_bytes
    if good_bytes:
        recovery.verified |= good
        recovery.source_bytes[lane.source] = recovery.source_bytes.get(lane.source, 0) + good_bytes
        if recovery.uncommitted_since_ns is None:
            recovery.uncommitted_since_ns = turn.now
    if bad:
        recovery.bad_blocks += len(bad)
        recovery.unclaimed |= bad - recovery.verified
        peer = turn.state.peers[lane.source]
        if lane.link is peer.link:  # else an epoch sent them that is over
            recovery.refused[lane.source] = recovery.refused.get(lane.source, BlockSet()) | bad
            question(turn, peer, recovery, len(bad))


def on_range_ended(turn: Turn, event: RangeEnded) -> None:
    """Close the books of a transfer and give what it still owed to others."""
    lane, transfer = _find(turn, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = turn.state.recoveries[lane.recovery]
    was_first = lane.transfers[0] is transfer
    lane.transfers.remove(transfer)
    del turn.state.transfers[transfer.id]
    lane.link.outstanding_bytes -= transfer.size_bytes - transfer.received_bytes
    recovery.waste.cancelled_bytes += transfer.received_bytes - transfer.credited_bytes
    if transfer.next_block < transfer.blocks.end:
        owed = BlockSet(((transfer.next_block, transfer.blocks.end),))
        recovery.unclaimed |= owed - recovery.verified
    if was_first and lane.transfers:
        lane.heard_ns, lane.has_body = turn.now, False
    if not lane.link.outstanding_bytes:
        lane.link.rate.pause(now=turn.now)
    if not recovery.has_transfers:
        recovery.rate.pause(now=turn.now)
    if not lane.is_closing:
        _judge(turn, lane, recovery, event)
    if event.outcome in _LANE_ENDS:
        turn.close_lane(lane, CloseReason.FAILED)
    turn.forget_if_done(lane)


def _judge(turn: Turn, lane: Lane, recovery: Recovery, event: RangeEnded) -> None:
    """Draw conclusions about the source from how a transfer ended."""
    match event.outcome:
        case RangeOutcome.DELIVERED:
            lane.link.succeeded(turn.options)
        case RangeOutcome.NOT_HELD:
            assert recovery.digest is not None
            turn.state.peers[lane.source].holdings.pop(recovery.digest, None)
        case RangeOutcome.BUSY:
            lane.link.failed(turn.options, turn.rng, now=turn.now, at_least_ns=event.retry_after_ns)
        case RangeOutcome.MISBEHAVED:
            lane.link.failed(turn.options, turn.rng, now=turn.now)
            lane.link.blame(1, turn.options, now=turn.now)
        case RangeOutcome.DISCONNECTED | RangeOutcome.UNREACHABLE:
            lane.link.failed(turn.options, turn.rng, now=turn.now)
        case RangeOutcome.STORE_FAILED:
            assert event.refusal is not None
            stumble(turn, recovery, event.refusal)
        case RangeOutcome.CLOSED:
            pass


def close_late_lanes(turn: Turn) -> None:
    """Close lanes that are silent too long, and lanes that have had no work for long."""
    for lane in list(turn.state.lanes.values()):
        deadline = lane_deadline(turn.state, turn.options, lane)
        if deadline is None or deadline > turn.now:
            continue
        if lane.transfers:
            lane.link.failed(turn.options, turn.rng, now=turn.now)
            turn.close_lane(lane, CloseReason.SILENT)
        else:
            turn.close_lane(lane, CloseReason.IDLE)


def lane_deadline(state: State, options: Options, lane: Lane) -> int | None:
    """Return when a lane is to be closed unless something comes; ``None``: not by time.

    While a commit is under way and no lane of the recovery delivers, it is this node's disk
    that holds them up, and no source is to blame: a lane is late only if another one delivered
    when it was due already.
    """
    if lane.is_closing:
        return None
    if not lane.transfers:
        return lane.heard_ns + options.lane_idle_ns
    link = lane.link
    timeout_ns = (
        link.silence_timeout_ns(options) if lane.has_body else link.first_byte_timeout_ns(options)
    )
    deadline = lane.heard_ns + timeout_ns
    recovery = state.recoveries[lane.recovery]
    is_held_up = recovery.awaited is LocalOrder.COMMIT and recovery.delivered_ns < deadline
    return None if is_held_up else deadline


def _find(turn: Turn, transfer: TransferId) -> tuple[Lane | None, Transfer | None]:
    """Return a transfer and its lane; ``None`` for one that ended already."""
    lane_id = turn.state.transfers.get(transfer)
    if lane_id is None:
        return None, None
    lane = turn.state.lanes[lane_id]
    return lane, next(known for known in lane.transfers if known.id == transfer)
