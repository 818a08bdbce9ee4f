"""What is received is counted by its length, however few bytes it was on its way."""

from __future__ import annotations

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.model.ids import NodeId, TransferId
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed


class PlainBytes(Check):
    """Of a range no less is counted than the blocks that came have, and no more than all have."""

    def __init__(self) -> None:
        self._orders: dict[tuple[NodeId, TransferId], FetchRange] = {}

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Remember what is asked for."""
        if isinstance(effect, FetchRange):
            self._orders[book.name, effect.transfer] = effect

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Look at what is reported of a range."""
        if isinstance(event, RangeEnded):
            self._orders.pop((book.name, event.transfer), None)
        if not isinstance(event, RangeProgressed):
            return
        order = self._orders[book.name, event.transfer]
        version, blocks = book.recoveries[order.recovery].known_version(), order.blocks
        least = version.run_bytes(blocks.start, event.next_block)
        most = version.run_bytes(*blocks)
        if not least <= event.received_bytes <= most:
            problem = f"of {blocks} those before {event.next_block} came"
            raise CheckFailed(book, f"{problem}, and {event.received_bytes} bytes are counted")

    def at_crash(self, book: NodeBook) -> None:
        """Forget what a daemon had asked for that has ended."""
        self._orders = {
            asked: order for asked, order in self._orders.items() if asked[0] != book.name
        }
