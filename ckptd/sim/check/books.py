"""What happened, written down from outside: only events, orders and delivered bytes count.

The scheduler keeps books of its own. These are other books about the same facts, so that a
checker can compare the two and needs to trust neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ckptd.core.effects import (
    CloseLane,
    CommitBlocks,
    ConfirmHolding,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
)
from ckptd.core.events import (
    BlocksCommitted,
    CommitFailed,
    Event,
    HoldingConfirmed,
    HoldingsArrived,
    ManifestMissed,
    PeerLost,
    RangeEnded,
    RangeProgressed,
    RecoveryPromoted,
    RecoveryRequested,
    StagingPrepared,
    UnitsPrioritized,
)
from ckptd.model.blocks import BlockRun, BlockSet, union
from ckptd.model.ids import NodeId, RecoveryId, TransferId
from ckptd.model.words import Confirmation, Criticality, RangeOutcome
from ckptd.sim.check.accounts import Attempt, NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check
from ckptd.sim.node.node import Node, Watch


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
            recovery.bad_blocks = recovery.body_bytes = 0
        for check in self.checks:
            check.at_crash(book)

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """Note which blocks were right, whatever is reported to the scheduler."""
        recovery = self.nodes[node.name].recoveries[order.recovery]
        version = recovery.known_version()
        right = BlockSet.of_run(run)
        if bad:
            wrong = BlockSet((block, block + 1) for block in bad)
            recovery.bytes.corrupt += version.set_bytes(wrong)
            right -= wrong
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

    def _take_in(self, book: NodeBook, event: Event) -> None:
        match event:
            case RangeProgressed():
                _note_progress(book, event)
            case RangeEnded():
                _note_end(book, event)
            case HoldingsArrived():
                _note_holdings(book, event)
            case PeerLost():
                book.lost.add(event.node)
                _give_second_chances(book)
            case HoldingConfirmed():
                _note_confirmation(book, event)
            case BlocksCommitted() | CommitFailed():
                _note_commit(book, event)
            case ManifestMissed(source=str(source), is_lie=True):
                # What a source lied about it does not have.
                digest = book.describing.get((event.recovery, source))
                if digest is not None:
                    book.said.get(source, {}).pop(digest, None)
            case UnitsPrioritized() | RecoveryPromoted():
                _note_urgency(book.recoveries[event.recovery], event)
            case RecoveryRequested():
                book.recoveries.setdefault(event.recovery, RecoveryAccount(event, book.node.now))
            case StagingPrepared():
                recovery = book.recoveries[event.recovery]
                recovery.version = book.node.stagings[event.recovery].version
                recovery.reported = recovery.written = event.verified
            case _:
                pass

    def _take_in_order(self, book: NodeBook, effect: Effect) -> None:
        match effect:
            case FetchRange():
                recovery = book.recoveries[effect.recovery]
                epoch = book.epochs[effect.source]
                attempt = Attempt(effect, epoch, effect.blocks.start, book.node.now)
                recovery.attempts[effect.transfer] = attempt
                book.attempts[effect.transfer] = recovery
                book.lanes.setdefault(effect.lane, effect.source)
            case FetchManifest():
                book.describing[effect.recovery, effect.source] = effect.digest
            case CloseLane():
                book.closed.add(effect.lane)
            case CommitBlocks():
                book.recoveries[effect.recovery].committing = effect.blocks
            case EndRecovery():
                # A late answer is not looked at.
                for pair in [pair for pair in book.describing if pair[0] == effect.recovery]:
                    del book.describing[pair]
            case ConfirmHolding():
                book.questioned.add((effect.source, effect.digest))
            case _:
                pass


def _note_urgency(recovery: RecoveryAccount, event: UnitsPrioritized | RecoveryPromoted) -> None:
    if isinstance(event, UnitsPrioritized):
        recovery.prioritized |= event.blocks
    else:
        recovery.request = replace(recovery.request, is_background=False)


def _note_progress(book: NodeBook, event: RangeProgressed) -> None:
    recovery = book.attempts[event.transfer]
    attempt = recovery.attempts[event.transfer]
    new_bytes = event.received_bytes - attempt.received_bytes
    attempt.received_bytes, attempt.heard_ns = event.received_bytes, book.node.now
    recovery.bytes.received += new_bytes
    recovery.body_bytes += new_bytes
    if event.next_block == attempt.next_block:
        return
    right = BlockSet.of_run((attempt.next_block, event.next_block))
    attempt.next_block = event.next_block
    source = attempt.order.source
    if event.rejected:
        bad = BlockSet((block, block + 1) for block in event.rejected)
        right -= bad
        recovery.bad_blocks += len(bad)
        book.bad_counts[source] += len(bad)
        if attempt.epoch == book.epochs.get(source):
            book.accused[source, attempt.order.digest] += len(bad)
            recovery.bad_by[source] = recovery.bad_by.get(source, BlockSet()) | bad
    recovery.reported |= right


def _note_end(book: NodeBook, event: RangeEnded) -> None:
    recovery = book.attempts[event.transfer]
    order = recovery.attempts[event.transfer].order
    if event.outcome is RangeOutcome.NOT_HELD:
        book.said.get(order.source, {}).pop(order.digest, None)
    _close_attempt(book, recovery, event.transfer)
    _give_second_chances(book)


def _close_attempt(book: NodeBook, recovery: RecoveryAccount, transfer: TransferId) -> None:
    attempt = recovery.attempts.pop(transfer)
    del book.attempts[transfer]
    whole = recovery.known_version().run_bytes(attempt.order.blocks.start, attempt.next_block)
    recovery.bytes.cut += attempt.received_bytes - whole


def _note_holdings(book: NodeBook, event: HoldingsArrived) -> None:
    book.lost.discard(event.node)
    if book.epochs.get(event.node) != event.epoch:
        book.epochs[event.node] = event.epoch
        book.stood_by_counts[event.node] = 0
        for pair in [pair for pair in book.questioned if pair[0] == event.node]:
            book.questioned.discard(pair)
            book.accused.pop(pair, None)
        for recovery in book.recoveries.values():
            recovery.bad_by.pop(event.node, None)
    book.said[event.node] = {holding.digest: holding for holding in event.holdings}
    _give_second_chances(book)


def _note_confirmation(book: NodeBook, event: HoldingConfirmed) -> None:
    if (event.source, event.digest) not in book.questioned:
        return
    book.questioned.discard((event.source, event.digest))
    accused = book.accused.pop((event.source, event.digest), 0)
    if event.confirmation is Confirmation.HELD:
        book.stood_by_counts[event.source] += accused
    if event.confirmation is Confirmation.NOT_HELD:
        book.said.get(event.source, {}).pop(event.digest, None)
        for recovery in book.recoveries.values():
            if recovery.version is not None and recovery.version.digest == event.digest:
                recovery.bad_by.pop(event.source, None)
    _give_second_chances(book)


def _give_second_chances(book: NodeBook) -> None:
    """Let sources be asked again for what they sent wrongly and nobody else may be asked for."""
    peers = book.node.scheduler.inspect().peers
    for recovery in book.recoveries.values():
        if recovery.version is None or not recovery.bad_by:
            continue
        lonely = union(recovery.bad_by.values()) & recovery.unclaimed()
        for source, said in book.said.items():
            holding, link = said.get(recovery.version.digest), peers[source].link
            if holding and source not in book.lost and link.quarantined_until_ns <= book.node.now:
                lonely -= holding.blocks - recovery.bad_by.get(source, BlockSet())
        for source, bad in recovery.bad_by.items():
            recovery.bad_by[source] = bad - lonely


def _note_commit(book: NodeBook, event: BlocksCommitted | CommitFailed) -> None:
    recovery = book.recoveries[event.recovery]
    if isinstance(event, BlocksCommitted):
        recovery.committed |= recovery.committing
    recovery.committing, recovery.commit_ended_ns = BlockSet(), book.node.now
    critical = recovery.known_version().classes[Criticality.CRITICAL]
    if recovery.critical_ns is None and critical and critical.issubset(recovery.committed):
        recovery.critical_ns = book.node.now
