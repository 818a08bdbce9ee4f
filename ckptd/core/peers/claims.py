"""What peers say they hold, and which of them answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ckptd.core.events import DiscoverySettled, HoldingsArrived, PeerLost, RateLearned
from ckptd.core.explain.narration import report_lost, report_reborn
from ckptd.core.peers.blame import give_second_chances
from ckptd.core.peers.holders import count_holders, look_for_holders, take_stock
from ckptd.core.peers.joined_holdings import join_holdings
from ckptd.core.report.learned_rate import LearnedRate
from ckptd.core.state.learned import rate_of_link
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import NodeHandler, Step
from ckptd.limits import PEERS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest
from ckptd.model.words import CloseReason


def on_holdings_arrived(step: Step, event: HoldingsArrived) -> None:
    """Learn what a peer has.

    Another epoch makes it another peer, and so does another origin: nothing more comes on the old
    one's connections, and what it was asked has no answer. How fast it was is remembered, and how
    its origin stands. A peer that was lost for a moment need not rest.
    """
    peers = step.state.peers
    peer = peers.get(event.path)
    is_reborn = peer is not None and (peer.epoch, peer.origin) != (event.epoch, event.origin)
    standing = step.state.standing_of(event.origin)
    standing.begin_life(event.epoch)
    if peer is None or is_reborn:
        if peer is not None:
            report_reborn(step, peer)
            _keep_rate(step, peer)
        for lane in list(step.state.lanes.values()):
            if lane.source == event.path:
                step.close_lane(lane, CloseReason.FAILED)
        peer = Peer(
            event.node, event.epoch, standing=standing, path=event.path, origin=event.origin
        )
        step.state.add_peer(peer)
    elif not peer.is_live:
        peer.link.usable_at_ns = 0
    before = peer.holdings if peer.is_live else {}
    peer.claimed_ns = step.now
    was_live, peer.is_live = peer.is_live, True
    peer.holdings = {holding.digest: holding for holding in event.holdings}
    _note_shards(step, peer, event, before, is_new=is_reborn or not was_live)
    for recovery in step.state.recoveries.values():
        if recovery.digest is not None:
            _note_news(step, recovery, before.get(recovery.digest), peer)
    if is_reborn:
        count_sources(step)
    step.note_room(event.path)


def _note_shards(
    step: Step,
    peer: Peer,
    event: HoldingsArrived,
    before: Mapping[Digest, Holding],
    *,
    is_new: bool,
) -> None:
    """Take in what a peer has of jobs, and which of them it recovers.

    Args:
        step: The event being handled.
        peer: Who said something.
        event: What.
        before: What was known of it before.
        is_new: It was not there before, or was another one.
    """
    claims = step.state.job_claims
    peer.placed = event.placed
    claims.note(event.path, event.holdings)
    if is_new or peer.recovering != event.recovering:
        peer.recovering = event.recovering
        claims.note_change()
    peer.joined.clear()
    for digest, joint in step.state.joints.items():
        join_holdings(peer, digest, joint, before)


def on_peer_lost(step: Step, event: PeerLost) -> None:
    """Stop relying on a peer. What is known of its link is kept in case it comes back."""
    peers = step.state.peers
    if event.path in peers:
        if peers[event.path].is_live:
            report_lost(step, peers[event.path])
        peers[event.path].is_live = False
        step.state.job_claims.note_change()
        count_sources(step)
        step.note_room_everywhere()  # slower ones may be wanted now
    if len(peers) > PEERS_MAX:
        in_use = {lane.source for lane in step.state.lanes.values()}
        for path in [path for path, peer in peers.items() if not peer.is_live]:
            if path not in in_use and not peers[path].standing.questioned:
                _keep_rate(step, peers[path])
                step.state.forget_peer(path)


def on_discovery_settled(step: Step, event: DiscoverySettled) -> None:
    """Know from here on that nobody else has anything."""
    step.state.is_settled = True
    step.state.is_everybody_heard = event.is_everybody_heard


def on_rate_learned(step: Step, event: RateLearned) -> None:
    """Keep how fast a peer was, for predictions."""
    learned_ns = step.now - max(event.age_ns, 0)
    rate = LearnedRate(
        event.bytes_per_s, event.latency_ns, learned_ns, event.origin, event.is_sound
    )
    step.state.learned.note(event.path, rate, now=step.now)


def _keep_rate(step: Step, peer: Peer) -> None:
    """Keep how fast a peer was before everything else that is known of it is forgotten."""
    rate = rate_of_link(peer.link)
    if rate is not None:
        step.state.learned.note(peer.path, rate, now=step.now)


def _note_news(step: Step, recovery: Recovery, before: Holding | None, peer: Peer) -> None:
    """Take in what a peer has now; with hundreds of peers nearly all news is that it has more."""
    now = peer.holding_of(recovery.digest)
    if before is not None and (now is None or (now.is_growing and not before.is_growing)):
        take_stock(step, recovery)
    elif now is not None and now.is_growing:
        added = now.blocks if before is None else now.blocks - before.blocks
        for other in step.state.on_other_paths(peer):  # what they brought has spread already
            known = other.holding_of(recovery.digest)
            added = added if known is None else added - known.blocks
        if added and before is not None:
            recovery.swarm.spread_grew_ns = step.now
        recovery.swarm.spread.grow(added)
        recovery.swarm.is_swarming = True
        _note_meeting(step, recovery, added)
    if before is None or now is None or _is_otherwise(before, now):
        count_holders(step, recovery)
        give_second_chances(step)


def _is_otherwise(before: Holding, now: Holding) -> bool:
    """Return whether a peer is another kind of source now: one that has all, or fetches more."""
    return (before.is_complete, before.is_growing) != (now.is_complete, now.is_growing)


def _note_meeting(step: Step, recovery: Recovery, added: BlockSet) -> None:
    """Begin at another place if another receiver asked the same sources for the same blocks.

    That is so if it has some of those that are under way to this node, or are not durable here: it
    cannot have them from here. Who goes on side by side with this node would else do so to the end,
    for each of them hears of a block of the other one's only when it has it, too.
    """
    swarm = recovery.swarm
    if swarm.own_run is not None and added.within(*swarm.own_run) - recovery.coverage.committed:
        swarm.own_run, swarm.own_place = None, step.rng.random()


def count_sources(step: Step) -> None:
    """Look who holds what after it changed, and where no other source is left."""
    look_for_holders(step)
    give_second_chances(step)


HANDLERS: Final = (
    NodeHandler(HoldingsArrived, on_holdings_arrived),
    NodeHandler(PeerLost, on_peer_lost),
    NodeHandler(DiscoverySettled, on_discovery_settled),
    NodeHandler(RateLearned, on_rate_learned),
)
"""What is taken in here."""
