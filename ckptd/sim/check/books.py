"""What happened, written down from outside: only events, orders and delivered bytes count.

The scheduler keeps books of its own. These are other books about the same facts, so that a
checker can compare the two and needs to trust neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from ckptd.core.effects import (
    ChooseVersion,
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    HoldingsArrived,
    ManifestMissed,
    ManifestsJoined,
    NeedEnded,
    PeerLost,
    RangeEnded,
    RangeNeeded,
    RangeProgressed,
    RecoveryPromoted,
    RecoveryRequested,
    RestWanted,
    RivalExamined,
    StagingPrepared,
    StagingWidened,
    UnitsPrioritized,
)
from ckptd.model.blocks import BlockRun, BlockSet, union
from ckptd.model.ids import OWN_DISKS, Digest, Epoch, NodeId, Origin, PathId, RecoveryId, TransferId
from ckptd.model.words import Confirmation, Criticality, RangeOutcome, RivalVerdict
from ckptd.sim.check.accounts import Attempt, DoubtAccount, NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check
from ckptd.sim.check.reading import note_need
from ckptd.sim.node.node import Node, Watch

SILENCES_MAX: Final = 1
"""So often a source may give no answer about a version before that counts as standing by it."""


class Books(Watch):
    """The books of all nodes, kept while the simulation runs.

    Args:
        checks: Called at each entry.

    Attributes:
        nodes: The book of each node.
        event_count: Events that were handled.
        checks: Called at each entry.
    """

    def __init__(self, checks: Sequence[Check]) -> None:
        self.nodes: dict[NodeId, NodeBook] = {}
        self.event_count = 0
        self.checks = checks

    # What is seen

    def started(self, node: Node) -> None:
        """Open the book of a node, or go on with it: peers and transfers are new."""
        known = self.nodes.get(node.name)
        book = self.nodes[node.name] = NodeBook(node)
        if known is not None:
            book.recoveries, book.bad_counts = known.recoveries, known.bad_counts

    def stopped(self, node: Node) -> None:
        """Remove what a crash took."""
        book = self.nodes[node.name]
        for recovery in book.recoveries.values():
            for transfer in list(recovery.attempts):
                _close_attempt(book, recovery, transfer)
            if recovery.version is not None:
                lost = recovery.version.set_bytes(recovery.written - recovery.committed)
                recovery.bytes.forgotten += lost
                recovery.bytes.forgotten_max = max(recovery.bytes.forgotten_max, lost)
            recovery.written = recovery.reported = recovery.committed
            recovery.committing = BlockSet()
            recovery.bad_by.clear()
            recovery.prioritized = BlockSet()
            recovery.needs.clear()
            recovery.bad_blocks = recovery.body_bytes = recovery.reused_bytes = 0
        for check in self.checks:
            check.at_crash(book)

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """Note which blocks were right, whatever is reported to the scheduler."""
        recovery = self.nodes[node.name].recoveries[order.recovery]
        version = recovery.known_version()
        right = BlockSet.of_run(run)
        if bad:
            wrong = BlockSet((block, block + 1) for block in bad)
            right -= wrong
            if order.source != OWN_DISKS:
                recovery.bytes.corrupt += version.set_bytes(wrong)
        if right.meets(recovery.written):
            recovery.bytes.duplicate += version.set_bytes(right & recovery.written)
        recovery.written |= right

    def swept(self, node: Node, recovery: RecoveryId, removed: BlockSet) -> None:
        """Note what is not in staging any more."""
        self.nodes[node.name].recoveries[recovery].committed -= removed

    def look(self) -> None:
        """Let the checks look at every node that runs."""
        for book in self.nodes.values():
            if book.node.is_up and not book.node.is_frozen:
                for check in self.checks:
                    check.now_and_then(book)

    def handled(self, node: Node, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Take in events and the orders that follow, and let the checks look."""
        book = self.nodes[node.name]
        self.event_count += len(events)
        for event in events:
            self._take_in(book, event)
        for recovery in book.recoveries.values():
            _settle_needs(book, recovery)
        for event in events:
            for check in self.checks:
                check.after_event(book, event)
        for effect in effects:
            for check in self.checks:
                check.at_order(book, effect)
            self._take_in_order(book, effect)
        for event in events:
            for check in self.checks:
                check.after_orders(book, event)

    # What is written down

    def _take_in(self, book: NodeBook, event: Event) -> None:  # noqa: PLR0912 (one for each)
        match event:
            case RangeProgressed():
                _note_progress(book, event)
            case RangeEnded():
                _note_end(book, event)
            case HoldingsArrived():
                _note_holdings(book, event)
            case PeerLost():
                book.lost.add(event.path)
                _give_second_chances(book)
            case HoldingConfirmed():
                _note_confirmation(book, event)
            case BlocksCommitted() | CommitFailed():
                _note_commit(book, event)
            case RivalExamined():
                _note_examined(book, event)
            case ManifestMissed(source=str(source), is_lie=True):
                # What a source lied about it does not have.
                digest = book.describing.get((event.recovery, source))
                if digest is not None:
                    book.said.get(source, {}).pop(digest, None)
            case RangeNeeded() | NeedEnded():
                note_need(book, event)
            case UnitsPrioritized() | RecoveryPromoted() | RestWanted():
                _note_urgency(book.recoveries[event.recovery], event)
            case RecoveryRequested():
                account = RecoveryAccount(event, book.node.now)
                known = book.recoveries.setdefault(event.recovery, account)
                known.chosen = event.digest
                known.request = replace(known.request, is_on_demand=event.is_on_demand)
            case StagingPrepared():
                _note_prepared(book, event)
            case ManifestsJoined():
                for source in book.said:
                    _note_joined(book, source)
            case StagingWidened():
                _note_widened(book.recoveries[event.recovery], event)
            case _:
                pass

    def _take_in_order(self, book: NodeBook, effect: Effect) -> None:
        match effect:
            case FetchRange():
                recovery = book.recoveries[effect.recovery]
                epoch = book.epochs.get(effect.source, Epoch(0))
                origin = book.origins.get(effect.source, Origin(effect.source))
                doubts = book.doubts.get((origin, effect.digest))
                now = book.node.now
                attempt = Attempt(effect, epoch, origin, effect.blocks.start, now, now)
                attempt.is_proof = doubts is not None and effect.blocks.start in doubts.unproven
                recovery.attempts[effect.transfer] = attempt
                book.attempts[effect.transfer] = recovery
                book.lanes.setdefault(effect.lane, effect.source)
            case ChooseVersion():
                book.recoveries[effect.recovery].chosen = effect.digest
            case FetchManifest():
                book.describing[effect.recovery, effect.source] = effect.digest
            case CloseLane():
                book.closed.add(effect.lane)
            case CommitBlocks():
                book.recoveries[effect.recovery].committing = effect.blocks
            case PrepareStaging() | DiscardStaging():
                book.recoveries[effect.recovery].note_removal(effect)
                if isinstance(effect, PrepareStaging):
                    book.recoveries[effect.recovery].unchosen = effect.unchosen
            case PlaceVersion():
                book.recoveries[effect.recovery].left_out = effect.unchosen
            case EndRecovery():
                # A late answer is not looked at.
                for pair in [pair for pair in book.describing if pair[0] == effect.recovery]:
                    del book.describing[pair]
            case ConfirmHolding():
                book.questioned[book.origins[effect.source], effect.digest] = effect.blocks
            case _:
                pass


def _settle_needs(book: NodeBook, recovery: RecoveryAccount) -> None:
    """Add up what is waited for; needs of a content that was given up count no more."""
    known = book.node.scheduler.inspect().recoveries.get(recovery.request.recovery)
    if known is None:
        recovery.needed = recovery.ahead = BlockSet()
        return
    recovery.needed = union(
        blocks for need, blocks in recovery.needs.items() if need in known.needs.open
    )
    recovery.ahead = known.coverage.ahead


def _note_urgency(
    recovery: RecoveryAccount, event: UnitsPrioritized | RecoveryPromoted | RestWanted
) -> None:
    if isinstance(event, UnitsPrioritized):
        recovery.prioritized |= event.blocks
    elif isinstance(event, RestWanted):
        recovery.request = replace(recovery.request, is_on_demand=False)
    else:
        recovery.request = replace(recovery.request, is_background=False)


def _note_examined(book: NodeBook, event: RivalExamined) -> None:
    book.examined.setdefault(event.recovery, {})[event.digest, event.source] = event.verdict
    if event.verdict is RivalVerdict.FALSE:  # what a source lied about it does not have
        book.said.get(event.source, {}).pop(event.digest, None)
    if event.verdict is RivalVerdict.BAD_BLOCK and event.block is not None:
        key = (book.origins[event.source], event.digest)
        bad, doubts = BlockSet.single(event.block), book.doubts.setdefault(key, DoubtAccount())
        doubts.sampled |= bad
        doubts.strikes += 1
        doubts.owed[~event.block] = bad
        book.accused[key] = book.accused.get(key, BlockSet()) | bad


def _note_prepared(book: NodeBook, event: StagingPrepared) -> None:
    """Take over what is here; of another content than before nothing was committed."""
    recovery = book.recoveries[event.recovery]
    version = book.node.stagings[event.recovery].version
    if recovery.version is not None and recovery.version is not version:
        recovery.committed, recovery.critical_ns = BlockSet(), None
        recovery.prioritized = BlockSet()
        recovery.reused_bytes = 0
        recovery.bad_by.clear()
    recovery.version = version
    recovery.committed |= event.local
    recovery.nearby = event.nearby
    recovery.reported = recovery.written = event.verified
    for origin, digest in book.doubts:
        _use_last(book, origin, digest)
    _give_second_chances(book)


def _note_widened(recovery: RecoveryAccount, event: StagingWidened) -> None:
    """Take over that more is wanted; zeros of it are here."""
    recovery.unchosen -= event.blocks
    zeros = event.zeros - recovery.committed
    recovery.committed |= zeros
    recovery.reported |= zeros
    recovery.written |= zeros


def _note_progress(book: NodeBook, event: RangeProgressed) -> None:
    recovery = book.attempts[event.transfer]
    attempt = recovery.attempts[event.transfer]
    new_bytes = event.received_bytes - attempt.received_bytes
    attempt.received_bytes, attempt.heard_ns = event.received_bytes, book.node.now
    source = attempt.order.source
    if source != OWN_DISKS:
        recovery.bytes.received += new_bytes
        recovery.body_bytes += new_bytes
    if event.next_block == attempt.next_block:
        return
    right = BlockSet.of_run((attempt.next_block, event.next_block))
    attempt.next_block = event.next_block
    bad = BlockSet((block, block + 1) for block in event.rejected)
    right -= bad
    if source == OWN_DISKS:
        recovery.nearby -= bad
        right_bytes = recovery.known_version().set_bytes(right)
        recovery.bytes.reused += right_bytes
        recovery.reused_bytes += right_bytes
    elif bad:
        recovery.bad_blocks += len(bad)
        book.bad_counts[source] += len(bad)
        _accuse(book, recovery, attempt, bad)
    is_present = attempt.epoch == book.epochs.get(source)
    if attempt.is_proof and right and is_present:
        proved = recovery.known_version().units_of(right)
        doubts = book.doubts[attempt.origin, attempt.order.digest]
        doubts.prove(attempt.order.blocks.start, proved)
    recovery.reported |= right


def _accuse(book: NodeBook, recovery: RecoveryAccount, attempt: Attempt, bad: BlockSet) -> None:
    """Note whom bad blocks came from; what was under way when it answered is excused with it.

    What a life sent that is over has to be proved by the next one. Who is asked whether it stands
    by them gets another chance after its answer, at the earliest.
    """
    source, digest, version = attempt.order.source, attempt.order.digest, recovery.known_version()
    key = origin, _ = (attempt.origin, digest)
    doubts = book.doubts.setdefault(key, DoubtAccount())
    doubts.strike({block: version.units_of(BlockSet.single(block)) for block in bad})
    is_asked = False
    if (attempt.epoch, origin) != (book.epochs.get(source), book.origins.get(source)):
        doubts.unproven |= version.units_of(bad)
    else:
        if not attempt.is_proof:
            bad -= doubts.covered
        if bad:
            book.accused[key] = book.accused.get(key, BlockSet()) | bad
            recovery.bad_by[origin] = recovery.bad_by.get(origin, BlockSet()) | bad
            book.questioned.setdefault(key, bad)  # the order to ask says about which of them
        is_asked = bool(bad) or key in book.questioned
    if _use_last(book, origin, digest) and not is_asked:
        _give_second_chances(book)


def _use_last(book: NodeBook, origin: Origin, digest: Digest) -> bool:
    """Note whether a source is asked only for what nobody else has of a version."""
    is_spent = book.doubts[origin, digest].is_spent
    if is_spent:
        for recovery in _recoveries_of(book, digest):
            recovery.bad_by[origin] = recovery.known_version().blocks
    return is_spent


def _note_end(book: NodeBook, event: RangeEnded) -> None:
    recovery = book.attempts[event.transfer]
    attempt = recovery.attempts[event.transfer]
    order = attempt.order
    if event.outcome is RangeOutcome.NOT_HELD and order.source == OWN_DISKS:
        recovery.nearby -= BlockSet(((attempt.next_block, order.blocks.end),))
    is_news = attempt.ordered_ns >= book.said_ns.get(order.source, 0)
    if event.outcome is RangeOutcome.NOT_HELD and is_news:
        units = recovery.known_version().units_of(BlockSet.of_run(order.blocks))
        _withdraw(book, order.source, order.digest, units)
    _close_attempt(book, recovery, event.transfer)
    if not any(digest == order.digest for _, digest in book.questioned):
        _give_second_chances(book)


def _close_attempt(book: NodeBook, recovery: RecoveryAccount, transfer: TransferId) -> None:
    attempt = recovery.attempts.pop(transfer)
    del book.attempts[transfer]
    whole = recovery.known_version().run_bytes(attempt.order.blocks.start, attempt.next_block)
    recovery.bytes.cut += attempt.received_bytes - whole


def _note_holdings(book: NodeBook, event: HoldingsArrived) -> None:
    book.lost.discard(event.path)
    if book.lives.get(event.origin) not in {None, event.epoch}:
        for pair in [pair for pair in book.questioned if pair[0] == event.origin]:
            del book.questioned[pair]
            book.accused.pop(pair, None)
        for pair, doubts in book.doubts.items():
            if pair[0] == event.origin:
                doubts.begin_life()
    book.lives[event.origin] = book.epochs[event.path] = event.epoch
    book.origins[event.path] = event.origin
    book.said_ns[event.path] = book.node.now
    book.said[event.path] = {holding.digest: holding for holding in event.holdings}
    book.recovering[event.path] = event.recovering
    _note_joined(book, event.path)
    _give_second_chances(book)


def _note_joined(book: NodeBook, source: PathId) -> None:
    """Note what a source has of versions that were joined of shards, by what it says of these."""
    said, nothing = book.said[source], BlockSet()
    for digest, joined in book.node.server.joints.items():
        blocks = joined.of_members(lambda each: said[each].blocks if each in said else nothing)
        if blocks:
            said[digest] = joined.holding(blocks)


def _note_confirmation(book: NodeBook, event: HoldingConfirmed) -> None:
    """Note what a source says of bad blocks, and what of it counts as an excuse.

    A unit is excused once by a denial; one silence about a version excuses as well.
    """
    origin = book.origins[event.source]
    key = (origin, event.digest)
    asked = book.questioned.pop(key, None)
    if asked is None:
        return
    version = next((known.known_version() for known in _recoveries_of(book, event.digest)), None)
    doubts, denied = book.doubts[key], event.denied or BlockSet()
    units = doubts.units_among(asked, version)
    settled = book.accused[key] & union(units.values())
    book.accused[key] -= settled
    if event.confirmation is Confirmation.HELD:
        book.stood_by_counts[origin] += len(settled)
    if event.confirmation is Confirmation.NOT_HELD:
        denied = asked if event.denied is None else event.denied
        gone = None if event.denied is None else union(doubts.units_among(denied, version).values())
        _withdraw(book, event.source, event.digest, gone)
    is_silence = event.confirmation is Confirmation.NO_ANSWER
    doubts.unanswered_count += is_silence
    is_silence = is_silence and doubts.unanswered_count <= SILENCES_MAX
    for unit, blocks in units.items():
        is_denied = denied.meets(blocks)
        if unit not in doubts.excused and (is_silence or is_denied):
            doubts.excuse(blocks)
            for recovery in _recoveries_of(book, event.digest):
                if source_bad := recovery.bad_by.get(origin):
                    recovery.bad_by[origin] = source_bad - blocks
        else:
            doubts.blame(blocks, was_excused=unit in doubts.excused)
        if is_denied:
            doubts.excused.add(unit)
    _use_last(book, origin, event.digest)
    _give_second_chances(book)


def _recoveries_of(book: NodeBook, digest: Digest) -> Iterator[RecoveryAccount]:
    return (
        recovery
        for recovery in book.recoveries.values()
        if recovery.version is not None and recovery.version.digest == digest
    )


def _withdraw(book: NodeBook, source: PathId, digest: Digest, blocks: BlockSet | None) -> None:
    """Note that a source does not have some blocks, or any, that it said it has."""
    holding = book.said.get(source, {}).pop(digest, None)
    if holding is not None and blocks is not None and holding.blocks - blocks:
        book.said[source][digest] = replace(holding, blocks=holding.blocks - blocks)


def _give_second_chances(book: NodeBook) -> None:
    """Let sources be asked again for what they sent wrongly and nobody else may be asked for."""
    peers = book.node.scheduler.inspect().peers
    for recovery in book.recoveries.values():
        if recovery.version is None or not recovery.bad_by:
            continue
        lonely = union(recovery.bad_by.values()) & recovery.unclaimed()
        for source, said in book.said.items():
            holding, until_ns = (
                said.get(recovery.version.digest),
                peers[source].standing.quarantined_until_ns,
            )
            if holding and source not in book.lost and until_ns <= book.node.now:
                lonely -= holding.blocks - recovery.bad_by.get(book.origins[source], BlockSet())
        for origin, bad in recovery.bad_by.items():
            recovery.bad_by[origin] = bad - lonely


def _note_commit(book: NodeBook, event: BlocksCommitted | CommitFailed) -> None:
    recovery = book.recoveries[event.recovery]
    if isinstance(event, BlocksCommitted):
        recovery.committed |= recovery.committing
    recovery.committing, recovery.commit_ended_ns = BlockSet(), book.node.now
    critical = recovery.known_version().classes[Criticality.CRITICAL]
    if recovery.critical_ns is None and critical and critical.issubset(recovery.committed):
        recovery.critical_ns = book.node.now
