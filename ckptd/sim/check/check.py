"""A check: it is shown everything that happens, and fails if what must hold does not."""

from __future__ import annotations

from ckptd.core.effects import (
    Effect,
)
from ckptd.core.events import (
    Event,
)
from ckptd.model.ids import NodeId
from ckptd.sim.check.accounts import NodeBook


class Check:
    """Compares what a scheduler does with the books. Raises :class:`CheckFailed`."""

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Look at an event that the books have taken in and the scheduler has handled."""

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at an order that the books have not taken in yet."""

    def after_orders(self, book: NodeBook, event: Event) -> None:
        """Look at an event once the books have taken in all that was ordered because of it."""

    def now_and_then(self, book: NodeBook) -> None:
        """Look at a node that runs and does not stand still, whether or not anything happened."""

    def at_crash(self, book: NodeBook) -> None:
        """Look at a node whose daemon has just ended."""

    def at_rest(self, book: NodeBook) -> None:
        """Look at a node that has had nothing to do for a while."""

    def at_end(self, books: dict[NodeId, NodeBook]) -> None:
        """Look at everything once the simulation is over."""


class CheckFailed(AssertionError):
    """What must hold did not: a bug in ckptd, or in the simulator."""

    def __init__(self, book: NodeBook, problem: str) -> None:
        super().__init__(f"{book.node.now / 1e9:.6f}s {book.name}: {problem}")
