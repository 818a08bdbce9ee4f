"""Ranges in flight: crediting what they bring, noticing that they are late."""

from __future__ import annotations

from typing import Final

from ckptd.core.events import RangeEnded, RangeProgressed
from ckptd.core.explain import narration
from ckptd.core.peers.blame import accuse, accuse_late, give_second_chances, proved
from ckptd.core.peers.claims import count_sources
from ckptd.core.ranges.hedging import find_hedge, losers
from ckptd.core.ranges.lane_trials import begin_with_two, give_trial_up, widen_for_coding
from ckptd.core.ranges.lanes import (
    is_held_up_here,
    narrow,
    reset_lane_alarms,
    set_alarms_to,
    set_lane_alarm,
)
from ckptd.core.ranges.needing import note_arrival
from ckptd.core.ranges.ordering import order_duplicate
from ckptd.core.ranges.own_disks import note_unusable
from ckptd.core.ranges.phases import is_phase_verified
from ckptd.core.state.deadlines import hedge_after_ns, lane_patience_ns
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import NodeHandler, Step
from ckptd.limits import COPIED_PER_FETCHED
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS, PathId, TransferId
from ckptd.model.words import CloseReason, RangeOutcome, StoryReason, WasteReason

_LANE_ENDS = frozenset(
    {
        RangeOutcome.DISCONNECTED,
        RangeOutcome.UNREACHABLE,
        RangeOutcome.MISBEHAVED,
        RangeOutcome.SPOILED,
        RangeOutcome.TURNED_AWAY,
        RangeOutcome.CLOSED,
        RangeOutcome.STORE_FAILED,
    }
)
"""Outcomes after which the connection is gone."""

_GIVEN_UP = frozenset({RangeOutcome.SPOILED, RangeOutcome.CLOSED})
"""Outcomes after which the lane was not lost: this node ended it, and can have another one."""

_OF_LANE = frozenset(
    {
        RangeOutcome.BUSY,
        RangeOutcome.DISCONNECTED,
        RangeOutcome.UNREACHABLE,
        RangeOutcome.TURNED_AWAY,
    }
)
"""Outcomes that say nothing of a source if the lane was one more than it needs."""


def on_range_progressed(step: Step, event: RangeProgressed) -> None:
    """Credit what came: blocks to the recovery, bytes and time to the link."""
    lane, transfer = _find(step, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = step.state.recoveries[lane.recovery]
    new_bytes = event.received_bytes - transfer.received_bytes
    if new_bytes > 0:
        _hear(step, recovery, lane, transfer, new_bytes)
    lane.link.heard_load(event.source_load_bytes)
    transfer.received_bytes = event.received_bytes
    if event.is_held_back:  # whatever the source does, it could not be heard
        lane.heard_ns = step.now
        set_lane_alarm(step, lane)
    assert transfer.next_block <= event.next_block <= transfer.blocks.end
    if event.next_block > transfer.next_block:
        dealt_with = BlockRun(transfer.next_block, event.next_block)
        transfer.next_block = event.next_block
        _credit(step, recovery, lane, transfer, dealt_with, event.rejected)


def _hear(step: Step, recovery: Recovery, lane: Lane, transfer: Transfer, new_bytes: int) -> None:
    """Note a sign of life and what it says about the link."""
    link, since_ns = lane.link, step.now - lane.heard_ns
    if lane.has_body:
        link.heard_again(since_ns)
    elif transfer.is_prompt:
        link.heard_first_byte(since_ns)
        step.state.first_bytes.add(since_ns)
    lane.has_body = True
    lane.heard_ns = step.now
    recovery.work.owed_bytes -= new_bytes
    if lane.source != OWN_DISKS:
        recovery.tally.received_bytes += new_bytes
    recovery.tally.rate.add(new_bytes, now=step.now)
    link.outstanding_bytes -= new_bytes
    link.rate.add(new_bytes, now=step.now)
    recovery.work.bundles[lane.source].received_bytes += new_bytes
    step.note_room(lane.source)
    if recovery.work.is_held_up:
        reset_lane_alarms(step, recovery)
    else:
        set_lane_alarm(step, lane)


def _credit(
    step: Step,
    recovery: Recovery,
    lane: Lane,
    transfer: Transfer,
    run: BlockRun,
    rejected: tuple[int, ...],
) -> None:
    """Take over a run of blocks that was verified, but for the rejected ones."""
    content, right = recovery.content, BlockSet.of_run(run)
    space, has_phases = content.space, recovery.phasing.has_several
    if rejected:
        bad = BlockSet((block, block + 1) for block in rejected)
        right -= bad
        _note_bad(step, recovery, lane, transfer, bad)
    if transfer.is_proof and right:
        proved(step, lane, recovery, run.start)
    new = right - recovery.coverage.verified if right.meets(recovery.coverage.verified) else right
    run_bytes = space.run_bytes(run)
    transfer.credited_bytes += run_bytes
    if new is not right:
        why = narration.why_wasted(lane, transfer, WasteReason.DUPLICATE)
        _waste(recovery, lane, why, space.set_bytes(right) - space.set_bytes(new))
    if not new:
        return
    good_bytes = space.set_bytes(new) if rejected or new is not right else run_bytes
    recovery.coverage.verified |= new
    recovery.commit.blocks |= new
    if recovery.needs.open or recovery.needs.readers:
        note_arrival(step, recovery, new)
    critical = recovery.critical_now if has_phases else content.critical
    if recovery.coverage.prioritized.meets(new):
        recovery.commit.is_urgent = True
        recovery.coverage.prioritized -= new
    elif (critical.meets(new) and critical.issubset(recovery.coverage.verified)) or (
        has_phases and is_phase_verified(recovery, run.start)
    ):
        recovery.commit.is_urgent = True  # only what is durable counts as complete
    is_copied = lane.source == OWN_DISKS
    recovery.commit.size_bytes += good_bytes // COPIED_PER_FETCHED if is_copied else good_bytes
    recovery.tally.source_bytes[lane.source] = (
        recovery.tally.source_bytes.get(lane.source, 0) + good_bytes
    )
    if recovery.commit.since_ns is None:
        recovery.commit.since_ns = step.now


def _note_bad(
    step: Step, recovery: Recovery, lane: Lane, transfer: Transfer, bad: BlockSet
) -> None:
    """Let somebody else be asked for blocks that were wrong, and find out who is to blame."""
    transfer.is_spoiled = True
    recovery.coverage.unclaimed |= bad - recovery.coverage.verified - _owed(recovery)
    step.note_room_everywhere()
    if lane.source == OWN_DISKS:
        narration.report_bad_blocks(step, recovery, OWN_DISKS, bad)
        note_unusable(step.state, recovery, bad)
        return
    recovery.tally.waste.add(WasteReason.CORRUPT, recovery.content.space.set_bytes(bad))
    recovery.tally.bad_blocks += len(bad)
    narration.report_bad_blocks(step, recovery, lane.source, bad)
    peer = step.state.source(lane.source)
    if lane.link is peer.link:
        accuse(step, peer, recovery, bad, is_proof=transfer.is_proof)
    else:  # a life sent them that is over
        accuse_late(step, lane.origin, recovery, bad)


def _waste(recovery: Recovery, lane: Lane, why: WasteReason, size_bytes: int) -> None:
    """Count bytes that were of no use; what this node's disks brought did not travel."""
    if lane.source != OWN_DISKS:
        recovery.tally.waste.add(why, size_bytes)


def on_range_ended(step: Step, event: RangeEnded) -> None:
    """Close the books of a transfer and give what it still owed to others."""
    lane, transfer = _find(step, event.transfer)
    if lane is None or transfer is None:
        return
    recovery = step.state.recoveries[lane.recovery]
    was_first = lane.transfers[0] is transfer
    lane.transfers.remove(transfer)
    recovery.work.transfer_count -= 1
    step.note_room(lane.source)
    del step.state.transfers[transfer.id]
    recovery.work.owed_bytes -= transfer.size_bytes - transfer.received_bytes
    lane.link.outstanding_bytes -= transfer.size_bytes - transfer.received_bytes
    if transfer.received_bytes > transfer.credited_bytes:
        why = narration.why_wasted(lane, transfer, WasteReason.CANCELLED)
        _waste(recovery, lane, why, transfer.received_bytes - transfer.credited_bytes)
    if transfer.next_block < transfer.blocks.end:
        owed = BlockSet(((transfer.next_block, transfer.blocks.end),))
        recovery.coverage.unclaimed |= owed - recovery.coverage.verified - _owed(recovery)
        step.note_room_everywhere()
    if event.outcome is RangeOutcome.NOT_HELD and lane.source == OWN_DISKS:
        gone = BlockSet(((transfer.next_block, transfer.blocks.end),))
        note_unusable(step.state, recovery, gone)
    if was_first and lane.transfers:
        lane.heard_ns, lane.has_body = step.now, False
    if not lane.link.outstanding_bytes:
        lane.link.rested(now=step.now)
    if not recovery.work.transfer_count:
        recovery.tally.rate.pause(now=step.now)
    if (lane.is_on_trial or lane.is_surplus) and event.outcome in _OF_LANE:
        if lane.is_on_trial:
            give_trial_up(step, narration.REASONS[event.outcome])
    elif not lane.is_closing:
        _judge(step, lane, transfer, event)
    if recovery.refused and not _is_anybody_asked(step, recovery):
        give_second_chances(step)  # who is refused may be all that is left for what comes back
    for loser in list(losers(recovery)):
        narration.report_settled(step, lane, loser)
        step.close_lane(loser, CloseReason.REDUNDANT)
    set_alarms_to(step, lane.source)
    _end_lane(step, recovery, lane, event.outcome)


def _is_anybody_asked(step: Step, recovery: Recovery) -> bool:
    """Return whether a source is to say if it stands by bad blocks; more is known then."""
    return any(recovery.digest in peer.standing.questioned for peer in step.state.sources())


def _end_lane(step: Step, recovery: Recovery, lane: Lane, outcome: RangeOutcome) -> None:
    """Close a lane whose connection is gone, or that is one too many and has no work."""
    if outcome in _LANE_ENDS:
        if outcome not in _GIVEN_UP:
            narrow(recovery, lane)
        step.close_lane(lane, CloseReason.FAILED)
    elif lane.is_surplus and not lane.transfers:
        step.close_lane(lane, CloseReason.SURPLUS)
    step.forget_if_done(lane)


def _judge(step: Step, lane: Lane, transfer: Transfer, event: RangeEnded) -> None:
    """Draw conclusions about the source from how a transfer ended."""
    recovery = step.state.recoveries[lane.recovery]
    standing = step.state.source(lane.source).standing
    match event.outcome:
        case RangeOutcome.DELIVERED:
            lane.link.succeeded()
            if not transfer.is_spoiled:
                standing.vouch(step.options)
            if not lane.has_delivered:
                lane.has_delivered = True
                begin_with_two(step, recovery, lane)
            if event.is_coded:
                widen_for_coding(step, recovery, lane)
            return
        case RangeOutcome.NOT_HELD if lane.source == OWN_DISKS:
            return
        case RangeOutcome.NOT_HELD:
            _withdraw(step, recovery, lane.source, transfer)
            narration.report_withdrawn(step, recovery, lane.source)
            count_sources(step)
        case RangeOutcome.BUSY | RangeOutcome.TURNED_AWAY:
            lane.link.refused(
                step.options, step.rng, now=step.now, at_least_ns=event.retry_after_ns
            )
        case RangeOutcome.MISBEHAVED:
            lane.link.failed(step.options, step.rng, now=step.now)
            standing.blame(step.options.trust.per_bad_block, step.options, now=step.now)
        case RangeOutcome.DISCONNECTED | RangeOutcome.UNREACHABLE:
            lane.link.failed(step.options, step.rng, now=step.now)
        case RangeOutcome.STORE_FAILED:
            assert event.refusal is not None
            recovery.local.refusals.append(event.refusal)
        case RangeOutcome.SPOILED | RangeOutcome.CLOSED:
            pass
    if event.outcome in narration.REASONS:
        narration.report_pause(step, recovery, lane.source, narration.REASONS[event.outcome])
    step.rest(lane.source)


def _withdraw(step: Step, recovery: Recovery, path: PathId, transfer: Transfer) -> None:
    """Rely on a source no more for the units of a range that it does not have.

    Unless it said since what it has: of a range that lacks one block nothing is sent, and units
    beside that one would be lost until it says something again.
    """
    space, run, peer = recovery.content.space, transfer.blocks, step.state.source(path)
    if transfer.ordered_ns < peer.claimed_ns:
        return
    first, last = space.unit_of(run.start), space.unit_of(run.end - 1)
    units = BlockSet.of_run((space.unit_run(first)[0], space.unit_run(last)[1]))
    peer.withdraw(recovery.content.digest, units)


def close_late_lanes(step: Step) -> None:
    """Close lanes that are silent too long, and lanes that have had no work for long."""
    for lane_id in step.state.lane_alarms.take_due(step.now):
        lane = step.state.lanes[lane_id]
        if not lane.transfers:
            step.close_lane(lane, CloseReason.IDLE)
        elif step.now < lane.heard_ns + lane_patience_ns(lane, step.options):
            _hedge(step, lane)
        elif not is_held_up_here(step, lane):
            _give_lane_up(step, lane)


def _give_lane_up(step: Step, lane: Lane) -> None:
    """Close a lane that is late; it is its source that is late, unless another lane delivers."""
    allowed_ns = lane_patience_ns(lane, step.options)
    recovery = step.state.recoveries[lane.recovery]
    bundle = recovery.work.bundles[lane.source]
    if not lane.has_body:
        step.state.first_bytes.add(step.now - lane.heard_ns)
    if lane.is_on_trial:
        give_trial_up(step, StoryReason.SILENT if lane.has_body else StoryReason.FIRST_BYTE_LATE)
    elif not any(other.heard_ns > lane.heard_ns + allowed_ns // 2 for other in bundle.lanes):
        lane.link.failed(step.options, step.rng, now=step.now)
        narration.report_late(step, lane, allowed_ns)
    narrow(recovery, lane)
    step.close_lane(lane, CloseReason.SILENT)
    step.rest(lane.source)


def _hedge(step: Step, lane: Lane) -> None:
    """Ask a second source for what a lane is late with; once for each range."""
    recovery = step.state.recoveries[lane.recovery]
    late = lane.transfers[0]
    after_ns = hedge_after_ns(step.state, lane, step.options)
    if after_ns is None or step.now < lane.heard_ns + after_ns:
        set_lane_alarm(step, lane)  # patience grew since it was set
        return
    late.is_hedged = True
    found = find_hedge(step, lane)
    if found is not None and recovery.is_fetching:
        peer, blocks = found
        hedge = order_duplicate(step, recovery, peer, late, blocks)
        recovery.duplicates.hedged_bytes += hedge.size_bytes
        narration.report_hedge(step, lane, hedge, peer.path, after_ns)
    set_lane_alarm(step, lane)


def _owed(recovery: Recovery) -> BlockSet:
    """Return what all transfers in flight still owe."""
    return BlockSet(
        (known.next_block, known.blocks.end)
        for lane in recovery.work.lanes.values()
        for known in lane.transfers
        if known.next_block < known.blocks.end
    )


def _find(step: Step, transfer: TransferId) -> tuple[Lane | None, Transfer | None]:
    """Return a transfer and its lane; ``None`` for one that ended already."""
    lane_id = step.state.transfers.get(transfer)
    if lane_id is None:
        return None, None
    lane = step.state.lanes[lane_id]
    for known in lane.transfers:
        if known.id == transfer:
            return lane, known
    raise AssertionError(f"transfer {transfer} is not one of lane {lane_id}")


HANDLERS: Final = (
    NodeHandler(RangeProgressed, on_range_progressed),
    NodeHandler(RangeEnded, on_range_ended),
)
"""What is taken in here."""
