"""Who may be asked for what: predicates that decide nothing and change nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptd.core.options import Options
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.model.blocks import BlockSet


def servable(recovery: Recovery, peer: Peer) -> BlockSet:
    """Return the unclaimed blocks of a recovery that a source is to bring.

    It has them, did not send them wrongly, and they are not left to this node's own disks.
    """
    if peer.is_own:
        return recovery.to_order & recovery.coverage.nearby
    holding = peer.holding_of(recovery.digest)
    if holding is None:
        return BlockSet()
    blocks = recovery.to_order if holding.is_complete else recovery.to_order & holding.blocks
    if recovery.coverage.left_to_disks:
        blocks -= recovery.coverage.left_to_disks
    refused = recovery.refused.get(peer.origin)
    return blocks - refused if refused else blocks


def claimed(recovery: Recovery, source: Peer) -> BlockSet:
    """Return the blocks that a source says it has and did not send wrongly.

    What this node's disks have depends on the recovery: each has other blocks nearby.
    """
    if source.is_own:
        return recovery.coverage.nearby
    holding = source.holding_of(recovery.digest)
    if holding is None:
        return BlockSet()
    return holding.blocks - recovery.refused.get(source.origin, BlockSet())


def has_room(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> bool:
    """Return whether a peer may be given another range of a recovery now.

    Args:
        recovery: Which recovery.
        peer: The source.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    bundle = recovery.work.bundles.get(peer.path)
    lane = None if bundle is None else lane_with_room(bundle, options)
    if bundle is not None and lane is None and bundle.usual_count >= bundle.width:
        return False
    if not may_be_asked(recovery, peer, now=now):
        return False
    if is_busy_before_proof(recovery, peer):
        return False
    is_idle = lane is not None and not lane.transfers
    return is_idle or peer.link.queue_time_ns(options) < options.ranges.window_ns


def has_express_room(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> bool:
    """Return whether a peer may be asked at once for what somebody waits for, beside other work.

    Not in the background, where nobody is in a hurry, and not of a source that failed last.

    Args:
        recovery: Which recovery.
        peer: The source.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    bundle = recovery.work.bundles.get(peer.path)
    if bundle is None or peer.is_own or recovery.is_background or peer.link.failures:
        return False
    lane = bundle.express
    is_full = lane is not None and not takes_another(lane, options)
    return not is_full and may_be_asked(recovery, peer, now=now) and not must_prove(recovery, peer)


def is_held_up_by_others(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> bool:
    """Return whether what somebody waits for would wait at a peer for what others want.

    Args:
        recovery: Which recovery.
        peer: The source.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    bundle = recovery.work.bundles.get(peer.path)
    lanes = [] if bundle is None else [lane for lane in bundle.lanes if not lane.is_express]
    if bundle is not None and has_room(recovery, peer, options, now=now):
        if len(lanes) < bundle.width:
            return False
        best = lane_with_room(bundle, options)
        lanes = [] if best is None else [best]
    need = recovery.needs.first_need(servable(recovery, peer))
    return any(known.need != need for lane in lanes for known in lane.transfers)


def must_prove(recovery: Recovery, peer: Peer) -> bool:
    """Return whether a peer is asked for one block at a time.

    That is so while it claims a unit that it sent wrongly and was not blamed for, and has not
    shown that it is right again.
    """
    doubts = peer.standing.doubts.get(recovery.content.digest)
    if doubts is None:
        return False
    bundle = recovery.work.bundles.get(peer.path)
    is_under_way = bundle is not None and any(
        transfer.is_proof for lane in bundle.lanes for transfer in lane.transfers
    )
    return is_under_way or servable(recovery, peer).meets(doubts.unproven)


def is_busy_before_proof(recovery: Recovery, peer: Peer) -> bool:
    """Return whether a peer that is asked for one block at a time has work."""
    if recovery.content.digest not in peer.standing.doubts:  # as nearly always
        return False
    bundle = recovery.work.bundles.get(peer.path)
    return bundle is not None and bundle.active_count > 0 and must_prove(recovery, peer)


def is_proof(recovery: Recovery, peer: Peer, block: int) -> bool:
    """Return whether a peer shows with a block that the unit of it is right again."""
    doubts = peer.standing.doubts.get(recovery.content.digest)
    return doubts is not None and block in doubts.unproven


def lane_with_room(bundle: Bundle, options: Options) -> Lane | None:
    """Return the lane that should take another range, of those there are; ``None`` if none can.

    A second range is only worth ordering once the first one has shown that the lane works.
    """
    best: Lane | None = None
    for lane in bundle.lanes:
        count, is_full = len(lane.transfers), not takes_another(lane, options)
        if is_full or lane.is_closing or lane.is_surplus or lane.is_express:
            continue
        if best is None or count < len(best.transfers):
            best = lane
    return best


def takes_another(lane: Lane, options: Options) -> bool:
    """Return whether a lane may have another range under way."""
    count = len(lane.transfers)
    return count < options.lanes.ranges_per_lane and (not count or lane.has_body)


def may_be_asked(recovery: Recovery, peer: Peer, *, now: int) -> bool:
    """Return whether a peer is there, does not rest, and stands by what it holds."""
    is_resting = peer.usable_at_ns > now
    return peer.is_live and not is_resting and recovery.digest not in peer.standing.questioned


def holders(recovery: Recovery, peers: Iterable[Peer], blocks: BlockSet) -> Iterator[Peer]:
    """Yield the live peers that have any of these blocks and did not send them wrongly."""
    return (peer for peer in peers if holds_any(recovery, peer, blocks))


def holds(recovery: Recovery, peer: Peer, block: int) -> bool:
    """Return whether a live peer has a block and did not send it wrongly."""
    if peer.is_own:
        return block in recovery.coverage.nearby
    holding = peer.holding_of(recovery.digest) if peer.is_live else None
    if holding is None or not (holding.is_complete or block in holding.blocks):
        return False
    refused = recovery.refused.get(peer.origin)
    return refused is None or block not in refused


def holds_any(recovery: Recovery, peer: Peer, blocks: BlockSet) -> bool:
    """Return whether a live peer has any of these blocks and did not send them wrongly."""
    if peer.is_own:
        return blocks.meets(recovery.coverage.nearby)
    holding = peer.holding_of(recovery.digest) if peer.is_live else None
    if holding is None:
        return False
    refused = recovery.refused.get(peer.origin)
    wanted = blocks - refused if refused else blocks
    return bool(wanted) if holding.is_complete else wanted.meets(holding.blocks)
