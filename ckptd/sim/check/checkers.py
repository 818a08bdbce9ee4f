"""What must hold of what is fetched, kept and blamed, at every event.

Each checker checks one promise against the books. How a node behaves is checked in
:mod:`ckptd.sim.check.conduct`, how recoveries end in :mod:`ckptd.sim.check.outcomes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.core.effects import (
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
from ckptd.core.events import Event, HoldingConfirmed, ManifestMissed, RangeEnded, StagingPrepared
from ckptd.core.state.invariants import check_invariants
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, Origin, RecoveryId
from ckptd.model.words import Confirmation, Criticality, Result
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.check.phases import (
    comes_next,
    critical_now,
    may_end_a_phase,
    perhaps_as,
    surely_as,
)

STOOD_BY_BLOCKS_MAX: Final = 8
"""A source that sends nothing but bad blocks and stands by them is in quarantine after so many:
with two points for each, that is what leads from the best trust to the worst."""


class Invariants(Check):
    """The scheduler does not contradict itself.

    Args:
        every: It is looked at after every so many events.
    """

    def __init__(self, every: int = 1) -> None:
        self._every = every
        self._count = 0

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Check the state, now and then."""
        del event
        self._count += 1
        if self._count % self._every == 0:
            check_invariants(book.node.scheduler.inspect())


class Verification(Check):
    """No wrong byte is accepted, and nothing is called complete that is not."""

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Compare what the scheduler thinks verified, when something was reported to it."""
        if isinstance(event, StagingPrepared):
            recovery = book.recoveries[event.recovery]
            if recovery.committed != event.verified:
                raise CheckFailed(book, f"{event.recovery} resumes with other blocks")

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is made durable, placed or called complete."""
        match effect:
            case CommitBlocks():
                recovery = book.recoveries[effect.recovery]
                if not effect.blocks:
                    raise CheckFailed(book, f"{effect.recovery} commits nothing")
                if not effect.blocks.issubset(recovery.written):
                    raise CheckFailed(book, f"{effect.recovery} commits blocks that never came")
                if effect.blocks & recovery.committed:
                    raise CheckFailed(book, f"{effect.recovery} commits blocks twice")
            case PlaceVersion():
                recovery = book.recoveries[effect.recovery]
                here = recovery.known_version().blocks - effect.missing
                if effect.unchosen & wanted(book, effect.recovery):
                    raise CheckFailed(book, f"{effect.recovery} leaves out what was asked for")
                if recovery.committed != here:
                    raise CheckFailed(book, f"{effect.recovery} places what is not committed")
                _check_permitted(book, recovery, effect.missing - effect.unchosen)
                if recovery.written != here:
                    raise CheckFailed(book, f"{effect.recovery} leaves out blocks that are here")
            case FetchRange():
                if not BlockSet.of_run(effect.blocks).issubset(wanted(book, effect.recovery)):
                    raise CheckFailed(book, f"{effect} is for what nobody asked for")
            case EndRecovery(result=result) if result.is_success:
                _check_result(book, effect)
            case _:
                pass


def wanted(book: NodeBook, recovery: RecoveryId) -> BlockSet:
    """Return the blocks of a recovery that somebody asked for by now."""
    version, staging = book.recoveries[recovery].known_version(), book.node.stagings.get(recovery)
    return version.blocks if staging is None else staging.wanted(version)


def _check_result(book: NodeBook, end: EndRecovery) -> None:
    """Check that a recovery that placed something says rightly what is not there, and why."""
    recovery = book.recoveries[end.recovery]
    version, left_out = recovery.known_version(), recovery.left_out
    lacking = version.blocks - recovery.committed
    if len(lacking - left_out) != end.final.missing_blocks:
        problem = f"{end.recovery} is {end.result} but for {end.final.missing_blocks}"
        raise CheckFailed(book, f"{problem} blocks; {len(lacking - left_out)} are not here")
    required = lacking - version.optional
    result = Result.CHOSEN if required else Result.COMPLETE
    if required - left_out:
        result = Result.PARTIAL
    if end.result is not result:
        raise CheckFailed(book, f"{end.recovery} is {end.result} without {required}")


def _check_permitted(book: NodeBook, recovery: RecoveryAccount, missing: BlockSet) -> None:
    """Check that a version may be placed without some blocks."""
    version, request = recovery.known_version(), recovery.request
    if missing & version.classes[Criticality.CRITICAL]:
        raise CheckFailed(book, f"{request.recovery} places without critical blocks")
    required = missing - version.optional
    if required and not request.allow_partial:
        raise CheckFailed(book, f"{request.recovery} places without required {required}")
    if required and not version.space.whole_units(version.blocks - missing):
        raise CheckFailed(book, f"{request.recovery} places nothing")


class Stillness(Check):
    """Nothing is written while staging is prepared, placed or removed, or once a recovery ended."""

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look for transfers and commits that are under way."""
        if not isinstance(effect, PrepareStaging | PlaceVersion | DiscardStaging | EndRecovery):
            return
        recovery = book.recoveries[effect.recovery]
        if recovery.attempts:
            problem = "while ranges are in flight"
        elif recovery.committing:
            problem = "while blocks are committed"
        else:
            return
        raise CheckFailed(book, f"{effect.recovery}: {type(effect).__name__} {problem}")


class UrgentFirst(Check):
    """A source is asked for nothing while it could serve something more urgent.

    Of the recovery it is asked for, where prioritized units go before all others, and of any other
    one that may ask. The background is asked for nothing while any other recovery could be served.
    """

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look for a more urgent block that nobody was asked for."""
        if not isinstance(effect, FetchRange):
            return
        mine, blocks = book.recoveries[effect.recovery], BlockSet.of_run(effect.blocks)
        awaited = mine.prioritized | mine.needed
        if not mine.prioritized.issubset(mine.reported) and not blocks.issubset(awaited):
            is_new = blocks.issubset(mine.unclaimed())  # else a second source is asked for it
            if is_new:
                _check_left(book, effect, mine, mine.prioritized)
        for recovery in (mine, *_others(book, effect)):
            if mine.request.is_background and not recovery.request.is_background:
                _check_left(book, effect, recovery, recovery.known_version().blocks)
            for criticality in range(effect.criticality):
                urgent = surely_as(book, recovery, Criticality(criticality))
                urgent &= comes_next(book, recovery, effect)
                _check_left(book, effect, recovery, urgent)


def _check_left(
    book: NodeBook, order: FetchRange, recovery: RecoveryAccount, urgent: BlockSet
) -> None:
    """Check that a source could not be asked for any of some blocks instead."""
    if recovery.request.is_on_demand:
        urgent &= recovery.read
    if not urgent.issubset(recovery.reported):
        left = urgent & recovery.unclaimed() & book.askable(recovery, order.source)
        if left:
            problem = f"{order.recovery} asks {order.source} for {order.blocks}"
            name = recovery.request.recovery
            raise CheckFailed(book, f"{problem} while {name} lacks more urgent {left}")


def _others(book: NodeBook, order: FetchRange) -> Iterator[RecoveryAccount]:
    """Yield the other recoveries that may ask a source."""
    for name, state in book.node.scheduler.inspect().recoveries.items():
        if name != order.recovery and state.is_fetching:
            yield book.recoveries[name]


class Choice(Check):
    """A source is asked for what it says it has, never for what is here already, or is zeros.

    What is asked of one source is asked of another only if it is critical, or its phase ends.
    """

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is asked of whom."""
        if isinstance(effect, FetchManifest):
            _check_manifest(book, effect)
        if not isinstance(effect, FetchRange):
            return
        recovery = book.recoveries[effect.recovery]
        blocks = BlockSet.of_run(effect.blocks)
        if not blocks.issubset(book.servable(recovery, effect.source)):
            problem = f"{effect.source} is asked for {effect.blocks}"
            raise CheckFailed(book, f"{problem}, which it cannot serve")
        if len(blocks) > 1 and book.proofs_due(recovery, effect.source):
            problem = f"{effect.source} is asked for {effect.blocks}"
            raise CheckFailed(book, f"{problem} and has not shown that its bad units are right")
        if blocks & recovery.reported:
            raise CheckFailed(book, f"{effect.source} is asked for blocks that are here")
        if blocks & recovery.known_version().zeros:
            raise CheckFailed(book, f"{effect.source} is asked for zeros")
        if not blocks.issubset(perhaps_as(book, recovery, effect.criticality)):
            raise CheckFailed(book, f"{effect.blocks} are not all {effect.criticality.label}")
        unclaimed = recovery.unclaimed()
        if blocks.issubset(unclaimed):
            return
        is_urgent = effect.criticality is Criticality.CRITICAL
        if not is_urgent and not may_end_a_phase(book, recovery, effect):
            raise CheckFailed(book, f"{effect.blocks} are asked for twice and not critical")
        if blocks & unclaimed:
            raise CheckFailed(book, f"{effect.blocks} were asked for before, but not all of them")


def _check_manifest(book: NodeBook, order: FetchManifest) -> None:
    """Check that a manifest is of the version that is wanted, and that the source has it."""
    recovery = book.recoveries[order.recovery]
    request, version = recovery.request, recovery.version
    if request.job is not None:
        return  # of shards, by the check of agreement
    if version is not None and order.digest not in {version.digest, recovery.chosen}:
        raise CheckFailed(book, f"{order} is not of {version.name}")
    if order.source is None:
        return
    holding = book.said.get(order.source, {}).get(order.digest)
    if holding is None:
        raise CheckFailed(book, f"{order.source} does not have what {order} asks for")
    is_right = request.version is None or holding.version == request.version
    if holding.checkpoint != request.checkpoint or not is_right:
        raise CheckFailed(book, f"{order} is not of what was requested")


class InOrder(Check):
    """A recovery that is alone takes a class in order.

    It is alone if all who have any of the version have all of it. A source that failed last is
    tried with one block from the end.
    """

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look for a block before the range that could be asked for instead."""
        if not isinstance(effect, FetchRange):
            return
        recovery = book.recoveries[effect.recovery]
        blocks, unclaimed = BlockSet.of_run(effect.blocks), recovery.unclaimed()
        said = [known.get(effect.digest) for known in book.said.values()]
        holdings = [holding for holding in said if holding is not None]
        is_alone = all(holding.is_complete for holding in holdings)
        is_trial = len(blocks) == 1 and len(holdings) > 1
        if not is_alone or is_trial or not blocks.issubset(unclaimed):
            return
        if book.proofs_due(recovery, effect.source):
            return  # it begins with a block that was bad
        wanted = unclaimed & (book.askable(recovery, effect.source) | blocks)
        first = _most_urgent(book, recovery, wanted).first_run()
        if first is not None and first.start != effect.blocks.start:
            problem = f"{effect.recovery} asks {effect.source} for {effect.blocks}"
            raise CheckFailed(book, f"{problem} and not for {first}, which comes before")


def _most_urgent(book: NodeBook, recovery: RecoveryAccount, wanted: BlockSet) -> BlockSet:
    """Return of some blocks those that go first: needed, prioritized, fetched ahead, else all."""
    for needed in recovery.needs.values():
        found = wanted & needed & recovery.needed
        if found:
            return found
    is_critical = wanted.meets(critical_now(book, recovery))
    ahead = BlockSet() if is_critical else wanted & recovery.ahead
    return wanted & recovery.prioritized or ahead or wanted


class Blame(Check):
    """Bad blocks are blamed on who sent them, and on nobody else.

    No peer is questioned that sent none, and no honest peer loses trust.

    Args:
        liars: Nodes that send bad blocks and stand by them.
        only_bad: Those of them that send nothing else.
    """

    def __init__(self, liars: frozenset[NodeId], only_bad: frozenset[NodeId]) -> None:
        self._liars = frozenset(map(Origin, liars))
        self._only_bad = frozenset(map(Origin, only_bad))

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Check the trust in all peers after it may have changed."""
        if not isinstance(event, HoldingConfirmed | ManifestMissed | RangeEnded):
            return
        peers = book.node.scheduler.inspect().peers
        for peer in peers.values():
            if peer.standing.quarantines and peer.origin not in self._liars:
                raise CheckFailed(book, f"{peer.origin} is honest and in quarantine")
        if isinstance(event, HoldingConfirmed) and event.confirmation is Confirmation.HELD:
            origin = book.origins[event.source]
            bad_blocks = book.stood_by_counts[origin]
            is_due = origin in self._only_bad and bad_blocks >= STOOD_BY_BLOCKS_MAX
            if is_due and not peers[event.source].standing.quarantines:
                raise CheckFailed(book, f"{event.source} sent {bad_blocks} bad blocks")

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Check that every bad block was counted, and that a peer which is questioned sent one."""
        if isinstance(effect, ConfirmHolding) and not effect.blocks.issubset(
            book.accused.get((book.origins[effect.source], effect.digest), BlockSet())
        ):
            raise CheckFailed(book, f"{effect.source} is questioned and sent no bad block")
        if isinstance(effect, EndRecovery):
            reported = book.recoveries[effect.recovery].bad_blocks
            if effect.final.bad_blocks != reported:
                problem = f"{effect.recovery} counts {effect.final.bad_blocks} bad blocks"
                raise CheckFailed(book, f"{problem}; there were {reported}")

    def at_end(self, books: dict[NodeId, NodeBook]) -> None:
        """Check that all honest peers are trusted."""
        for book in books.values():
            for origin, standing in book.node.scheduler.inspect().standings.items():
                is_quarantined = standing.quarantined_until_ns > book.node.now
                if (standing.trust < 0 or is_quarantined) and origin not in self._liars:
                    raise CheckFailed(book, f"{origin} is honest and not trusted")
