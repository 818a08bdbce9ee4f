"""Duplicate requests for critical ranges that are late.

A hedge is asked of a second source when the first one is later than nearly all ranges of late
were; whoever delivers first wins, and the other one is cut off. Hedges spend a budget, so that
they cannot add to a congestion; where everything is well there are none.

Source: Dean and Barroso, *The Tail at Scale* (2013); Spegel hedges at p80 to p90 and at once
on a hard error, which here is an ordinary re-order.
"""

from __future__ import annotations

from collections.abc import Iterator

from ckptd.core.options import Options
from ckptd.core.picker import may_be_asked
from ckptd.core.state import Lane, Peer, Recovery, State, Transfer
from ckptd.core.turn import Turn
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.manifest import Criticality


def hedge_after_ns(state: State, lane: Lane, options: Options) -> int | None:
    """Return after what silence of a lane its first range is asked of a second source.

    ``None`` if it is not: the range is not critical, or it is a hedge, or has one.
    """
    first = lane.transfers[0] if lane.transfers else None
    if first is None or first.criticality is not Criticality.CRITICAL or first.is_hedged:
        return None
    if lane.has_body:
        return max(options.hedge_floor_ns, options.hedge_ratio * lane.link.gap_ns)
    usual_ns = state.first_bytes.percentile_ns(options.hedge_percentile)
    if usual_ns is None:
        return None
    return max(options.hedge_floor_ns, options.hedge_ratio * usual_ns)


def find_hedge(turn: Turn, lane: Lane) -> tuple[Peer, BlockRun] | None:
    """Return whom to ask for what a lane's first range owes; ``None``: nobody, or too dear."""
    recovery = turn.state.recoveries[lane.recovery]
    space = recovery.known_space()
    owed = lane.transfers[0]
    best: tuple[int, Peer, BlockRun] | None = None
    for peer, run in _able(turn, recovery, lane, owed):
        time_ns = peer.link.time_for_ns(space.run_bytes(run), turn.options)
        if best is None or time_ns < best[0]:
            best = (time_ns, peer, run)
    if best is None:
        return None
    budget_bytes = int(turn.options.hedge_share * space.size_bytes)
    if recovery.hedged_bytes + space.run_bytes(best[2]) > budget_bytes:
        return None
    return best[1], best[2]


def _able(
    turn: Turn, recovery: Recovery, lane: Lane, owed: Transfer
) -> Iterator[tuple[Peer, BlockRun]]:
    """Yield sources that can begin with what is owed, and how far they can go."""
    assert recovery.digest is not None
    for node, peer in turn.state.peers.items():
        holding = peer.holdings.get(recovery.digest)
        own = recovery.lanes.get(node)
        is_ready = may_be_asked(recovery, peer, now=turn.now)
        if node == lane.source or holding is None or not is_ready:
            continue
        if own is not None and (
            own.is_closing or len(own.transfers) > turn.options.ranges_per_lane
        ):
            continue
        blocks = holding.blocks - recovery.refused.get(node, BlockSet())
        run = blocks.first_run(owed.next_block)
        if run is not None and run.start == owed.next_block:
            yield peer, BlockRun(run.start, min(run.end, owed.blocks.end))


def losers(recovery: Recovery, winner: Transfer) -> Iterator[Lane]:
    """Yield lanes whose first range became superfluous when another one delivered it."""
    if not (winner.is_hedged or winner.is_hedge):
        return
    for lane in recovery.lanes.values():
        first = lane.transfers[0] if lane.transfers else None
        if first is None or lane.is_closing or first.next_block >= first.blocks.end:
            continue
        owed = BlockSet(((first.next_block, first.blocks.end),))
        if (first.is_hedged or first.is_hedge) and owed.issubset(recovery.verified):
            yield lane
