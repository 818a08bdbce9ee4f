"""Duplicate requests for critical ranges that are late, or that two sources race for.

A hedge is asked of a second source when the first one is later than nearly all recent ranges
were; the first to deliver wins, and the other one is cut off. Hedges spend a budget, so that
they cannot add to a congestion; where everything is well there are none.

With a redundancy of 2 nothing needs to be late: at the tail of the critical units a source that
would turn to less urgent ones, or to nothing, races for what another one still owes. Races spend
a budget of their own: no more bytes than the critical units have.

Source: Dean and Barroso, *The Tail at Scale* (2013); Spegel hedges at p80 to p90 and at once
on a hard error, which here is an ordinary re-order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ckptd.core.options import Options
from ckptd.core.state.eligibility import has_room, may_be_asked, must_prove, servable
from ckptd.core.state.lane import Lane, Transfer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS
from ckptd.model.words import Criticality


def find_hedge(step: Step, lane: Lane) -> tuple[Peer, BlockRun] | None:
    """Return whom to ask for what a lane's first range owes; ``None``: nobody, or no budget."""
    recovery = step.state.recoveries[lane.recovery]
    space = recovery.content.space
    if lane.source == OWN_DISKS:  # what they copy nobody else may write
        return None
    owed = lane.transfers[0]
    late = step.state.source(lane.source).node
    best: tuple[tuple[bool, int], Peer, BlockRun] | None = None
    for peer, run in _able(step, recovery, lane, owed):
        time_ns = peer.link.time_for_ns(space.run_bytes(run), step.options)
        rank = (peer.node == late, time_ns)  # what keeps a node silent may do so on all paths
        if best is None or rank < best[0]:
            best = (rank, peer, run)
    if best is None:
        return None
    if not is_within_budget(recovery, space.run_bytes(best[2]), step.options):
        return None
    return best[1], best[2]


def is_within_budget(recovery: Recovery, size_bytes: int, options: Options) -> bool:
    """Return whether one more hedge is within the share of what is wanted that all may have."""
    budget_bytes = int(options.hedging.share * recovery.wanted_bytes)
    return recovery.duplicates.hedged_bytes + size_bytes <= budget_bytes


def _able(
    step: Step, recovery: Recovery, late: Lane, owed: Transfer
) -> Iterator[tuple[Peer, BlockRun]]:
    """Yield sources that can begin with what is owed, and how far they can go."""
    for peer in step.state.sources():
        holding = peer.holding_of(recovery.digest)
        own = recovery.work.bundles.get(peer.path)
        is_ready = may_be_asked(recovery, peer, now=step.now)
        if peer.is_own or peer.path == late.source or holding is None or not is_ready:
            continue
        if own is not None:
            lane = own.least_loaded()
            if lane is None or len(lane.transfers) > step.options.lanes.ranges_per_lane:
                continue
        run = _able_run(recovery, peer, owed)
        if run is not None:
            yield peer, run


def _able_run(recovery: Recovery, peer: Peer, owed: Transfer) -> BlockRun | None:
    """Return how far a source can go with what another one owes; ``None``: not at all.

    Of a range that counts as critical because somebody waits for some of it, only that.
    """
    holding = peer.holding_of(recovery.digest)
    if holding is None or owed.next_block >= owed.blocks.end or must_prove(recovery, peer):
        return None
    owing = BlockRun(owed.next_block, owed.blocks.end)
    if owed.criticality is Criticality.CRITICAL:
        found = _urgent(recovery).within(*owing).first_run()
        if found is None:
            return None
        owing = found
    blocks = holding.blocks - recovery.refused.get(peer.origin, BlockSet())
    run = blocks.first_run(owing.start)
    if run is None or run.start != owing.start:
        return None
    return BlockRun(run.start, min(run.end, owing.end))


def _urgent(recovery: Recovery) -> BlockSet:
    """Return all blocks that count as critical: by their units, or because of who waits."""
    coverage = recovery.coverage
    return recovery.critical_now | coverage.prioritized | coverage.needed


def find_race(step: Step, recovery: Recovery, peer: Peer) -> tuple[Transfer, BlockRun] | None:
    """Return which range a source should race for, and what of it; ``None``: for none.

    It races for what would be here last, once for each range, and only if it has no critical
    work of its own, neither begun nor to begin.
    """
    if (
        peer.is_own
        or step.options.hedging.redundancy == 1
        or recovery.is_background
        or not recovery.is_fetching
    ):
        return None
    own = recovery.work.bundles.get(peer.path)
    is_urgent = own is not None and any(
        known.criticality is Criticality.CRITICAL for lane in own.lanes for known in lane.transfers
    )
    if is_urgent or not has_room(recovery, peer, step.options, now=step.now):
        return None
    if servable(recovery, peer).meets(_urgent(recovery)):
        return None
    critical = recovery.critical_now
    last = _last_of(
        recovery,
        peer,
        (
            (ahead_bytes / max(rate, 1.0), known)
            for ahead_bytes, rate, known in _owed(recovery)
            if known.blocks.start in critical
        ),
    )
    if last is None:
        return None
    space = recovery.content.space
    raced_bytes = recovery.duplicates.raced_bytes + space.run_bytes(last[2])
    return last[1:] if raced_bytes <= space.set_bytes(critical) else None


def find_straggler(
    step: Step, recovery: Recovery, peer: Peer, next_block: int
) -> tuple[Transfer, BlockRun] | None:
    """Return a range that a source should bring before it goes on with what is less urgent.

    Of the phase under way: before it leaves that phase any, before it leaves its critical units
    one of those. It is what would be here last, if it would need so many times what the source
    would as makes work worth stealing. In the end of a version idle sources steal such work;
    between phases none is idle.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        peer: The source.
        next_block: Where it would go on.

    Returns:
        The range, and what of it; ``None``: nothing, or no budget.
    """
    critical, end, options = recovery.critical_now, recovery.phasing.end, step.options
    if recovery.is_background or peer.is_own or next_block in critical:
        return None
    is_leaving = next_block >= end
    last = _last_of(
        recovery,
        peer,
        (
            (ahead_bytes / rate, known)
            for ahead_bytes, rate, known in _owed(recovery)
            if rate and (known.blocks.start < end if is_leaving else known.blocks.start in critical)
        ),
    )
    if last is None:
        return None
    needs_ns, size_bytes = int(last[0] * SECOND), recovery.content.space.run_bytes(last[2])
    own_ns = peer.link.expected_ns(size_bytes, options)
    is_worth_it = needs_ns > max(options.needs.late_ns, options.stealing.ratio * own_ns)
    return last[1:] if is_worth_it and is_within_budget(recovery, size_bytes, options) else None


def _last_of(
    recovery: Recovery, peer: Peer, owed: Iterable[tuple[float, Transfer]]
) -> tuple[float, Transfer, BlockRun] | None:
    """Return of some ranges the one that would be here last, and what of it a source can bring.

    Args:
        recovery: Whose ranges they are.
        peer: The source.
        owed: How long each will take, and the range.
    """
    last: tuple[float, Transfer, BlockRun] | None = None
    for needs_s, known in owed:
        run = _able_run(recovery, peer, known)
        if run is not None and (last is None or needs_s > last[0]):
            last = (needs_s, known, run)
    return last


def _owed(recovery: Recovery) -> Iterator[tuple[int, float, Transfer]]:
    """Yield ranges that one source owes.

    Yields:
        How much its lane has to bring until all of the range is here, how fast that delivers (0
        while that is not known), and the range.
    """
    for lane in recovery.work.lanes.values():
        if lane.is_closing or lane.source == OWN_DISKS:
            continue
        ahead_bytes, lane_rate = 0, recovery.work.rate_of(lane)
        for known in lane.transfers:
            ahead_bytes += known.size_bytes - known.received_bytes
            if not known.is_hedged:
                yield ahead_bytes, lane_rate, known


def losers(recovery: Recovery) -> Iterator[Lane]:
    """Yield lanes whose first range became superfluous: another one delivered it."""
    if not recovery.duplicates.count:
        return
    for lane in recovery.work.lanes.values():
        first = lane.transfers[0] if lane.transfers else None
        if first is None or lane.is_closing or first.next_block >= first.blocks.end:
            continue
        owed = BlockSet(((first.next_block, first.blocks.end),))
        if (first.is_hedged or first.is_hedge) and owed.issubset(recovery.coverage.verified):
            yield lane
