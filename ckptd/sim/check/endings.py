"""Every order that starts something ends once: by the table :data:`ckptd.core.effects.ENDS`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import fields
from operator import attrgetter
from typing import Final

from ckptd.core.effects import ENDED_BY, ENDS, ConfirmHolding, Effect, ExamineRival, FetchManifest
from ckptd.core.events import Event
from ckptd.model.ids import NodeId
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed

_QUESTIONS = frozenset({ConfirmHolding, ExamineRival, FetchManifest})
"""Orders that may end after the recovery they were given for: a late answer is of no use."""

_Order = tuple[type[Effect], Hashable]


def _identity_of(kind: type[Effect]) -> Callable[[object], Hashable]:
    """Return what names an order: the fields that it shares with every event that ends it."""
    shared = set.intersection(
        *({known.name for known in fields(each)} for each in (kind, *ENDS[kind]))
    )
    return attrgetter(*sorted(shared))


_IDENTITIES: Final = {kind: _identity_of(kind) for kind, events in ENDS.items() if events}
"""Of the orders that start something."""


class Endings(Check):
    """Every order that starts something ends with exactly one event."""

    def __init__(self) -> None:
        self._open: dict[NodeId, Counter[_Order]] = {}

    def at_crash(self, book: NodeBook) -> None:
        """Forget what was open: it will not end."""
        self._open.pop(book.name, None)

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Remove the order that an event ends."""
        order = _order_ended(event)
        if order is None:
            return
        opened = self._open.setdefault(book.name, Counter())
        if not opened[order]:
            raise CheckFailed(book, f"{event} ends nothing")
        opened[order] -= 1

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Note what has to end."""
        order = _order_started(effect)
        if order is None:
            return
        opened = self._open.setdefault(book.name, Counter())
        opened[order] += 1
        # A peer of a new epoch may be questioned while the old one's answer is awaited.
        if opened[order] > 1 and not isinstance(effect, ConfirmHolding):
            raise CheckFailed(book, f"{effect} was ordered before and has not ended")

    def at_rest(self, book: NodeBook) -> None:
        """Check that nothing is open at all, late answers included."""
        left = [*+self._open.get(book.name, Counter())]
        if left:
            raise CheckFailed(book, f"has nothing to do, and {left} did not end")

    def at_end(self, books: dict[NodeId, NodeBook]) -> None:
        """Check that nothing is open where no recovery is under way."""
        for name, book in books.items():
            if not book.node.scheduler.inspect().recoveries and book.node.is_up:
                opened = +self._open.get(name, Counter())
                left = [order for order in opened if order[0] not in _QUESTIONS]
                if left:
                    raise CheckFailed(book, f"all recoveries ended, but not {left}")


def _order_started(effect: Effect) -> _Order | None:
    """Name an order that has to end; ``None`` for one that starts nothing."""
    kind = type(effect)
    identity = _IDENTITIES.get(kind)
    return None if identity is None else (kind, identity(effect))


def _order_ended(event: Event) -> _Order | None:
    """Name the order that an event ends; ``None`` for one that ends nothing."""
    kind = ENDED_BY.get(type(event))
    return None if kind is None else (kind, _IDENTITIES[kind](event))
