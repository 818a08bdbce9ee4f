"""The story of a simulation: a bounded text for people, and a digest of all of it.

Equal digests mean equal stories. The text omits fields that cannot be spelled out.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from typing import Final

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import Event, HoldingsArrived
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.sim.node.node import Node, Watch

LINES_MAX: Final = 20_000
"""Most lines that are kept; the last ones."""

_UNSPELLED: Final = frozenset(
    {"space", "final", "holdings", "digest", "explanation", "why", "rivals", "joint"}
)


class Chronicle(Watch):
    """Writes down every node's events and what it ordered.

    Args:
        keeps_lines: Lines are kept, not only digested.

    Attributes:
        lines: The last ones.
    """

    def __init__(self, *, keeps_lines: bool = False) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX if keeps_lines else 0)
        self._digest = hashlib.blake2b(digest_size=16)
        self._spellings: dict[type, Callable[[object], str]] = {}

    def digest(self) -> str:
        """Return the digest of the story so far, as hexadecimal digits."""
        return self._digest.hexdigest()

    def started(self, node: Node) -> None:
        """Tell that a daemon starts."""
        self._tell(node, f"begins life {node.life}")

    def stopped(self, node: Node) -> None:
        """Tell that a daemon ends."""
        self._tell(node, f"ends life {node.life}")

    def delivered(self, node: Node, order: FetchRange, run: BlockRun, bad: tuple[int, ...]) -> None:
        """Report bad blocks; good ones come with the events."""
        if bad:
            self._tell(node, f"gets bad blocks {bad} of {run.start}-{run.end} from {order.source}")

    def swept(self, node: Node, recovery: RecoveryId, removed: BlockSet) -> None:
        """Tell what was removed from staging."""
        self._tell(node, f"loses {removed} of {recovery}")

    def handled(self, node: Node, events: Sequence[Event], effects: Sequence[Effect]) -> None:
        """Tell events and the orders that follow."""
        for event in events:
            self._tell(node, self._spell(event))
        for effect in effects:
            self._tell(node, f"  → {self._spell(effect)}")

    def _tell(self, node: Node, what: str) -> None:
        line = f"{node.now} {node.name} {what}"
        self._digest.update(line.encode())
        self.lines.append(line)

    def _spell(self, item: Event | Effect) -> str:
        kind = type(item)
        spelling = self._spellings.get(kind)
        if spelling is None:
            spelling = self._spellings[kind] = _spelling_of(kind)
        return spelling(item)


def _spelling_of(kind: type) -> Callable[[object], str]:
    """Return how values of a class are spelled: its name, and its fields in order."""
    if kind is HoldingsArrived:
        return _spell_holdings
    names = [known.name for known in fields(kind) if known.name not in _UNSPELLED]
    if not names:
        return lambda _: kind.__name__
    getter = attrgetter(*names)

    def spell(item: object) -> str:
        values = getter(item) if len(names) > 1 else (getter(item),)
        return f"{kind.__name__} {' '.join(map(_spell_value, values))}"

    return spell


def _spell_value(value: object) -> str:
    if isinstance(value, BlockRun):
        return f"{value.start}-{value.end}"
    return str(value.value) if isinstance(value, Enum) else str(value)


def _spell_holdings(item: object) -> str:
    assert isinstance(item, HoldingsArrived)
    counts = " ".join(
        f"{held.checkpoint}@{held.version}:{len(held.blocks)}/{held.block_count}"
        for held in item.holdings
    )
    recovering = "".join(f" recovers {job}@{version}" for job, version in item.recovering)
    return f"HoldingsArrived {item.node} {item.epoch} {counts}{recovering}"
