"""Between recoveries: whose turn it is at a source.

Recoveries in the background come last, however urgent what they lack is to them.

A source is asked for nothing while another recovery wants something more urgent of it, and what
it still owes of less urgent work is given up if that would hold the urgent one up: from a source
that knows no classes, a web server say, the urgent one would get half. What was verified stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ckptd.core.explain.narration import report_preempted
from ckptd.core.state.eligibility import may_be_asked, servable
from ckptd.core.state.offer import Offer
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Precedence, Recovery
from ckptd.core.state.step import Step
from ckptd.model.words import CloseReason


def has_to_wait(recoveries: Collection[Recovery], offer: Offer, *, now: int) -> bool:
    """Return whether another recovery wants or awaits something more urgent of the source."""
    if len(recoveries) == 1:
        return False
    mine = offer.recovery.precedence_of(offer.criticality)
    for recovery in recoveries:
        if recovery is offer.recovery or not recovery.is_fetching:
            continue
        bundle = recovery.work.bundles.get(offer.peer.path)
        if bundle is not None and any(
            recovery.precedence_of(known.criticality) < mine
            for lane in bundle.lanes
            for known in lane.transfers
        ):
            return True
        wanted = _urgency(recovery, offer.peer, now=now)
        if wanted is not None and wanted < mine:
            return True
    return False


def preempt(step: Step, peers: Iterable[Peer]) -> None:
    """Close lanes whose work is less urgent than what another recovery wants of the source."""
    if len(step.state.recoveries) < 2:  # noqa: PLR2004 (one has nobody to give way to)
        return
    for peer in peers:
        wants = [
            (wanted, recovery)
            for recovery in step.state.recoveries.values()
            if recovery.is_fetching
            and (wanted := _urgency(recovery, peer, now=step.now)) is not None
        ]
        for recovery in step.state.recoveries.values():
            bundle = recovery.work.bundles.get(peer.path)
            lanes = [] if bundle is None else [lane for lane in bundle.lanes if lane.transfers]
            owed_bytes = sum(lane.owed_bytes for lane in lanes)
            for lane in lanes:
                most_urgent = recovery.precedence_of(
                    min(known.criticality for known in lane.transfers)
                )
                is_outranked = not lane.is_closing and any(
                    wanted < most_urgent for wanted, other in wants if other is not recovery
                )
                if is_outranked and _takes_long(step, peer, owed_bytes):
                    report_preempted(step, lane)
                    step.close_lane(lane, CloseReason.PREEMPTED)


def _urgency(recovery: Recovery, peer: Peer, *, now: int) -> Precedence | None:
    """Return how urgent the most urgent block is that a recovery wants of a peer."""
    if not recovery.coverage.unclaimed or not may_be_asked(recovery, peer, now=now):
        return None
    blocks = servable(recovery, peer)
    run = recovery.most_urgent(blocks).first_run()
    return None if run is None else recovery.precedence_of(recovery.criticality_of(run.start))


def _takes_long(step: Step, peer: Peer, owed_bytes: int) -> bool:
    return peer.link.own_time_ns(owed_bytes, step.options) > step.options.stealing.preempt_floor_ns
