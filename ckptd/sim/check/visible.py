"""What can be seen of a version that is placed phase by phase: nothing before its time."""

from __future__ import annotations

from ckptd.core.effects import DiscardStaging, Effect, EndRecovery, PlacePhase, PlaceVersion
from ckptd.core.events import Event, PhasePlaced
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, RecoveryId
from ckptd.model.space import PhaseExtent
from ckptd.model.words import Result
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed


class VisibleInOrder(Check):
    """No unit of a phase can be seen before all required ones of earlier phases can.

    And what is durable of a phase is not kept back until all of the version is here.
    """

    def __init__(self) -> None:
        self._ordered: set[tuple[NodeId, RecoveryId]] = set()

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at what is about to be seen, and at what is taken away."""
        match effect:
            case PlacePhase():
                self._ordered.add((book.name, effect.recovery))
                self._look(book, effect)
            case PlaceVersion():
                _check_not_kept_back(book, book.recoveries[effect.recovery])
            case DiscardStaging():
                ending = book.node.scheduler.inspect().recoveries[effect.recovery].ending
                is_cancelled = ending is not None and ending.result is Result.CANCELLED
                due = is_cancelled and (book.name, effect.recovery) in self._ordered
                if effect.withdraws_placed is not due:
                    raise CheckFailed(book, f"{effect.recovery}: whose is what it placed?")
            case EndRecovery():
                self._ordered.discard((book.name, effect.recovery))
            case _:
                pass

    def _look(self, book: NodeBook, order: PlacePhase) -> None:
        recovery = book.recoveries[order.recovery]
        version = recovery.known_version()
        if not recovery.request.is_progressive:
            raise CheckFailed(book, f"{order.recovery} is to be placed at once")
        if order.missing != version.blocks - recovery.committed:
            raise CheckFailed(book, f"{order.recovery} would show what is not durable")
        visible = book.node.stagings[order.recovery].visible
        due = [phase for phase in version.space.phases if phase.phase <= order.phase]
        for phase in due:
            if lacks := _required(recovery, phase) - recovery.committed:
                raise CheckFailed(book, f"{order.recovery} lacks {lacks} of phase {phase.name}")
        for phase in due:
            if phase.phase < order.phase and not _required(recovery, phase).issubset(visible):
                raise CheckFailed(book, f"{order.recovery} passes over phase {phase.name}")

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Look at what can be seen now."""
        if not isinstance(event, PhasePlaced):
            return
        recovery = book.recoveries[event.recovery]
        staging = book.node.stagings[event.recovery]
        if not staging.visible.issubset(recovery.committed):
            raise CheckFailed(book, f"{event.recovery} shows what is not durable")
        lacks = BlockSet()
        for phase in recovery.known_version().space.phases:
            start, end = phase.blocks
            if lacks and staging.visible.count_within(start, end):
                raise CheckFailed(book, f"{event.recovery} shows {phase.name} before {lacks}")
            lacks = lacks or _required(recovery, phase) - staging.visible


def _required(recovery: RecoveryAccount, phase: PhaseExtent) -> BlockSet:
    """Return the blocks of a phase that are wanted, but for optional ones."""
    version = recovery.known_version()
    return BlockSet.of_run(phase.blocks) - recovery.unchosen - version.optional


def _check_not_kept_back(book: NodeBook, recovery: RecoveryAccount) -> None:
    """Check that phases that are complete were placed before the version is, but for the last."""
    request, version = recovery.request, recovery.known_version()
    if not request.is_progressive:
        return
    visible = book.node.stagings[request.recovery].visible
    phases = [phase for phase in version.space.phases if _required(recovery, phase)]
    for phase in phases[:-1]:
        required = _required(recovery, phase)
        if not required.issubset(recovery.committed):
            return  # it is placed without what nobody has
        if not required.issubset(visible):
            raise CheckFailed(book, f"{request.recovery} kept back phase {phase.name}")
