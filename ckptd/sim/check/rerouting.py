"""Measures how soon what a silent source owes is asked of others."""

from __future__ import annotations

from ckptd.core.effects import Effect, FetchRange
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check


class Rerouting(Check):
    """Measures how long what a silent source owes is not asked of another one.

    Args:
        source: Who falls silent.
        at_ns: When.

    Attributes:
        first_ns: How long it took for the first of its blocks; ``None``: none was yet.
        worst_ns: … and for the last of them; ``None``: not all were yet.
    """

    def __init__(self, source: NodeId, at_ns: int) -> None:
        self.first_ns: int | None = None
        self.worst_ns: int | None = 0
        self._source = source
        self._at_ns = at_ns
        self._owed: BlockSet | None = None

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """See who is asked for what."""
        now = book.node.now
        if now < self._at_ns or not isinstance(effect, FetchRange):
            return
        if self._owed is None:
            attempts = book.recoveries[effect.recovery].attempts.values()
            self._owed = BlockSet(
                (attempt.next_block, attempt.order.blocks.end)
                for attempt in attempts
                if attempt.order.source == self._source
                and attempt.next_block < attempt.order.blocks.end
            )
        if effect.source != self._source and self._owed & BlockSet((effect.blocks,)):
            self.first_ns = now - self._at_ns if self.first_ns is None else self.first_ns
            self._owed = self._owed - BlockSet((effect.blocks,))
            self.worst_ns = now - self._at_ns if not self._owed else None
