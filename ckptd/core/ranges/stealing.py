"""Taking work away from slow sources when others have none left.

Without it a recovery ends when its slowest source does. What was verified stays; what is lost
is the block that was half here. Hysteresis keeps two sources from taking work from each other.
A source that lost work counts as slow as its latest sample says: the average is still falling,
and would give some of that work back.

Source: big-block-sync (iroh) cancels a source four times slower than the best free one; rqbit
three to ten times.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.explain.narration import report_steal
from ckptd.core.options import Options
from ckptd.core.ranges.own_disks import is_left_to
from ckptd.core.state.eligibility import has_room, holds_any
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import CloseReason


def steal(step: Step) -> None:
    """Close lanes whose work idle sources would do in a fraction of the time."""
    recoveries = step.state.recoveries.values()
    for recovery in recoveries:
        if recovery.to_order or not recovery.work.transfer_count or not recovery.is_fetching:
            continue
        if recovery.is_background and any(
            each.is_fetching and not each.is_background for each in recoveries
        ):
            continue  # what is taken from a slow source might not be given to the idle one
        late = _late(step, recovery)
        for thief in list(_idle(step, recovery)) if late else ():
            slowest = _slowest(step, recovery, thief, late)
            if slowest is not None:
                needs_ns, lane = slowest
                report_steal(step, lane, thief, needs_ns)
                lane.link.rate.believe_latest()
                step.close_lane(lane, CloseReason.STOLEN)


def _late(step: Step, recovery: Recovery) -> list[tuple[int, Lane]]:
    """Return the lanes whose work is worth taking, and how long each needs, slowest first."""
    late: list[tuple[int, Lane]] = []
    for lane in recovery.work.lanes.values():
        is_left = is_left_to(recovery, step.state.source(lane.source))
        if lane.is_closing or not lane.transfers or is_left:
            continue
        rate = recovery.work.rate_of(lane)
        needs_ns = _needs_ns(lane, rate, step.options, now=step.now)
        if needs_ns > step.options.stealing.floor_ns:
            late.append((needs_ns, lane))
    late.sort(key=_needed, reverse=True)
    return late


def _needed(late: tuple[int, Lane]) -> int:
    return late[0]


def _idle(step: Step, recovery: Recovery) -> Iterator[Peer]:
    """Yield the sources that could begin at once and are known to be quick or slow."""
    for peer in step.state.sources():
        bundle = recovery.work.bundles.get(peer.path)
        is_idle = bundle is None or not bundle.active_count
        is_known = peer.link.rate.bytes_per_s > 0 and not peer.link.outstanding_bytes
        if is_idle and is_known and has_room(recovery, peer, step.options, now=step.now):
            yield peer


def _slowest(
    step: Step, recovery: Recovery, thief: Peer, late: list[tuple[int, Lane]]
) -> tuple[int, Lane] | None:
    """Return the lane that needs longest, and how long, if the thief needs a fraction of it."""
    options = step.options
    for needs_ns, lane in late:
        owed_bytes = lane.owed_bytes
        thief_needs_ns = thief.link.expected_ns(owed_bytes, options)
        if lane.is_closing or not owed_bytes or needs_ns <= options.stealing.ratio * thief_needs_ns:
            continue
        owed = BlockSet(
            (known.next_block, known.blocks.end)
            for known in lane.transfers
            if known.next_block < known.blocks.end
        )
        if holds_any(recovery, thief, owed):
            return needs_ns, lane
    return None


def _needs_ns(lane: Lane, rate: float, options: Options, *, now: int) -> int:
    """Return how long a lane may still need for what it owes at some bytes a second.

    While a source that failed last has not answered, the patience with it counts as well.
    """
    needs_ns = int(lane.owed_bytes * SECOND / rate) if rate else 0
    if lane.link.failures and not lane.has_body:
        late_ns = lane.heard_ns + lane.link.first_byte_timeout_ns(options)
        needs_ns += max(late_ns - now, 0)
    return needs_ns
