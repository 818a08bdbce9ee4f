"""Who sent bad blocks, what it answers when asked, and what that costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

from ckptd.core.effects import ConfirmHolding
from ckptd.core.events import HoldingConfirmed
from ckptd.core.explain.narration import report_judged
from ckptd.core.peers.holders import look_for_holders
from ckptd.core.report.evidence import BadBlock
from ckptd.core.state.doubts import DoubtedUnit, Doubts
from ckptd.core.state.eligibility import claimed
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.standing import Standing
from ckptd.core.state.step import NodeHandler, Step
from ckptd.model.blocks import BlockRun, BlockSet, union
from ckptd.model.ids import Digest, Origin
from ckptd.model.words import Confirmation, StoryReason


def on_holding_confirmed(step: Step, event: HoldingConfirmed) -> None:
    """Settle who is to blame for bad blocks.

    A source whose files are not what they were says so: nobody lied, and it is believed once for
    each unit. Who gives no answer is believed once for each version. Either counts for one life
    of the source. When such a unit is claimed
    again, one block shows whether it is right (:func:`proved`). One that stands by its blocks has
    sent wrong bytes knowingly or has bad memory; in both cases it is to be avoided.
    """
    peer = step.state.peers.get(event.source)
    if peer is None or event.digest not in peer.standing.questioned:
        return
    asked = peer.standing.questioned.pop(event.digest)
    doubts = peer.standing.doubts[event.digest]
    peer.standing.evidence.settle(event.confirmation, event.digest)
    step.note_room_of(peer)
    assert event.confirmation is not Confirmation.PENDING
    denied, reason = BlockSet(), StoryReason.WRONG_DIGEST
    match event.confirmation:
        case Confirmation.HELD:
            denied = event.denied or denied
        case Confirmation.NOT_HELD:
            denied, reason = asked if event.denied is None else event.denied, StoryReason.STALE
            _withdraw(step, peer, event.digest, None if event.denied is None else denied)
        case Confirmation.NO_ANSWER:
            doubts.unanswered_count += 1
            peer.link.failed(step.options, step.rng, now=step.now)
            reason = StoryReason.NO_ANSWER
    to_blame: list[DoubtedUnit] = []
    for unit in doubts.among(asked):
        is_silence = event.confirmation is Confirmation.NO_ANSWER
        is_denied = denied.meets(BlockSet.of_run(unit.run))
        doubts.waiting = doubts.waiting.without_run(unit.run)  # the same answer would come
        if is_denied and not unit.is_excused:
            unit.is_excused = True
            _excuse(step, peer, event.digest, unit)
        elif (
            is_silence
            and not unit.is_excused
            and doubts.unanswered_count <= step.options.trust.unanswered_max
        ):
            _excuse(step, peer, event.digest, unit)
        else:
            to_blame.append(unit)
    if to_blame:
        _blame(step, peer, to_blame)
    _use_last(step, peer.origin, doubts, event.digest)
    report_judged(step, peer, event.digest, reason)
    give_second_chances(step)
    _ask_next(step, peer, event.digest)
    step.rest(event.source)


def _withdraw(step: Step, peer: Peer, digest: Digest, blocks: BlockSet | None) -> None:
    """Rely on a source no more for some units of a version, or for all of them."""
    if blocks is not None:
        blocks = union(
            BlockSet.of_run(unit.run) for unit in peer.standing.doubts[digest].among(blocks)
        )
    peer.withdraw(digest, blocks)
    look_for_holders(step)


def _excuse(step: Step, peer: Peer, digest: Digest, unit: DoubtedUnit) -> None:
    """Let a source show with one block that a unit is right again, if it claims it."""
    unit.is_unproven, unit.is_blamed = True, False
    for recovery in _recoveries_of(step, digest):
        left = recovery.refused.pop(peer.origin, BlockSet()).without_run(unit.run)
        if left:
            recovery.refused[peer.origin] = left


def _blame(step: Step, peer: Peer, units: Sequence[DoubtedUnit]) -> None:
    """Let a source pay for some units: also for blocks that were excused before."""
    trust = step.options.trust
    lost = sum(unit.unpaid_count for unit in units) * trust.per_bad_block
    if any(unit.is_critical for unit in units):
        lost = max(lost, trust.most - trust.quarantine_at)
    for unit in units:
        unit.unpaid_count = 0
        unit.is_unproven |= unit.is_excused
        unit.is_blamed = True
    peer.standing.blame(lost, step.options, now=step.now)


def _use_last(step: Step, origin: Origin, doubts: Doubts, digest: Digest) -> bool:
    """Ask a source for nothing that others have, once too much of its copy was bad.

    That is no blame: a disk that fails makes nobody a liar.

    Returns:
        Whether that is so.
    """
    is_spent = doubts.is_spent(step.options.trust)
    if is_spent:
        for recovery in _recoveries_of(step, digest):
            recovery.refused[origin] = BlockSet.full(recovery.content.space.block_count)
    return is_spent


def recall(step: Step, recovery: Recovery) -> None:
    """Ask sources for nothing that others have whose copy was bad too often before."""
    for origin, standing in step.state.standings.items():
        doubts = standing.doubts.get(recovery.content.digest)
        if doubts is not None and doubts.is_spent(step.options.trust):
            recovery.refused[origin] = BlockSet.full(recovery.content.space.block_count)


def proved(step: Step, lane: Lane, recovery: Recovery, block: int) -> None:
    """Take in that the block is right by which a source shows that a unit is right again.

    Args:
        step: The event being handled.
        lane: On which it came.
        recovery: For which recovery.
        block: Which one.
    """
    peer = step.state.peers[lane.source]
    doubts = peer.standing.doubts.get(recovery.content.digest) if lane.link is peer.link else None
    for unit in () if doubts is None else doubts.among(BlockSet.single(block)):
        unit.is_unproven = False
        unit.bad = unit.bad.without_run((block, block + 1))
        step.note_room_of(peer)


def give_second_chances(step: Step) -> None:
    """Ask for a block again of sources that sent it wrongly, where no other source is left.

    One flipped bit at each source must not end a recovery; a source that keeps sending it wrongly
    loses trust each time, and is soon in quarantine.
    """
    for recovery in step.state.recoveries.values():
        lonely = union(recovery.refused.values()) & recovery.coverage.unclaimed
        for peer in step.state.sources():
            if not lonely:
                break
            if peer.is_live and peer.standing.quarantined_until_ns <= step.now:
                lonely -= claimed(recovery, peer)
        if lonely:
            left = ((origin, blocks - lonely) for origin, blocks in recovery.refused.items())
            recovery.refused = {origin: blocks for origin, blocks in left if blocks}
            step.note_room_everywhere()


def accuse(step: Step, peer: Peer, recovery: Recovery, bad: BlockSet, *, is_proof: bool) -> None:
    """Ask a source that sent bad blocks whether it stands by them.

    If it does, one of a critical unit costs all trust. Those that were under way when their
    unit was excused are excused by the same answer.

    Args:
        step: The event being handled.
        peer: The source.
        recovery: Which recovery.
        bad: Blocks with a wrong digest.
        is_proof: It was to show with them that their unit is right again.
    """
    doubts = peer.standing.doubts.setdefault(recovery.content.digest, Doubts())
    _count(doubts, recovery, bad)
    excused = BlockSet() if is_proof else bad & doubts.excused
    if excused:
        note_evidence(step, peer.standing, recovery, excused, Confirmation.NOT_HELD)
        bad -= excused
    if bad:
        recovery.refused[peer.origin] = recovery.refused.get(peer.origin, BlockSet()) | bad
        note_evidence(step, peer.standing, recovery, bad)
        doubts.waiting |= bad
        _ask_next(step, peer, recovery.content.digest)
    is_asked = recovery.content.digest in peer.standing.questioned
    if _use_last(step, peer.origin, doubts, recovery.content.digest) and not is_asked:
        give_second_chances(step)
    _forget_oldest(step, peer.standing)


def accuse_late(step: Step, origin: Origin, recovery: Recovery, bad: BlockSet) -> None:
    """Remember bad blocks of a life that is over, or of who answered on that path before.

    Nobody can be asked whether it stands by them: its next life has to prove their units.

    Args:
        step: The event being handled.
        origin: Whose blame they are.
        recovery: Which recovery.
        bad: Blocks with a wrong digest.
    """
    standing = step.state.standing_of(origin)
    doubts = standing.doubts.setdefault(recovery.content.digest, Doubts())
    _count(doubts, recovery, bad)
    for unit in doubts.among(bad):
        unit.is_unproven = True
    note_evidence(step, standing, recovery, bad, Confirmation.NO_ANSWER)
    if _use_last(step, origin, doubts, recovery.content.digest):
        give_second_chances(step)
    _forget_oldest(step, standing)


def _count(doubts: Doubts, recovery: Recovery, bad: BlockSet) -> None:
    """Put bad blocks under their units. They came together: that is one strike."""
    content = recovery.content
    doubts.strikes += 1
    for block in bad:
        index = content.space.unit_of(block)
        unit = doubts.units.get(index)
        if unit is None:
            run = BlockRun(*content.space.unit_run(index))
            unit = doubts.units[index] = DoubtedUnit(run, block in content.critical)
        unit.bad |= BlockSet.single(block)
        unit.unpaid_count += 1


def _ask_next(step: Step, peer: Peer, digest: Digest) -> None:
    """Ask about the bad blocks that nobody asked about, unless a question is under way."""
    standing, doubts = peer.standing, peer.standing.doubts[digest]
    if digest in standing.questioned or not doubts.waiting:
        return
    asked = BlockSet(
        (block, block + 1) for block in islice(doubts.waiting, step.options.trust.questioned_max)
    )
    doubts.waiting -= asked
    standing.questioned[digest] = asked
    step.order(ConfirmHolding(peer.path, digest, asked))


def _forget_oldest(step: Step, standing: Standing) -> None:
    """Forget what came of bad blocks of versions that are long gone."""
    doubts = standing.doubts
    wanted = {recovery.digest for recovery in step.state.recoveries.values()}
    settled = [each for each in doubts if each not in standing.questioned and each not in wanted]
    for digest in settled[: max(len(doubts) - step.options.trust.doubted_versions_max, 0)]:
        del doubts[digest]


def question_claim(step: Step, peer: Peer, digest: Digest, block: int) -> None:
    """Ask a peer whether it stands by a block that was drawn from what it claims, and was wrong.

    Args:
        step: The event being handled.
        peer: Who claims to have the version.
        digest: Which version; its manifest is not here, so the block stands for its unit.
        block: Which block.
    """
    doubts = peer.standing.doubts.setdefault(digest, Doubts())
    run = BlockRun(block, block + 1)
    unit = doubts.units.setdefault(~block, DoubtedUnit(run, is_critical=False))
    unit.bad |= BlockSet.of_run(run)
    unit.unpaid_count += 1
    doubts.strikes += 1
    doubts.waiting |= BlockSet.of_run(run)
    _ask_next(step, peer, digest)
    _forget_oldest(step, peer.standing)


def note_evidence(
    step: Step,
    standing: Standing,
    recovery: Recovery,
    bad: BlockSet,
    answer: Confirmation = Confirmation.PENDING,
) -> None:
    """Put bad blocks on record, for people.

    Args:
        step: The event.
        standing: Of who sent them.
        recovery: For which recovery.
        bad: The blocks.
        answer: Set if nobody can be asked any more whether it stands by them.
    """
    space = recovery.content.space
    for block in bad:
        unit = space.unit_of(block)
        standing.evidence.note(
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


def _recoveries_of(step: Step, digest: Digest) -> Iterator[Recovery]:
    """Yield the recoveries of a version whose manifest is here."""
    return (
        recovery
        for recovery in step.state.recoveries.values()
        if recovery.digest == digest and recovery.described is not None
    )


HANDLERS: Final = (NodeHandler(HoldingConfirmed, on_holding_confirmed),)
"""What is taken in here."""
