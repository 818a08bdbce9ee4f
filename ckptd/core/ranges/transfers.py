"""Ranges in flight: crediting what they bring, noticing that they are late."""

from __future__ import annotations

from ckptd.core.events import RangeEnded, RangeProgressed
from ckptd.core.explain import narration
from ckptd.core.peers.claims import count_sources, note_evidence, question
from ckptd.core.ranges.hedging import find_hedge, losers
from ckptd.core.ranges.lane_trials import begin_with_two, give_trial_up
from ckptd.core.ranges.lanes import (
    is_held_up_here,
    narrow,
    rouse_lanes,
    set_alarms_to,
    set_lane_alarm,
)
from ckptd.core.ranges.ordering import order_duplicate
from ckptd.core.state.deadlines import hedge_after_ns, lane_patience_ns
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Turn
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import TransferId
from ckptd.model.words import CloseReason, Confirmation, RangeOutcome, StoryReason, WasteReason

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

_OF_LANE = frozenset({RangeOutcome.BUSY, RangeOutcome.DISCONNECTED, RangeOutcome.UNREACHABLE})
"""Outcomes that say nothing of a source if the lane was one more than it needs."""


def on_range_progressed(turn: Turn, event: RangeProgressed) -> None:
    """Credit what came: blocks to the recovery, bytes and time to the link."""
    lane, transfer = _find(turn, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = turn.state.recoveries[lane.recovery]
    new_bytes = event.received_bytes - transfer.received_bytes
    if new_bytes > 0:
        _hear(turn, recovery, lane, transfer, new_bytes)
    lane.link.heard_load(event.source_load_bytes)
    transfer.received_bytes = event.received_bytes
    if event.is_held_back:  # whatever the source does, it could not be heard
        lane.heard_ns = turn.now
        set_lane_alarm(turn, lane)
    assert transfer.next_block <= event.next_block <= transfer.blocks.end
    if event.next_block > transfer.next_block:
        dealt_with = BlockRun(transfer.next_block, event.next_block)
        transfer.next_block = event.next_block
        _credit(turn, recovery, lane, transfer, dealt_with, event.rejected)


def _hear(turn: Turn, recovery: Recovery, lane: Lane, transfer: Transfer, new_bytes: int) -> None:
    """Note a sign of life and what it tells about the link."""
    link, since_ns = lane.link, turn.now - lane.heard_ns
    if lane.has_body:
        link.heard_again(since_ns)
    elif transfer.is_prompt:
        link.heard_first_byte(since_ns)
        turn.state.first_bytes.add(since_ns)
    lane.has_body = True
    lane.heard_ns = turn.now
    recovery.owed_bytes -= new_bytes
    recovery.received_bytes += new_bytes
    recovery.rate.add(new_bytes, now=turn.now)
    link.outstanding_bytes -= new_bytes
    link.rate.add(new_bytes, now=turn.now)
    recovery.bundles[lane.source].received_bytes += new_bytes
    turn.note_room(lane.source)
    if recovery.is_held_up:
        rouse_lanes(turn, recovery)
    else:
        set_lane_alarm(turn, lane)


def _credit(
    turn: Turn,
    recovery: Recovery,
    lane: Lane,
    transfer: Transfer,
    run: BlockRun,
    rejected: tuple[int, ...],
) -> None:
    """Take over a run of blocks that was verified, but for the rejected ones."""
    space, right = recovery.known_space(), BlockSet.of_run(run)
    if rejected:
        bad = BlockSet((block, block + 1) for block in rejected)
        right -= bad
        _note_bad(turn, recovery, lane, transfer, bad)
    new = right - recovery.verified if right.meets(recovery.verified) else right
    run_bytes = space.run_bytes(run)
    transfer.credited_bytes += run_bytes
    if new is not right:
        why = narration.why_wasted(lane, transfer, WasteReason.DUPLICATE)
        recovery.waste.add(why, space.set_bytes(right) - space.set_bytes(new))
    if not new:
        return
    good_bytes = space.set_bytes(new) if rejected or new is not right else run_bytes
    recovery.verified |= new
    recovery.uncommitted |= new
    if recovery.raised.meets(new):
        recovery.is_awaited = True
        recovery.raised -= new
    elif recovery.critical.meets(new) and recovery.critical.issubset(recovery.verified):
        recovery.is_awaited = True  # only what is durable counts as complete
    recovery.uncommitted_bytes += good_bytes
    recovery.source_bytes[lane.source] = recovery.source_bytes.get(lane.source, 0) + good_bytes
    if recovery.uncommitted_since_ns is None:
        recovery.uncommitted_since_ns = turn.now


def _note_bad(
    turn: Turn, recovery: Recovery, lane: Lane, transfer: Transfer, bad: BlockSet
) -> None:
    """Let somebody else be asked for blocks that were wrong, and find out who is to blame."""
    transfer.is_spoiled = True
    recovery.waste.add(WasteReason.CORRUPT, recovery.known_space().set_bytes(bad))
    recovery.bad_blocks += len(bad)
    narration.tell_bad_blocks(turn, recovery, lane.source, bad)
    recovery.unclaimed |= bad - recovery.verified - _owed(recovery)
    turn.note_room_everywhere()
    peer = turn.state.peers[lane.source]
    if lane.link is peer.link:
        recovery.refused[lane.source] = recovery.refused.get(lane.source, BlockSet()) | bad
        note_evidence(turn, peer, recovery, bad)
        question(turn, peer, recovery, bad)
    else:  # an epoch sent them that is over
        note_evidence(turn, peer, recovery, bad, Confirmation.NO_ANSWER)


def on_range_ended(turn: Turn, event: RangeEnded) -> None:
    """Close the books of a transfer and give what it still owed to others."""
    lane, transfer = _find(turn, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = turn.state.recoveries[lane.recovery]
    was_first = lane.transfers[0] is transfer
    lane.transfers.remove(transfer)
    recovery.in_flight -= 1
    turn.note_room(lane.source)
    del turn.state.transfers[transfer.id]
    recovery.owed_bytes -= transfer.size_bytes - transfer.received_bytes
    lane.link.outstanding_bytes -= transfer.size_bytes - transfer.received_bytes
    if transfer.received_bytes > transfer.credited_bytes:
        why = narration.why_wasted(lane, transfer, WasteReason.CANCELLED)
        recovery.waste.add(why, transfer.received_bytes - transfer.credited_bytes)
    if transfer.next_block < transfer.blocks.end:
        owed = BlockSet(((transfer.next_block, transfer.blocks.end),))
        recovery.unclaimed |= owed - recovery.verified - _owed(recovery)
        turn.note_room_everywhere()
    if was_first and lane.transfers:
        lane.heard_ns, lane.has_body = turn.now, False
    if not lane.link.outstanding_bytes:
        lane.link.rested(now=turn.now)
    if not recovery.in_flight:
        recovery.rate.pause(now=turn.now)
    if (lane.is_on_trial or lane.is_surplus) and event.outcome in _OF_LANE:
        if lane.is_on_trial:
            give_trial_up(turn, narration.REASONS[event.outcome])
    elif not lane.is_closing:
        _judge(turn, lane, transfer, event)
    for loser in list(losers(recovery)):
        narration.tell_settled(turn, lane, loser)
        turn.close_lane(loser, CloseReason.REDUNDANT)
    set_alarms_to(turn, lane.source)
    if event.outcome in _LANE_ENDS:
        narrow(recovery, lane)
        turn.close_lane(lane, CloseReason.FAILED)
    elif lane.is_surplus and not lane.transfers:
        turn.close_lane(lane, CloseReason.SURPLUS)
    turn.forget_if_done(lane)


def _judge(turn: Turn, lane: Lane, transfer: Transfer, event: RangeEnded) -> None:
    """Draw conclusions about the source from how a transfer ended."""
    recovery = turn.state.recoveries[lane.recovery]
    match event.outcome:
        case RangeOutcome.DELIVERED:
            lane.link.succeeded(turn.options, is_good=not transfer.is_spoiled)
            if not lane.has_delivered:
                lane.has_delivered = True
                begin_with_two(turn, recovery, lane)
            return
        case RangeOutcome.NOT_HELD:
            assert recovery.digest is not None
            turn.state.peers[lane.source].holdings.pop(recovery.digest, None)
            narration.tell_withdrawn(turn, recovery, lane.source)
            count_sources(turn)
        case RangeOutcome.BUSY:
            lane.link.refused(
                turn.options, turn.rng, now=turn.now, at_least_ns=event.retry_after_ns
            )
        case RangeOutcome.MISBEHAVED:
            lane.link.failed(turn.options, turn.rng, now=turn.now)
            lane.link.blame(turn.options.trust_per_bad_block, turn.options, now=turn.now)
        case RangeOutcome.DISCONNECTED | RangeOutcome.UNREACHABLE:
            lane.link.failed(turn.options, turn.rng, now=turn.now)
        case RangeOutcome.STORE_FAILED:
            assert event.refusal is not None
            recovery.refusals.append(event.refusal)
        case RangeOutcome.CLOSED:
            pass
    if event.outcome in narration.REASONS:
        narration.tell_pause(turn, recovery, lane.source, narration.REASONS[event.outcome])
    turn.rest(lane.source)


def close_late_lanes(turn: Turn) -> None:
    """Close lanes that are silent too long, and lanes that have had no work for long."""
    for lane_id in turn.state.lane_alarms.take_due(turn.now):
        lane = turn.state.lanes[lane_id]
        if not lane.transfers:
            turn.close_lane(lane, CloseReason.IDLE)
        elif turn.now < lane.heard_ns + lane_patience_ns(lane, turn.options):
            _hedge(turn, lane)
        elif not is_held_up_here(turn, lane):
            _give_lane_up(turn, lane)


def _give_lane_up(turn: Turn, lane: Lane) -> None:
    """Close a lane that is late; it is its source that is late, unless another lane delivers."""
    allowed_ns = lane_patience_ns(lane, turn.options)
    recovery = turn.state.recoveries[lane.recovery]
    bundle = recovery.bundles[lane.source]
    if not lane.has_body:
        turn.state.first_bytes.add(turn.now - lane.heard_ns)
    if lane.is_on_trial:
        give_trial_up(turn, StoryReason.SILENT if lane.has_body else StoryReason.FIRST_BYTE_LATE)
    elif not any(other.heard_ns > lane.heard_ns + allowed_ns // 2 for other in bundle.lanes):
        lane.link.failed(turn.options, turn.rng, now=turn.now)
        narration.tell_late(turn, lane, allowed_ns)
    narrow(recovery, lane)
    turn.close_lane(lane, CloseReason.SILENT)
    turn.rest(lane.source)


def _hedge(turn: Turn, lane: Lane) -> None:
    """Ask a second source for what a lane is late with; once for each range."""
    recovery = turn.state.recoveries[lane.recovery]
    late = lane.transfers[0]
    after_ns = hedge_after_ns(turn.state, lane, turn.options)
    if after_ns is None or turn.now < lane.heard_ns + after_ns:
        set_lane_alarm(turn, lane)  # patience grew since it was set
        return
    late.is_hedged = True
    found = find_hedge(turn, lane)
    if found is not None and recovery.is_fetching:
        peer, blocks = found
        hedge = order_duplicate(turn, recovery, peer, late, blocks)
        recovery.hedged_bytes += hedge.size_bytes
        narration.tell_hedge(turn, lane, hedge, peer.node, after_ns)
    set_lane_alarm(turn, lane)


def _owed(recovery: Recovery) -> BlockSet:
    """Return what all transfers in flight still owe."""
    return BlockSet(
        (known.next_block, known.blocks.end)
        for lane in recovery.lanes.values()
        for known in lane.transfers
        if known.next_block < known.blocks.end
    )


def _find(turn: Turn, transfer: TransferId) -> tuple[Lane | None, Transfer | None]:
    """Return a transfer and its lane; ``None`` for one that ended already."""
    lane_id = turn.state.transfers.get(transfer)
    if lane_id is None:
        return None, None
    lane = turn.state.lanes[lane_id]
    for known in lane.transfers:
        if known.id == transfer:
            return lane, known
    raise AssertionError(f"transfer {transfer} is not one of lane {lane_id}")
