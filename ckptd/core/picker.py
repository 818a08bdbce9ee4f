"""Which range is asked for next, and from whom.

The rule, in the order in which it decides: the most urgent block that a source with room can
serve; the recovery that came first; the source that would get to it soonest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckptd.core.options import Options
from ckptd.core.state import Peer, Recovery
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.manifest import Criticality


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """A source with room and the most urgent run of blocks it can serve.

    Attributes:
        rank: What decides between offers; the lowest goes first.
        recovery: For which recovery.
        peer: The source.
        run: The blocks, not yet cut to the size of a range.
        criticality: How urgent they are.
    """

    rank: tuple[Criticality, int, int, NodeId, int]
    recovery: Recovery = field(compare=False)
    peer: Peer = field(compare=False)
    run: BlockRun = field(compare=False)
    criticality: Criticality = field(compare=False)


def find_offer(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> Offer | None:
    """Return what a peer can do for a recovery now; ``None`` if nothing."""
    if not has_room(recovery, peer, options, now=now):
        return None
    run = servable(recovery, peer).first_run()
    if run is None:
        return None
    criticality = recovery.criticality_of(run.start)
    queue_time_ns = peer.link.queue_time_ns(options)
    rank = (criticality, recovery.sequence, queue_time_ns, peer.node, run.start)
    return Offer(rank, recovery, peer, run, criticality)


def servable(recovery: Recovery, peer: Peer) -> BlockSet:
    """Return the unclaimed blocks of a recovery that a peer has and has not sent wrongly."""
    assert recovery.digest is not None
    holding = peer.holdings.get(recovery.digest)
    if holding is None:
        return BlockSet()
    blocks = recovery.unclaimed if holding.is_complete else recovery.unclaimed & holding.blocks
    refused = recovery.refused.get(peer.node)
    return blocks - refused if refused else blocks


def has_room(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> bool:
    """Tell whether a peer may be given another range of a recovery now."""
    if not peer.is_live or peer.link.usable_at_ns > now or recovery.digest in peer.questioned:
        return False
    lane = recovery.lanes.get(peer.node)
    if lane is None:
        return peer.link.queue_time_ns(options) < options.window_ns
    if lane.is_closing or len(lane.transfers) >= options.ranges_per_lane:
        return False
    if not lane.transfers:
        return True
    # A second range is only worth ordering once the first one has shown that the lane works.
    return lane.has_body and peer.link.queue_time_ns(options) < options.window_ns


def holders(recovery: Recovery, peers: Iterable[Peer], blocks: BlockSet) -> Iterator[Peer]:
    """Yield the live peers that have any of these blocks and did not send them wrongly."""
    assert recovery.digest is not None
    for peer in peers:
        holding = peer.holdings.get(recovery.digest) if peer.is_live else None
        if holding is None:
            continue
        refused = recovery.refused.get(peer.node)
        wanted = blocks - refused if refused else blocks
        if wanted if holding.is_complete else wanted & holding.blocks:
            yield peer


def cut(recovery: Recovery, run: BlockRun, peer: Peer, options: Options) -> BlockRun:
    """Cut a run to the size of one range.

    A range is what the source delivers in a quarter of a second. Toward the end it is a fair
    share of what is left, so that all sources finish together. It never crosses into another
    criticality, so that a request is as urgent as it says.
    """
    space = recovery.known_space()
    left_bytes = space.size_bytes * len(recovery.unclaimed) // space.block_count
    share = left_bytes // (options.ranges_per_lane * max(recovery.source_count, 1))
    size_bytes = min(peer.link.range_bytes(options), max(share, options.range_bytes_min))
    end = min(run.end, recovery.class_ends[bisect_right(recovery.class_ends, run.start)])
    return BlockRun(run.start, min(end, space.run_within(run.start, size_bytes).end))
