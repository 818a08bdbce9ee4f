"""Which range is asked for next, and from whom.

The rule, in the order in which it decides: recoveries in the background last; the most urgent
block that a source with room can serve; the recovery that came first; the source that would get
to it soonest. Of one recovery, blocks that somebody waits for go before all others.
"""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.core.options import Options
from ckptd.core.ranges.phases import bytes_left
from ckptd.core.state.eligibility import (
    has_express_room,
    has_room,
    holds,
    is_held_up_by_others,
    may_be_asked,
    must_prove,
    servable,
)
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.words import Criticality


def find_offer(recovery: Recovery, peer: Peer, options: Options, *, now: int) -> Offer | None:
    """Return what a peer can do for a recovery now; ``None`` if nothing.

    Of offers that are equally urgent the one goes first whose first megabyte would be here
    first: what the source has to do already counts, and how long this takes it.

    Args:
        recovery: Which recovery.
        peer: The source.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    run, is_express = None, False
    if recovery.coverage.needed and has_express_room(recovery, peer, options, now=now):
        # Whoever waits does not wait behind what was asked of the source before.
        run, is_express = _first_needed(recovery, peer), True
    if run is None or not is_held_up_by_others(recovery, peer, options, now=now):
        is_express = False
        run = preferred_run(recovery, peer) if has_room(recovery, peer, options, now=now) else None
    if run is None:
        return None
    criticality = recovery.criticality_of(run.start)
    soon_ns = peer.link.expected_ns(options.ranges.bytes_min, options)
    is_last = recovery.is_background
    rank = (is_last, criticality, recovery.sequence, soon_ns, peer.path, run.start)
    asked_as = Criticality.DEFERRED if is_last else criticality
    return Offer(rank, recovery, peer, run, asked_as, is_express)


def _first_needed(recovery: Recovery, peer: Peer) -> BlockRun | None:
    """Return where a peer should go on with what is waited for; ``None``: it has none of that."""
    return recovery.needs.first_of(servable(recovery, peer)).first_run()


def preferred_run(recovery: Recovery, peer: Peer) -> BlockRun | None:
    """Return where a peer should go on: in the most urgent class that it can serve.

    What somebody waits for or will read next is taken in order, and a run of it ends where it ends.
    Else a recovery that is alone takes a class in order. Nodes that recover together each begin
    each class at another place of what is left of it and go on from there, with what the fewest
    other receivers have: so the first copies spread, and no block is left in the end that few can
    serve to many.

    A source that has to show that a unit is right again is asked for one block, a bad one first.
    One of several sources that failed last is tried with one block, the last of those:
    others come to it when everything else is done, and nothing before it waits for the trial.

    Source: Syncthing's block pull order (own run first); rarest first after B. Cohen,
    *Incentives Build Robustness in BitTorrent* (2003).
    """
    blocks = servable(recovery, peer)
    if blocks and must_prove(recovery, peer):
        block = peer.standing.doubts[recovery.content.digest].proof_block(
            recovery.most_urgent(blocks)
        )
        return BlockRun(block, block + 1)
    is_trial = peer.link.failures > 0 and recovery.swarm.source_count > 1
    urgent = recovery.most_urgent(blocks)
    if urgent is not blocks:
        return _last_block(urgent) if is_trial else urgent.first_run()
    first = blocks.first_run()
    if first is None or not (is_trial or recovery.swarm.is_swarming):
        return first
    own_class, own_run = recovery.content.class_of(first.start), recovery.swarm.own_run
    blocks = blocks.within(*own_class)
    if is_trial:
        return _last_block(blocks)
    is_growing = peer.holdings[recovery.content.digest].is_growing
    blocks = recovery.swarm.spread.rarest_of(blocks, at_least=1 if is_growing else 0)
    if own_run is not None and own_run.end != own_class.start and own_run.end in blocks:
        return blocks.first_run(own_run.end)
    return blocks.first_run(blocks.nth(int(recovery.swarm.own_place * len(blocks))))


def is_left_to_others(recovery: Recovery, offer: Offer, options: Options, *, now: int) -> bool:
    """Return whether a range that a complete source offers is left to other receivers that have it.

    Else every receiver would fetch the end of a version from the one source that all share.
    Together those others must be as fast as the source, and one of them at work. Nodes that have
    a part of the version and get no more of it share the source with nobody.

    Args:
        recovery: Which recovery.
        offer: What the source offers.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    return (
        recovery.swarm.is_swarming
        and recovery.swarm.spread_grew_ns is not None
        and now - recovery.swarm.spread_grew_ns < options.commits.age_ns
        and recovery.work.transfer_count > 0
        and not offer.peer.holdings[recovery.content.digest].is_growing
        and offer.run.start in recovery.swarm.spread
        and offer.run.start not in recovery.coverage.prioritized
        and offer.run.start not in recovery.coverage.needed
        and recovery.swarm.swarm_rate >= offer.peer.link.rate.bytes_per_s
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
    """Return whether a peer would hold up the end with some blocks: others would be done sooner.

    The end is that of their phase.

    Only others count that may be asked: a recovery never stands still for one that rests.

    Args:
        recovery: Which recovery.
        peer: The source.
        blocks: Which blocks.
        peers: Those that have nothing more urgent to do.
        options: The scheduler's numbers.
        now: The moment, in nanoseconds.
    """
    space = recovery.content.space
    size_bytes = space.run_bytes(blocks)
    expected_ns = peer.link.expected_ns(size_bytes, options)
    if recovery.swarm.total_rate <= 0 or expected_ns <= options.stealing.floor_ns:
        return False
    if recovery.phasing.has_several:
        left_bytes, owed_bytes = bytes_left(recovery, blocks.start)
    else:
        left_bytes = space.size_bytes * len(recovery.coverage.unclaimed) // space.block_count
        owed_bytes = recovery.work.owed_bytes
    rest_ns = int((left_bytes + owed_bytes) * SECOND / recovery.swarm.total_rate)
    if expected_ns <= options.ranges.detour_ratio * rest_ns:
        return False
    return any(
        other.link.rate.bytes_per_s
        and other.link.expected_ns(size_bytes, options) < expected_ns
        and may_be_asked(recovery, other, now=now)
        and holds(recovery, other, blocks.start)
        for other in peers
    )


def cut(recovery: Recovery, run: BlockRun, peer: Peer, options: Options) -> BlockRun:
    """Cut a run to the size of one range.

    A range is what a lane to the source delivers in a quarter of a second. Toward the end of a
    class it is the part of what is left of it that the source has of all rates, so that all
    sources finish together. It never crosses into another criticality, so that a request is as
    urgent as it says, nor from one piece into another, for whoever serves it has each by itself.

    Args:
        recovery: Which recovery.
        run: The blocks it could serve, not yet cut.
        peer: The source.
        options: The scheduler's numbers.
    """
    space, start = recovery.content.space, run.start
    own_class = recovery.content.class_of(start)
    left_count = recovery.coverage.unclaimed.count_within(*own_class)
    left_bytes = space.size_bytes * left_count // space.block_count
    bundle, rate = recovery.work.bundles.get(peer.path), peer.link.rate.bytes_per_s
    width = 1 if bundle is None else bundle.width
    if rate and recovery.swarm.total_rate:
        part = min(rate / recovery.swarm.total_rate, 1.0) / width
    else:
        part = 1 / max(recovery.swarm.source_count, len(recovery.work.lanes), 1)
    share = int(left_bytes * part) // options.lanes.ranges_per_lane
    usual = peer.link.range_bytes(options) // width
    size_bytes = min(usual, max(share, options.ranges.bytes_min))
    if start in recovery.coverage.needed:  # all who have it bring a part
        size_bytes = min(
            size_bytes, max(int(space.run_bytes(run) * part), options.ranges.bytes_min)
        )
    end = min(run.end, own_class.end, recovery.content.piece_end(start))
    return BlockRun(start, min(end, space.run_within(start, size_bytes).end))
