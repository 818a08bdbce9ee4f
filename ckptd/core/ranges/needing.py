"""Ranges that somebody waits for: they jump the queue, and readers are fetched ahead of."""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import WakeReader
from ckptd.core.events import NeedEnded, RangeNeeded
from ckptd.core.options import NeedOptions
from ckptd.core.ranges.hedging import is_within_budget
from ckptd.core.ranges.lanes import set_lane_alarm
from ckptd.core.ranges.ordering import order_duplicate
from ckptd.core.state.eligibility import has_express_room, has_room, holds
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.needs import Need
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality


def on_range_needed(step: Step, recovery: Recovery, event: RangeNeeded) -> None:
    """Let the first blocks of a range go before everything, and fetch ahead of its reader.

    Ranges under way with any of them count as critical from here on, so that a source that is
    late with them is not waited for. What must be visible before the unit goes first of the rest.
    """
    options, needs = step.options.needs, recovery.needs
    if recovery.described is None:
        return  # the version was given up in this moment; whoever waits looks again
    space, before = recovery.content.space, needs.open.get(event.need)
    if before is None and len(needs.open) >= options.at_once_max:
        return
    if before is not None and _is_enough(recovery, before, options):
        return  # so that ranges are not asked for piece by piece
    asked = asked_blocks(space, event, options)
    end = min(event.end, event.start + options.ahead_bytes_max)
    rest = _blocks(space, event.unit, event.start, end) - asked
    needs.open[event.need] = Need(asked, rest)
    if event.reader and before is None:
        reader = needs.of_reader(event.reader, event.unit, options)
        ahead_end = reader.ahead.note(event.start, event.end, options)
        reader.blocks = _blocks(space, event.unit, event.end, ahead_end)
    if prerequisites := space.prerequisites_of(asked):
        recovery.coverage.awaited |= prerequisites
        recovery.coverage.prioritized = recovery.coverage.awaited - recovery.coverage.verified
    settle_needs(recovery)
    step.note_room_everywhere()
    if recovery.is_background:
        return
    for lane in recovery.work.lanes.values():
        for known in lane.transfers:
            if BlockSet.of_run(known.blocks).meets(recovery.coverage.needed):
                known.criticality = Criticality.CRITICAL
        set_lane_alarm(step, lane)
    first = (asked & recovery.coverage.needed).first_run()
    if first is not None and recovery.is_fetching:
        _hasten(step, recovery, first)


def _hasten(step: Step, recovery: Recovery, run: BlockRun) -> None:
    """Ask at once for what is under way already and would come late, behind other blocks.

    That is what a reader waits for now: a megabyte of it, or a block. It is a hedge, and spends
    the budget of those.
    """
    found = _owing(recovery, run.start)
    if found is None:
        return
    lane, owed, ahead_bytes = found
    space, options = recovery.content.space, step.options
    rate = recovery.work.rate_of(lane)
    if lane.source == OWN_DISKS or not rate:
        return
    late_ns = int(ahead_bytes * SECOND / rate)
    end = min(run.end, owed.blocks.end, space.run_within(run.start, options.ranges.bytes_min).end)
    blocks = BlockRun(run.start, end)
    peer = _sooner(step, recovery, blocks, late_ns) if late_ns > options.needs.late_ns else None
    size_bytes = space.run_bytes(blocks)
    if peer is None or not is_within_budget(recovery, size_bytes, options):
        return
    bundle = recovery.work.bundles.get(peer.path)
    is_express = bundle is not None and bundle.active_count > 0
    order_duplicate(step, recovery, peer, owed, blocks, is_express=is_express)
    recovery.duplicates.hedged_bytes += size_bytes


def _owing(recovery: Recovery, block: int) -> tuple[Lane, Transfer, int] | None:
    """Return who owes a block, and what comes before it there; ``None``: nobody does."""
    space = recovery.content.space
    for lane in recovery.work.lanes.values():
        ahead_bytes = 0
        for known in lane.transfers:
            if known.next_block <= block < known.blocks.end and not lane.is_closing:
                return lane, known, ahead_bytes + space.run_bytes((known.next_block, block))
            ahead_bytes += known.size_bytes - known.received_bytes
    return None


def _sooner(step: Step, recovery: Recovery, blocks: BlockRun, late_ns: int) -> Peer | None:
    """Return who brings blocks in half the time that they would take else; ``None``: nobody."""
    best: tuple[int, Peer] | None = None
    size_bytes = recovery.content.space.run_bytes(blocks)
    for peer in step.state.sources():
        link = peer.link
        if peer.is_own or not link.rate.bytes_per_s or not holds(recovery, peer, blocks.start):
            continue
        is_able = _able(step, recovery, peer)
        time_ns = 2 * (link.latency_ns or 0) + link.own_time_ns(
            link.load_bytes + size_bytes, step.options
        )
        if is_able and 2 * time_ns < late_ns and (best is None or time_ns < best[0]):
            best = time_ns, peer
    return None if best is None else best[1]


def _able(step: Step, recovery: Recovery, peer: Peer) -> bool:
    """Return whether a peer can begin with something at once."""
    if has_express_room(recovery, peer, step.options, now=step.now):
        return True
    is_idle = peer.path not in recovery.work.bundles
    return is_idle and has_room(recovery, peer, step.options, now=step.now)


def _is_enough(recovery: Recovery, need: Need, options: NeedOptions) -> bool:
    """Return whether at least half of what goes first of a range is still to come."""
    missing_bytes = recovery.content.space.set_bytes(need.asked & recovery.coverage.needed)
    return 2 * missing_bytes >= options.asked_bytes_max


def on_need_ended(step: Step, recovery: Recovery, event: NeedEnded) -> None:
    """Let a range that nobody waits for any more take its turn like all others."""
    if recovery.needs.open.pop(event.need, None) is not None:
        settle_needs(recovery)
        step.note_room_everywhere()


def settle_needs(recovery: Recovery) -> None:
    """Work out what is needed and not here, and what is to be fetched ahead."""
    coverage, needs = recovery.coverage, recovery.needs
    coverage.needed = needs.asked - coverage.verified
    coverage.ahead = needs.ahead - coverage.verified - coverage.needed


def note_arrival(step: Step, recovery: Recovery, new: BlockSet) -> None:
    """Wake those who wait for blocks that are here now."""
    coverage = recovery.coverage
    if coverage.ahead.meets(new):
        coverage.ahead -= new
    if not coverage.needed.meets(new):
        return
    coverage.needed -= new
    for name, need in recovery.needs.open.items():
        if need.asked.meets(new):
            step.order(WakeReader(recovery.id, name))


def wake_all(step: Step, recovery: Recovery) -> None:
    """Let all who wait look again: what is here was taken stock of."""
    settle_needs(recovery)
    for name in recovery.needs.open:
        step.order(WakeReader(recovery.id, name))


def asked_blocks(space: AddressSpace, event: RangeNeeded, options: NeedOptions) -> BlockSet:
    """Return the blocks of a range that go before everything; at least one if it has any."""
    end = min(event.end, event.start + options.asked_bytes_max)
    return _blocks(space, event.unit, event.start, end)


def _blocks(space: AddressSpace, unit: int, start: int, end: int) -> BlockSet:
    """Return the blocks of a unit in which bytes of a range lie, as far as the unit has them."""
    facts = space.manifest.units[unit]
    end = min(end, facts.size_bytes)
    if start >= end:
        return BlockSet()
    first, _ = space.unit_run(unit)
    grain_bytes = facts.block_size_bytes
    return BlockSet(((first + start // grain_bytes, first + (end - 1) // grain_bytes + 1),))


HANDLERS: Final = (
    RecoveryHandler(RangeNeeded, on_range_needed),
    RecoveryHandler(NeedEnded, on_need_ended),
)
"""What is taken in here."""
