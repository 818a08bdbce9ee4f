"""Who sent bad blocks, what it answers when asked, and what that costs."""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import HoldingConfirmed
from ckptd.core.explain.narration import report_judged
from ckptd.core.peers.holders import look_for_holders
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import NodeHandler, Step
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import Confirmation, StoryReason


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
            forgive(step, event.source, event.digest)
            look_for_holders(step)
        case Confirmation.NO_ANSWER:
            peer.link.failed(step.options, step.rng, now=step.now)
            report_judged(step, peer, event.digest, StoryReason.NO_ANSWER)
    give_second_chances(step)
    step.rest(event.source)


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
    _ask_to_stand_by(step, peer, recovery.content.digest, trust_lost)


def question_claim(step: Step, peer: Peer, digest: Digest) -> None:
    """Ask a peer whether it stands by its holding after a block drawn from it was wrong."""
    _ask_to_stand_by(step, peer, digest, step.options.trust.per_bad_block)


def _ask_to_stand_by(step: Step, peer: Peer, digest: Digest, trust_lost: int) -> None:
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


def forgive(step: Step, node: NodeId, digest: Digest | None = None) -> None:
    """Forget which blocks a node sent wrongly, of one version or of all."""
    for recovery in step.state.recoveries.values():
        if digest is None or recovery.digest == digest:
            recovery.refused.pop(node, None)


HANDLERS: Final = (NodeHandler(HoldingConfirmed, on_holding_confirmed),)
"""What is taken in here."""
