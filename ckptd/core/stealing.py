"""Taking work away from slow sources when others have none left.

Without it a recovery ends when its slowest source does. What was verified stays; what is lost
is the block that was half here. Hysteresis keeps two sources from taking work from each other.

Source: big-block-sync (iroh) cancels a source four times slower than the best free one; rqbit
three to ten times.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.effects import CloseReason
from ckptd.core.picker import has_room, holds_any
from ckptd.core.state import Lane, Peer, Recovery
from ckptd.core.turn import Turn
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet


def steal(turn: Turn) -> None:
    """Close lanes whose work idle sources would do in a fraction of the time."""
    for recovery in turn.state.recoveries.values():
        if not recovery.is_fetching or recovery.unclaimed or not recovery.in_flight:
            continue
        for thief in list(_idle(turn, recovery)):
            lane = _slowest(turn, recovery, thief)
            if lane is not None:
                turn.close_lane(lane, CloseReason.STOLEN)


def _idle(turn: Turn, recovery: Recovery) -> Iterator[Peer]:
    """Yield the sources that could begin at once and are known to be quick or slow."""
    for node, peer in turn.state.peers.items():
        lane = recovery.lanes.get(node)
        is_idle = lane is None or not lane.transfers
        is_known = peer.link.rate.bytes_per_s > 0 and not peer.link.outstanding_bytes
        if is_idle and is_known and has_room(recovery, peer, turn.options, now=turn.now):
            yield peer


def _slowest(turn: Turn, recovery: Recovery, thief: Peer) -> Lane | None:
    """Return the lane that needs longest, if it needs several times what the thief would."""
    slowest: tuple[int, Lane] | None = None
    for lane in recovery.lanes.values():
        rate = lane.link.rate.bytes_per_s
        owed_bytes = sum(known.size_bytes - known.received_bytes for known in lane.transfers)
        if lane.is_closing or not rate or not owed_bytes:
            continue
        needs_ns = int(owed_bytes * SECOND / rate)
        thief_needs_ns = int(owed_bytes * SECOND / thief.link.rate.bytes_per_s)
        if needs_ns <= max(turn.options.steal_floor_ns, turn.options.steal_ratio * thief_needs_ns):
            continue
        owed = BlockSet(
            (known.next_block, known.blocks.end)
            for known in lane.transfers
            if known.next_block < known.blocks.end
        )
        if (slowest is None or needs_ns > slowest[0]) and holds_any(recovery, thief, owed):
            slowest = (needs_ns, lane)
    return None if slowest is None else slowest[1]
