"""What peers say, and what becomes of their reputation."""

from __future__ import annotations

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import HoldingConfirmed, HoldingsArrived, PeerLost
from ckptd.core.explain.narration import report_judged, report_lost, report_reborn
from ckptd.core.report.evidence import BadBlock, Evidence
from ckptd.core.state.peer import Peer
from ckptd.core.state.record.spread import Spread
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import PEERS_MAX
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import CloseReason, Confirmation, StoryReason


def on_holdings_arrived(step: Step, event: HoldingsArrived) -> None:
    """Learn what a peer has.

    Another epoch makes it another peer: nothing old is held to it, and nothing more comes on the
    old one's connections. A peer that was lost for a moment need not rest, but is trusted no more
    than before.
    """
    peers = step.state.peers
    peer = peers.get(event.node)
    is_reborn = peer is not None and peer.epoch != event.epoch
    if peer is None or is_reborn:
        _forgive(step, event.node)
        if peer is not None:
            report_reborn(step, peer)
        for lane in list(step.state.lanes.values()):
            if lane.source == event.node:
                step.close_lane(lane, CloseReason.FAILED)
        evidence = peer.evidence if peer else Evidence()
        evidence.settle(Confirmation.NO_ANSWER)
        peer = peers[event.node] = Peer(event.node, event.epoch, evidence=evidence)
    elif not peer.is_live:
        peer.link.usable_at_ns = peer.link.quarantined_until_ns
    before = peer.holdings if peer.is_live else {}
    peer.is_live, peer.holdings = True, {holding.digest: holding for holding in event.holdings}
    for recovery in step.state.recoveries.values():
        if recovery.digest is not None:
            _note_news(step, recovery, before.get(recovery.digest), peer)
    if is_reborn:
        count_sources(step)
    step.note_room(event.node)


def on_peer_lost(step: Step, event: PeerLost) -> None:
    """Stop relying on a peer. What is known of its link is kept in case it comes back."""
    peers = step.state.peers
    if event.node in peers:
        if peers[event.node].is_live:
            report_lost(step, peers[event.node])
        peers[event.node].is_live = False
        count_sources(step)
        step.note_room_everywhere()  # slower ones may be wanted now
    if len(peers) > PEERS_MAX:
        in_use = {lane.source for lane in step.state.lanes.values()}
        for node in [node for node, peer in peers.items() if not peer.is_live]:
            if node not in in_use:
                del peers[node]


def on_holding_confirmed(step: Step, event: HoldingConfirmed) -> None:
    """Settle who is to blame for bad blocks.

    A source whose files changed under it no longer claims to hold the version: the blocks were
    stale and nobody lied. One that stands by its holding has sent wrong bytes knowingly or has
    bad memory; in both cases it is to be avoided.
    """
    peer = step.state.peers.get(event.source)
    if peer is None or event.digest not in peer.questioned:
        return
    trust_lost = peer.questioned.pop(event.digest)
    peer.evidence.settle(event.confirmation, event.digest)
    step.note_room(event.source)
    assert event.confirmation is not Confirmation.PENDING
    match event.confirmation:
        case Confirmation.HELD:
            peer.link.blame(trust_lost, step.options, now=step.now)
            report_judged(step, peer, event.digest, StoryReason.WRONG_DIGEST)
        case Confirmation.NOT_HELD:
            peer.holdings.pop(event.digest, None)
            report_judged(step, peer, event.digest, StoryReason.STALE)
            _forgive(step, event.source, event.digest)
            count_sources(step)
        case Confirmation.NO_ANSWER:
            peer.link.failed(step.options, step.rng, now=step.now)
            report_judged(step, peer, event.digest, StoryReason.NO_ANSWER)
    give_second_chances(step)
    step.rest(event.source)


def _note_news(step: Step, recovery: Recovery, before: Holding | None, peer: Peer) -> None:
    """Take in what a peer has now; with hundreds of peers nearly all news is that it has more."""
    now = peer.holding_of(recovery.digest)
    if before is not None and (now is None or (before.is_complete and not now.is_complete)):
        _take_stock(step, recovery)
    elif now is not None and not now.is_complete:
        added = now.blocks if before is None else now.blocks - before.blocks
        if added and before is not None:
            recovery.swarm.spread_grew_ns = step.now
        recovery.swarm.spread.grow(added)
        recovery.swarm.is_swarming = True
    if before is None or now is None or before.is_complete != now.is_complete:
        _count(step, recovery)
        give_second_chances(step)


def count_sources(step: Step) -> None:
    """Look for each recovery who holds any of its version, and who recovers it as well."""
    for recovery in step.state.recoveries.values():
        if recovery.digest is not None:
            _count(step, recovery)
            _take_stock(step, recovery)
    give_second_chances(step)


def _count(step: Step, recovery: Recovery) -> None:
    holdings = _holdings(step, recovery)
    recovery.swarm.source_count = len(holdings)
    recovery.swarm.is_swarming = any(not holding.is_complete for holding in holdings)


def _take_stock(step: Step, recovery: Recovery) -> None:
    holdings = _holdings(step, recovery)
    recovery.swarm.spread = Spread(each.blocks for each in holdings if not each.is_complete)


def _holdings(step: Step, recovery: Recovery) -> list[Holding]:
    """Return what live peers have of the version of a recovery."""
    return [
        peer.holdings[recovery.digest]
        for peer in step.state.peers.values()
        if peer.is_live and recovery.digest in peer.holdings
    ]


def give_second_chances(step: Step) -> None:
    """Ask for a block again of sources that sent it wrongly, where no other source is left.

    One flipped bit at each source must not end a recovery; a source that keeps sending it wrongly
    loses trust each time, and is soon in quarantine.
    """
    for recovery in step.state.recoveries.values():
        lonely = union(recovery.refused.values()) & recovery.coverage.unclaimed
        for node, peer in step.state.peers.items():
            if not lonely:
                break
            holding = peer.holding_of(recovery.digest)
            if holding is None or not peer.is_live or peer.link.quarantined_until_ns > step.now:
                continue
            lonely -= holding.blocks - recovery.refused.get(node, BlockSet())
        if lonely:
            left = ((node, blocks - lonely) for node, blocks in recovery.refused.items())
            recovery.refused = {node: blocks for node, blocks in left if blocks}
            step.note_room_everywhere()


def question(step: Step, peer: Peer, recovery: Recovery, bad: BlockSet) -> None:
    """Ask a source that sent bad blocks whether it stands by its holding.

    If it does, one of a critical unit costs all trust.

    Args:
        step: The event being handled.
        peer: The source.
        recovery: Which recovery.
        bad: Blocks with a wrong digest.
    """
    options = step.options
    trust_lost = len(bad) * options.trust.per_bad_block
    if bad & recovery.content.critical:
        trust_lost = options.trust.most - options.trust.quarantine_at
    digest = recovery.content.digest
    if digest not in peer.questioned:
        step.order(ConfirmHolding(peer.node, digest))
    peer.questioned[digest] = peer.questioned.get(digest, 0) + trust_lost


def note_evidence(
    step: Step,
    peer: Peer,
    recovery: Recovery,
    bad: BlockSet,
    answer: Confirmation = Confirmation.PENDING,
) -> None:
    """Put bad blocks on record, for people.

    Args:
        step: The event.
        peer: Who sent them.
        recovery: For which recovery.
        bad: The blocks.
        answer: Set if nobody can be asked any more whether it stands by them.
    """
    space = recovery.content.space
    for block in bad:
        unit = space.unit_of(block)
        peer.evidence.note(
            BadBlock(
                step.now,
                recovery.checkpoint,
                recovery.content.version,
                recovery.content.digest,
                space.manifest.units[unit].path,
                block - space.unit_run(unit)[0],
                recovery.id,
                answer,
            )
        )


def _forgive(step: Step, node: NodeId, digest: Digest | None = None) -> None:
    """Forget which blocks a node sent wrongly, of one version or of all."""
    for recovery in step.state.recoveries.values():
        if digest is None or recovery.digest == digest:
            recovery.refused.pop(node, None)
