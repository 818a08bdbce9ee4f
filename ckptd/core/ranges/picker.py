"""Which range is asked for next, and from whom.

The rule, in the order in which it decides: recoveries in the background last; the most urgent
block that a source with room can serve; the recovery that came first; the source that would get
to it soonest. Of one recovery, blocks that somebody waits for go before all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ckptd.core.options import Options
from ckptd.core.state.lane import Bundle, Lane
from ckptd.core.state.recovery import Peer, Recovery
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality


@dataclass(frozen=True, slots=True, order=True)
class Offer:
    """A source with room and the most urgent run of blocks it can serve.

    Attributes:
        rank: What decides between offers; the lowest goes first.
        recovery: For which recovery.
        peer: The source.
        run: The blocks, not yet cut to the size of a range.
        criticality: As how urgent they are asked for.
    """

    rank: tuple[bool, Criticality, int, int, NodeId, int]
    recovery: Recovery = field(compare=False)
    peer: Peer = field(compare=False)
    run: BlockRun = field(compare=False)
    criticality: Criticality = field(compare=False)


def find_offer(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> Offer | None:
    """Return what a peer can do for a recovery now; ``None`` if nothing.

    Of offers that are equally urgent the one goes first whose first megabyte would be here
    first: what the source has to do already counts, and how long this takes it.
    """
    if not has_room(recovery, peer, options, now=now):
        return None
    run = preferred_run(recovery, peer)
    if run is None:
        return None
    criticality = recovery.criticality_of(run.start)
    soon_ns = peer.link.expected_ns(options.range_bytes_min, options)
    is_last = recovery.is_background
    rank = (is_last, criticality, recovery.sequence, soon_ns, peer.node, run.start)
    return Offer(rank, recovery, peer, run, Criticality.DEFERRED if is_last else criticality)


def preferred_run(recovery: Recovery, peer: Peer) -> BlockRun | None:
    """Return where a peer should go on: in the most urgent class that it can serve.

    What somebody waits for is taken in order, and a run of it ends where it ends. Else a
    recovery that is alone takes a class in order. Nodes that recover together each begin at
    another place of what is left and go on from there, with what the fewest other receivers have:
    so the first copies spread, and no block is left in the end that few can serve to many.

    One of several sources that failed last is tried with one block, the last of those:
    others come to it when everything else is done, and nothing before it waits for the trial.

    Source: Syncthing's block pull order (own run first); rarest first after B. Cohen,
    *Incentives Build Robustness in BitTorrent* (2003).
    """
    blocks = servable(recovery, peer)
    is_trial = peer.link.failures > 0 and recovery.source_count > 1
    if recovery.raised and (raised := blocks & recovery.raised):
        return _last_block(raised) if is_trial else raised.first_run()
    first = blocks.first_run()
    if first is None or not (is_trial or recovery.is_swarming):
        return first
    blocks = blocks.within(*recovery.class_of(first.start))
    if is_trial:
        return _last_block(blocks)
    assert recovery.digest is not None
    is_complete = peer.holdings[recovery.digest].is_complete
    blocks = recovery.spread.rarest_of(blocks, at_least=0 if is_complete else 1)
    if recovery.own_block in blocks:
        return blocks.first_run(recovery.own_block)
    return blocks.first_run(blocks.nth(int(recovery.own_place * len(blocks))))


def is_left_to_others(recovery: Recovery, offer: Offer, options: Options, *, now: int) -> bool:
    """Tell whether a range that a complete source offers is left to other receivers that have it.

    Else every receiver would fetch the end of a version from the one source that all share.
    Together those others must be as fast as the source, and one of them at work. Nodes that have
    a part of the version and get no more of it share the source with nobody.
    """
    assert recovery.digest is not None
    return (
        recovery.is_swarming
        and recovery.spread_grew_ns is not None
        and now - recovery.spread_grew_ns < options.commit_age_ns
        and recovery.in_flight > 0
        and offer.peer.holdings[recovery.digest].is_complete
        and offer.run.start in recovery.spread
        and offer.run.start not in recovery.raised
        and recovery.swarm_rate >= offer.peer.link.rate.bytes_per_s
    )


def _last_block(blocks: BlockSet) -> BlockRun:
    return BlockRun(blocks.last_block, blocks.last_block + 1)


def is_detour(
    recovery: Recovery,
    peer: Peer,
    blocks: BlockRun,
    peers: Iterable[Peer],
    options: Options,
    *,
    now: int,
) -> bool:
    """Tell whether a peer would hold up the end with some blocks: others would be done sooner.

    Only others count that may be asked: a recovery never stands still for one that rests.
    """
    space = recovery.known_space()
    size_bytes = space.run_bytes(blocks)
    expected_ns = peer.link.expected_ns(size_bytes, options)
    if recovery.total_rate <= 0 or expected_ns <= options.steal_floor_ns:
        return False
    left_bytes = space.size_bytes * len(recovery.unclaimed) // space.block_count
    rest_ns = int((left_bytes + recovery.owed_bytes) * SECOND / recovery.total_rate)
    if expected_ns <= options.detour_ratio * rest_ns:
        return False
    return any(
        other.link.rate.bytes_per_s
        and other.link.expected_ns(size_bytes, options) < expected_ns
        and may_be_asked(recovery, other, now=now)
        and _holds(recovery, other, blocks.start)
        for other in peers
    )


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
    bundle = recovery.bundles.get(peer.node)
    lane = None if bundle is None else lane_with_room(bundle, options)
    if bundle is not None and lane is None and len(bundle.lanes) >= bundle.width:
        return False
    if not may_be_asked(recovery, peer, now=now):
        return False
    is_idle = lane is not None and not lane.transfers
    return is_idle or peer.link.queue_time_ns(options) < options.window_ns


def lane_with_room(bundle: Bundle, options: Options) -> Lane | None:
    """Return the lane that should take another range, of those there are; ``None`` if none can.

    A second range is only worth ordering once the first one has shown that the lane works.
    """
    best: Lane | None = None
    for lane in bundle.lanes:
        count = len(lane.transfers)
        is_full = count >= options.ranges_per_lane or (count > 0 and not lane.has_body)
        if is_full or lane.is_closing or lane.is_surplus:
            continue
        if best is None or count < len(best.transfers):
            best = lane
    return best


def may_be_asked(recovery: Recovery, peer: Peer, *, now: int) -> bool:
    """Tell whether a peer is there, does not rest, and stands by what it holds."""
    is_resting = peer.link.usable_at_ns > now
    return peer.is_live and not is_resting and recovery.digest not in peer.questioned


def holders(recovery: Recovery, peers: Iterable[Peer], blocks: BlockSet) -> Iterator[Peer]:
    """Yield the live peers that have any of these blocks and did not send them wrongly."""
    return (peer for peer in peers if holds_any(recovery, peer, blocks))


def _holds(recovery: Recovery, peer: Peer, block: int) -> bool:
    """Tell whether a live peer has a block and did not send it wrongly."""
    assert recovery.digest is not None
    holding = peer.holdings.get(recovery.digest) if peer.is_live else None
    if holding is None or not (holding.is_complete or block in holding.blocks):
        return False
    refused = recovery.refused.get(peer.node)
    return refused is None or block not in refused


def holds_any(recovery: Recovery, peer: Peer, blocks: BlockSet) -> bool:
    """Tell whether a live peer has any of these blocks and did not send them wrongly."""
    assert recovery.digest is not None
    holding = peer.holdings.get(recovery.digest) if peer.is_live else None
    if holding is None:
        return False
    refused = recovery.refused.get(peer.node)
    wanted = blocks - refused if refused else blocks
    return bool(wanted) if holding.is_complete else wanted.meets(holding.blocks)


def cut(recovery: Recovery, run: BlockRun, peer: Peer, options: Options) -> BlockRun:
    """Cut a run to the size of one range.

    A range is what a lane to the source delivers in a quarter of a second. Toward the end of a
    class it is the part of what is left of it that the source has of all rates, so that all
    sources finish together. It never crosses into another criticality, so that a request is as
    urgent as it says.
    """
    space, start = recovery.known_space(), run.start
    own_class = recovery.class_of(start)
    left_count = recovery.unclaimed.count_within(*own_class)
    left_bytes = space.size_bytes * left_count // space.block_count
    bundle, rate = recovery.bundles.get(peer.node), peer.link.rate.bytes_per_s
    width = 1 if bundle is None else bundle.width
    if rate and recovery.total_rate:
        part = min(rate / recovery.total_rate, 1.0) / width
    else:
        part = 1 / max(recovery.source_count, len(recovery.lanes), 1)
    share = int(left_bytes * part) // options.ranges_per_lane
    usual = peer.link.range_bytes(options) // width
    size_bytes = min(usual, max(share, options.range_bytes_min))
    return BlockRun(start, min(run.end, own_class.end, space.run_within(start, size_bytes).end))
