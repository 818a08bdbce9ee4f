"""Ordering ranges: who is asked for what now, and what is not worth asking for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from heapq import heapify, heappop, heappush

from ckptd.core.effects import FetchRange
from ckptd.core.explain import narration
from ckptd.core.ranges.hedging import find_race, find_straggler
from ckptd.core.ranges.lanes import lane_for, set_lane_alarm
from ckptd.core.ranges.own_disks import is_left_to, leave_to_disks
from ckptd.core.ranges.picker import cut, find_offer, is_detour, is_left_to_others
from ckptd.core.ranges.preemption import has_to_wait, preempt
from ckptd.core.state.eligibility import is_busy_before_proof, is_proof, may_be_asked
from ckptd.core.state.lane import Transfer
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MS
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import TransferId
from ckptd.model.words import Criticality

_RATES_EVERY_NS = 100 * MS
"""Rates are added up this often: it costs a look at every peer, and samples take as long."""


def order_ranges(step: Step) -> None:
    """Order ranges until no source has room or nothing is left to order.

    Only peers are looked at whose room may have changed with this event. An offer that was
    overtaken by what was ordered meanwhile is made again before it is taken.
    """
    state = step.state
    peers = _to_look_at(step)
    state.is_paced = False
    if not peers:
        return
    preempt(step, peers)
    while _order_from(step, peers) and _is_needed(step):
        peers = list(state.sources())  # what others were asked for may let them ask as well
    if step.options.hedging.redundancy > 1:
        for peer in peers:
            for recovery in state.recoveries.values():
                _race(step, recovery, peer)


def _is_needed(step: Step) -> bool:
    """Return whether somebody waits for a range: for that sources do more, beside other work."""
    return any(recovery.coverage.needed for recovery in step.state.recoveries.values())


def _order_from(step: Step, peers: Sequence[Peer]) -> bool:
    """Order ranges from some peers until none has room; return whether any was ordered."""
    state, offers = step.state, _offers(step, peers)
    heapify(offers)
    is_fresh = True  # nothing was ordered since they were made
    while offers:
        if _is_enough_in_flight(step) and not offers[0].is_express:
            state.is_paced = True
            break
        offer = heappop(offers)
        recovery, peer = offer.recovery, offer.peer
        current = offer if is_fresh else find_offer(recovery, peer, step.options, now=step.now)
        if current is not None and current.rank == offer.rank:
            blocks = cut(recovery, current.run, peer, step.options)
            if _has_better_use(step, current, blocks):
                # Rates change, and others take what is urgent: look at it again in a moment.
                again_ns = step.now + step.options.stealing.floor_ns
                state.peer_alarms.set(peer.path, again_ns)
                continue
            is_helping = recovery.phasing.has_several and _help(step, current)
            if not is_helping and not _race(step, recovery, peer):
                _order_offer(step, current, blocks)
            is_fresh = False
            current = find_offer(recovery, peer, step.options, now=step.now)
        if current is not None:
            heappush(offers, current)
    return not is_fresh


def _to_look_at(step: Step) -> list[Peer]:
    """Return the sources that may have room for another range since this event."""
    state = step.state
    if state.own_disks.holdings:
        for recovery in state.recoveries.values():
            leave_to_disks(step, recovery)
    if step.is_room_everywhere or state.is_paced:
        return list(state.sources())
    known = (state.known_source(path) for path in step.room)
    return [peer for peer in known if peer is not None]


def _is_enough_in_flight(step: Step) -> bool:
    most_bytes = step.options.ranges.in_flight_bytes_max
    if most_bytes is None:
        return False
    return sum(known.work.owed_bytes for known in step.state.recoveries.values()) >= most_bytes


def _offers(step: Step, peers: Sequence[Peer]) -> list[Offer]:
    """Return what some peers can do now."""
    offers: list[Offer] = []
    for recovery in step.state.recoveries.values():
        if recovery.is_fetching and recovery.to_order:
            _add_up_rates(step, recovery)
            for peer in peers:
                offer = find_offer(recovery, peer, step.options, now=step.now)
                if offer is not None:
                    offers.append(offer)
                elif is_busy_before_proof(recovery, peer) and may_be_asked(
                    recovery, peer, now=step.now
                ):
                    # Somebody else may bring what it should show: look at it again in a moment.
                    again_ns = step.now + step.options.stealing.floor_ns
                    step.state.peer_alarms.set(peer.path, again_ns)
    return offers


def _race(step: Step, recovery: Recovery, peer: Peer) -> bool:
    """Let a source race for a critical range that another one owes; return whether it does."""
    found = find_race(step, recovery, peer)
    if found is not None:
        duplicate = order_duplicate(step, recovery, peer, *found)
        recovery.duplicates.raced_bytes += duplicate.size_bytes
    return found is not None


def _help(step: Step, offer: Offer) -> bool:
    """Let a source bring what would hold a phase up, before it goes on behind that phase."""
    recovery = offer.recovery
    found = find_straggler(step, recovery, offer.peer, offer.run.start)
    if found is not None:
        duplicate = order_duplicate(step, recovery, offer.peer, *found)
        recovery.duplicates.hedged_bytes += duplicate.size_bytes
    return found is not None


def _has_better_use(step: Step, offer: Offer, blocks: BlockRun) -> bool:
    """Return whether somebody else should do this, or the source should do something else."""
    recoveries = step.state.recoveries.values()
    # A recovery never stands still for a source that has to bring something more urgent first.
    free = (
        peer
        for peer in step.state.sources()
        if not has_to_wait(recoveries, replace(offer, peer=peer), now=step.now)
    )
    if has_to_wait(recoveries, offer, now=step.now):
        narration.report_outranked(step, offer)
    elif is_left_to(offer.recovery, offer.peer):
        return False
    elif is_detour(offer.recovery, offer.peer, blocks, free, step.options, now=step.now):
        narration.report_detour(step, offer, blocks)
    else:
        return is_left_to_others(offer.recovery, offer, step.options, now=step.now)
    return True


def _add_up_rates(step: Step, recovery: Recovery) -> None:
    """Add up what all sources deliver, now and then."""
    if recovery.swarm.total_rate and step.now - recovery.swarm.total_rate_ns < _RATES_EVERY_NS:
        return
    recovery.swarm.total_rate_ns = step.now
    recovery.swarm.total_rate = recovery.swarm.swarm_rate = 0.0
    for peer in step.state.sources():
        holding = peer.holding_of(recovery.digest)
        if holding is None or not may_be_asked(recovery, peer, now=step.now):
            continue
        recovery.swarm.total_rate += peer.link.rate.bytes_per_s
        if recovery.swarm.is_swarming and holding.is_growing:
            recovery.swarm.swarm_rate += peer.link.rate.bytes_per_s


def _order_offer(step: Step, offer: Offer, blocks: BlockRun) -> None:
    recovery, swarm = offer.recovery, offer.recovery.swarm
    recovery.coverage.unclaimed = recovery.coverage.unclaimed.without_run(blocks)
    is_growing = offer.peer.holdings[recovery.content.digest].is_growing
    if swarm.is_swarming and not is_growing:
        start = blocks.start
        if swarm.own_run is not None and swarm.own_run.end == start:
            start = swarm.own_run.start
        else:
            swarm.own_place = step.rng.random()
        swarm.own_run = BlockRun(start, blocks.end)
    criticality, is_express = offer.criticality, offer.is_express
    _order(step, recovery, offer.peer, blocks, criticality, is_express=is_express)


def _order(
    step: Step,
    recovery: Recovery,
    peer: Peer,
    blocks: BlockRun,
    criticality: Criticality,
    *,
    is_express: bool = False,
) -> Transfer:
    """Order a range on a lane to a source.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        peer: The source.
        blocks: Which range.
        criticality: As how urgent it is asked for.
        is_express: On the lane beside the others.
    """
    state = step.state
    lane = lane_for(step, recovery, peer, is_express=is_express)
    transfer = Transfer(
        TransferId(state.next_transfer),
        blocks,
        recovery.content.space.run_bytes(blocks),
        blocks.start,
        criticality,
        is_prompt=not lane.transfers,
        ordered_ns=step.now,
        is_proof=is_proof(recovery, peer, blocks.start),
        need=recovery.needs.first_need(BlockSet.single(blocks.start)),
    )
    state.next_transfer += 1
    state.transfers[transfer.id] = lane.id
    lane.transfers.append(transfer)
    if transfer.is_prompt:  # else the alarm is that of the first range, and stays
        lane.heard_ns, lane.has_body = step.now, False
        set_lane_alarm(step, lane)
    recovery.work.transfer_count += 1
    recovery.work.owed_bytes += transfer.size_bytes
    lane.link.outstanding_bytes += transfer.size_bytes
    lane.link.rate.begin(now=step.now)
    recovery.tally.rate.begin(now=step.now)
    step.order(
        FetchRange(
            transfer.id,
            recovery.id,
            recovery.content.digest,
            peer.path,
            lane.id,
            blocks,
            criticality,
        )
    )
    return transfer


def order_duplicate(
    step: Step,
    recovery: Recovery,
    peer: Peer,
    first: Transfer,
    blocks: BlockRun,
    *,
    is_express: bool = False,
) -> Transfer:
    """Ask a second source for what another one owes. The first to deliver wins.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        peer: The second source.
        first: What the other one was asked for.
        blocks: What of it the second one is asked for.
        is_express: On a lane beside its others.

    Returns:
        The duplicate.
    """
    criticality = first.criticality
    duplicate = _order(step, recovery, peer, blocks, criticality, is_express=is_express)
    first.is_hedged = duplicate.is_hedge = duplicate.is_hedged = True
    recovery.duplicates.count += 1
    return duplicate
