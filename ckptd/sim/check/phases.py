"""Phases, seen from outside: which one is under way, and that none overtakes another.

A scheduler looks ten times a second who has what is missing of a phase. So which phase is under way
is only known to be one of a few: not before the first one of which something was not reported, and
not behind one of which something has been on its way for long.
"""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import Effect, FetchRange
from ckptd.limits import MS
from ckptd.model.blocks import BlockSet
from ckptd.model.words import Criticality
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed

_SURE_NS: Final = 150 * MS


def surely_as(book: NodeBook, recovery: RecoveryAccount, criticality: Criticality) -> BlockSet:
    """Return the blocks that are so urgent, whichever phase is under way."""
    first, last = _ends(book, recovery)
    found = recovery.of_criticality(criticality, first)
    return found if first == last else found & recovery.of_criticality(criticality, last)


def perhaps_as(book: NodeBook, recovery: RecoveryAccount, criticality: Criticality) -> BlockSet:
    """Return the blocks that may be asked for as so urgent."""
    first, last = _ends(book, recovery)
    found = recovery.of_criticality(criticality, first)
    return found if first == last else found | recovery.of_criticality(criticality, last)


def critical_now(book: NodeBook, recovery: RecoveryAccount) -> BlockSet:
    """Return the critical blocks of the phase that is under way at least."""
    first, _ = _ends(book, recovery)
    return recovery.known_version().classes[Criticality.CRITICAL].within(0, first)


def comes_next(book: NodeBook, recovery: RecoveryAccount, order: FetchRange) -> BlockSet:
    """Return all blocks of the phase in which a source has to go on, and what is read.

    Args:
        book: Of the node.
        recovery: For which recovery.
        order: What the source is asked for; of this recovery it comes next whatever the source
            sent wrongly.
    """
    version = recovery.known_version()
    if len(version.space.phases) == 1:
        return version.blocks
    can = recovery.unclaimed() & book.askable(recovery, order.source)
    if order.recovery == recovery.request.recovery:
        can |= BlockSet.of_run(order.blocks)
    first = can.first_run()
    if first is None:
        return recovery.read
    start, end = version.space.phases[version.space.phase_at(first.start)].blocks
    return recovery.read | version.blocks.within(start, end)


def _ends(book: NodeBook, recovery: RecoveryAccount) -> tuple[int, int]:
    """Return the block behind the phase that is under way, at least and at most."""
    version = recovery.known_version()
    phases, end = version.space.phases, version.space.block_count
    if len(phases) == 1:
        return end, end
    missing = version.blocks - recovery.unchosen - recovery.reported
    run = missing.first_run()
    first = end if run is None else phases[version.space.phase_at(run.start)].blocks[1]
    long_ago = book.node.now - _SURE_NS
    coming = [
        attempt.next_block
        for attempt in recovery.attempts.values()
        if attempt.ordered_ns <= long_ago and attempt.next_block < attempt.order.blocks.end
    ]
    last = phases[version.space.phase_at(min(coming))].blocks[1] if coming else end
    return first, max(first, last)


def may_end_a_phase(book: NodeBook, recovery: RecoveryAccount, order: FetchRange) -> bool:
    """Return whether a range may be what another phase waits for: then it is asked for twice."""
    phases = recovery.known_version().space.phases
    return len(phases) > 1 and order.blocks.end <= min(
        _ends(book, recovery)[1], phases[-1].blocks[0]
    )


class PhasesInOrder(Check):
    """A source is asked for nothing of a phase while it could bring something of an earlier one.

    But for what somebody waits for or reads.
    """

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look for blocks of earlier phases that nobody was asked for."""
        if not isinstance(effect, FetchRange):
            return
        recovery = book.recoveries[effect.recovery]
        version, blocks = recovery.known_version(), BlockSet.of_run(effect.blocks)
        if len(version.space.phases) == 1 or blocks.issubset(recovery.read):
            return
        unclaimed = recovery.unclaimed()
        if not blocks.issubset(unclaimed) or book.proofs_due(recovery, effect.source):
            return  # asked for a second time, or to show that it is right
        begins = version.space.phases[version.space.phase_at(effect.blocks.start)].blocks[0]
        left = (unclaimed & book.askable(recovery, effect.source)).within(0, begins)
        if recovery.request.is_on_demand:
            left &= recovery.read
        if left:
            problem = f"{effect.recovery} asks {effect.source} for {effect.blocks}"
            raise CheckFailed(book, f"{problem} while it lacks {left} of an earlier phase")
