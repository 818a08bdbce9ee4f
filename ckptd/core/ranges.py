"""Ranges in flight: ordering them, crediting what they bring, noticing that they are late."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from ckptd.core import telling
from ckptd.core.bundles import Lane, Transfer
from ckptd.core.effects import CloseReason, FetchRange
from ckptd.core.endings import stumble
from ckptd.core.events import Confirmation, RangeEnded, RangeOutcome, RangeProgressed
from ckptd.core.hedging import find_hedge, find_race, hedge_after_ns, losers
from ckptd.core.lanes import (
    is_held_up_here,
    lane_for,
    narrow,
    patience_ns,
    rouse_lanes,
    set_alarms_to,
    set_lane_alarm,
)
from ckptd.core.picker import (
    Offer,
    cut,
    find_offer,
    is_detour,
    is_left_to_others,
    may_be_asked,
)
from ckptd.core.precedence import has_to_wait, preempt
from ckptd.core.sources import count_sources, note_evidence, question
from ckptd.core.state import Peer, Recovery
from ckptd.core.story import Reason
from ckptd.core.turn import Turn
from ckptd.core.waste import WasteReason
from ckptd.core.widening import give_trial_up
from ckptd.limits import MS
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import TransferId
from ckptd.model.manifest import Criticality

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

_RATES_EVERY_NS = 50 * MS
"""Rates are added up this often: it costs a look at every peer."""


def order_ranges(turn: Turn) -> None:
    """Order ranges until no source has room or nothing is left to order.

    Only peers are looked at whose room may have changed with this event. An offer that was
    overtaken by what was ordered meanwhile is made anew before it is taken.
    """
    state = turn.state
    nodes = state.peers if turn.is_room_everywhere or state.is_paced else turn.room
    state.is_paced = False
    peers = [state.peers[node] for node in nodes if node in state.peers]
    recoveries = [
        recovery
        for recovery in state.recoveries.values()
        if recovery.is_fetching and recovery.unclaimed
    ]
    for recovery in recoveries:
        _add_up_rates(turn, recovery)
    preempt(turn, peers)
    offers = [
        offer
        for recovery in recoveries
        for peer in peers
        if (offer := find_offer(recovery, peer, turn.options, now=turn.now))
    ]
    heapify(offers)
    while offers:
        if _is_enough_in_flight(turn):
            state.is_paced = True
            break
        offer = heappop(offers)
        current = find_offer(offer.recovery, offer.peer, turn.options, now=turn.now)
        if current is not None and current.rank == offer.rank:
            if _has_better_use(turn, current):
                # Rates change, and others take what is urgent: look at it again in a moment.
                again_ns = turn.now + turn.options.steal_floor_ns
                state.peer_alarms.set(current.peer.node, again_ns)
                continue
            if not _race(turn, current.recovery, current.peer):
                _order_offer(turn, current)
            current = find_offer(offer.recovery, offer.peer, turn.options, now=turn.now)
        if current is not None:
            heappush(offers, current)
    if turn.options.redundancy > 1:
        for peer in peers:
            for recovery in state.recoveries.values():
                _race(turn, recovery, peer)


def _is_enough_in_flight(turn: Turn) -> bool:
    most_bytes = turn.options.in_flight_bytes_max
    if most_bytes is None:
        return False
    return sum(known.owed_bytes for known in turn.state.recoveries.values()) >= most_bytes


def _race(turn: Turn, recovery: Recovery, peer: Peer) -> bool:
    """Let a source race for a critical range that another one owes; tell whether it does."""
    found = find_race(turn, recovery, peer)
    if found is not None:
        duplicate = _order_duplicate(turn, recovery, peer, *found)
        recovery.raced_bytes += duplicate.size_bytes
    return found is not None


def _has_better_use(turn: Turn, offer: Offer) -> bool:
    """Tell whether somebody else should do this, or the source should do something else."""
    peers, recoveries = turn.state.peers.values(), turn.state.recoveries.values()
    if has_to_wait(recoveries, offer, now=turn.now):
        telling.tell_outranked(turn, offer)
    elif is_detour(offer.recovery, offer, peers, turn.options, now=turn.now):
        telling.tell_detour(turn, offer)
    else:
        return is_left_to_others(offer.recovery, offer, turn.options, now=turn.now)
    return True


def _add_up_rates(turn: Turn, recovery: Recovery) -> None:
    """Add up what all sources deliver, now and then."""
    if recovery.total_rate and turn.now - recovery.total_rate_ns < _RATES_EVERY_NS:
        return
    assert recovery.digest is not None
    recovery.total_rate_ns = turn.now
    recovery.total_rate = recovery.swarm_rate = 0.0
    for peer in turn.state.peers.values():
        holding = peer.holdings.get(recovery.digest)
        if holding is None or not may_be_asked(recovery, peer, now=turn.now):
            continue
        recovery.total_rate += peer.link.rate.bytes_per_s
        if not holding.is_complete:
            recovery.swarm_rate += peer.link.rate.bytes_per_s


def _order_offer(turn: Turn, offer: Offer) -> None:
    blocks = cut(offer.recovery, offer.run, offer.peer, turn.options)
    offer.recovery.unclaimed = offer.recovery.unclaimed.without_run(blocks)
    assert offer.recovery.digest is not None
    is_complete = offer.peer.holdings[offer.recovery.digest].is_complete
    if offer.recovery.is_swarming and is_complete:
        offer.recovery.own_block = blocks.end
    _order(turn, offer.recovery, offer.peer, blocks, offer.criticality)


def _order(
    turn: Turn, recovery: Recovery, peer: Peer, blocks: BlockRun, criticality: Criticality
) -> Transfer:
    """Order a range on a lane to a source."""
    state = turn.state
    lane = lane_for(turn, recovery, peer)
    transfer = Transfer(
        TransferId(state.next_transfer),
        blocks,
        recovery.known_space().run_bytes(blocks),
        blocks.start,
        criticality,
        is_prompt=not lane.transfers,
    )
    state.next_transfer += 1
    state.transfers[transfer.id] = lane.id
    lane.transfers.append(transfer)
    if transfer.is_prompt:  # else the alarm is that of the first range, and stays
        lane.heard_ns, lane.has_body = turn.now, False
        set_lane_alarm(turn, lane)
    recovery.in_flight += 1
    recovery.owed_bytes += transfer.size_bytes
    lane.link.outstanding_bytes += transfer.size_bytes
    lane.link.rate.begin(now=turn.now)
    recovery.rate.begin(now=turn.now)
    assert recovery.digest is not None
    turn.order(
        FetchRange(
            transfer.id, recovery.id, recovery.digest, peer.node, lane.id, blocks, criticality
        )
    )
    return transfer


def on_range_progressed(turn: Turn, event: RangeProgressed) -> None:
    """Credit what came: blocks to the recovery, bytes and time to the link."""
    lane, transfer = _find(turn, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = turn.state.recoveries[lane.recovery]
    new_bytes = event.received_bytes - transfer.received_bytes
    _hear(turn, lane, transfer, new_bytes)
    lane.link.heard_load(event.source_load_bytes)
    transfer.received_bytes = event.received_bytes
    recovery.received_bytes += new_bytes
    recovery.bundles[lane.source].received_bytes += new_bytes
    recovery.rate.add(new_bytes, now=turn.now)
    if event.is_held_back:  # whatever the source does, it could not be heard
        lane.heard_ns = turn.now
        set_lane_alarm(turn, lane)
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
        turn.state.first_bytes.add(since_ns)
    turn.note_room(lane.source)
    lane.has_body = True
    lane.heard_ns = turn.now
    turn.state.recoveries[lane.recovery].owed_bytes -= new_bytes
    lane.link.outstanding_bytes -= new_bytes
    lane.link.rate.add(new_bytes, now=turn.now)
    recovery = turn.state.recoveries[lane.recovery]
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
    space = recovery.known_space()
    bad = BlockSet((block, block + 1) for block in rejected)
    new = BlockSet((run,)) - bad - recovery.verified
    run_bytes, bad_bytes = space.run_bytes(run), space.set_bytes(bad)
    good_bytes = space.set_bytes(new)
    transfer.credited_bytes += run_bytes
    if run_bytes > bad_bytes + good_bytes:
        why = telling.why_wasted(lane, transfer, WasteReason.DUPLICATE)
        recovery.waste.add(why, run_bytes - bad_bytes - good_bytes)
    if new:
        recovery.verified |= new
        if recovery.raised & new or _completes_critical(recovery, new):
            recovery.is_awaited = True
        recovery.raised -= new
        recovery.uncommitted |= new
        recovery.uncommitted_bytes += good_bytes
        recovery.source_bytes[lane.source] = recovery.source_bytes.get(lane.source, 0) + good_bytes
        if recovery.uncommitted_since_ns is None:
            recovery.uncommitted_since_ns = turn.now
    if bad:
        transfer.is_spoiled = True
        recovery.waste.add(WasteReason.CORRUPT, bad_bytes)
        recovery.bad_blocks += len(bad)
        telling.tell_bad_blocks(turn, recovery, lane.source, bad)
        recovery.unclaimed |= bad - recovery.verified - _owed(recovery)
        turn.note_room_everywhere()
        peer = turn.state.peers[lane.source]
        if lane.link is peer.link:
            recovery.refused[lane.source] = recovery.refused.get(lane.source, BlockSet()) | bad
            note_evidence(turn, peer, recovery, bad)
            question(turn, peer, recovery, bad)
        else:  # an epoch sent them that is over
            note_evidence(turn, peer, recovery, bad, Confirmation.NO_ANSWER)


def _completes_critical(recovery: Recovery, new: BlockSet) -> bool:
    """Tell whether with these blocks all that is critical is here: only durable it counts."""
    return bool(recovery.critical & new) and recovery.critical.issubset(recovery.verified)


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
        why = telling.why_wasted(lane, transfer, WasteReason.CANCELLED)
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
    if event.outcome in _OF_LANE and (lane.is_on_trial or lane.is_surplus):
        if lane.is_on_trial:
            give_trial_up(turn, telling.REASONS[event.outcome])
    elif not lane.is_closing:
        _judge(turn, lane, transfer, event)
    for loser in list(losers(recovery)):
        telling.tell_settled(turn, lane, loser)
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
            lane.has_delivered = True
            lane.link.succeeded(turn.options, is_good=not transfer.is_spoiled)
        case RangeOutcome.NOT_HELD:
            assert recovery.digest is not None
            turn.state.peers[lane.source].holdings.pop(recovery.digest, None)
            telling.tell_withdrawn(turn, recovery, lane.source)
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
            stumble(turn, recovery, event.refusal)
        case RangeOutcome.CLOSED:
            pass
    if event.outcome in telling.REASONS:
        telling.tell_pause(turn, recovery, lane.source, telling.REASONS[event.outcome])
    turn.rest(lane.source)


def close_late_lanes(turn: Turn) -> None:
    """Close lanes that are silent too long, and lanes that have had no work for long."""
    for lane_id in turn.state.lane_alarms.take_due(turn.now):
        lane = turn.state.lanes[lane_id]
        if not lane.transfers:
            turn.close_lane(lane, CloseReason.IDLE)
        elif turn.now < lane.heard_ns + patience_ns(lane, turn.options):
            _hedge(turn, lane)
        elif not is_held_up_here(turn, lane):
            _give_lane_up(turn, lane)


def _give_lane_up(turn: Turn, lane: Lane) -> None:
    """Close a lane that is late; it is its source that is late, unless another lane delivers."""
    allowed_ns = patience_ns(lane, turn.options)
    recovery = turn.state.recoveries[lane.recovery]
    bundle = recovery.bundles[lane.source]
    if not lane.has_body:
        turn.state.first_bytes.add(turn.now - lane.heard_ns)
    if lane.is_on_trial:
        give_trial_up(turn, Reason.SILENT if lane.has_body else Reason.FIRST_BYTE_LATE)
    elif not any(other.heard_ns > lane.heard_ns + allowed_ns // 2 for other in bundle.lanes):
        lane.link.failed(turn.options, turn.rng, now=turn.now)
        telling.tell_late(turn, lane, allowed_ns)
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
        hedge = _order_duplicate(turn, recovery, peer, late, blocks)
        recovery.hedged_bytes += hedge.size_bytes
        telling.tell_hedge(turn, lane, hedge, peer.node, after_ns)
    set_lane_alarm(turn, lane)


def _order_duplicate(
    turn: Turn, recovery: Recovery, peer: Peer, first: Transfer, blocks: BlockRun
) -> Transfer:
    """Ask a second source for what another one owes. Whoever delivers first wins."""
    duplicate = _order(turn, recovery, peer, blocks, first.criticality)
    first.is_hedged = duplicate.is_hedge = duplicate.is_hedged = True
    recovery.hedges += 1
    return duplicate


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
    return lane, next(known for known in lane.transfers if known.id == transfer)
