"""Somebody who reads ranges of a unit of a recovery, one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from ckptd.core.events import Event, NeedEnded, RangeNeeded
from ckptd.core.scheduler import Scheduler
from ckptd.model.ids import NeedId, RecoveryId

ByteRun: TypeAlias = tuple[int, int]
"""The first byte of a range in its unit, and the one behind its last."""


class ReadNode(Protocol):
    """On which node is read."""

    scheduler: Scheduler
    readers: dict[NeedId, Callable[[], None]]
    reads_ns: list[int]

    @property
    def now(self) -> int:
        """The moment."""

    @property
    def life(self) -> int:
        """Which life of it."""

    def report(self, *events: Event) -> None:
        """Report facts that became known together."""

    def next_need(self) -> NeedId:
        """Return a name that was not used before."""


class SimulatedReader:
    """Waits for each range until all of it is here, then for the next one.

    Args:
        node: Where.
        recovery: Of which recovery.
        name: What the scheduler calls the reader.
        unit: Which unit.
        ranges: What it reads.
    """

    def __init__(
        self,
        node: ReadNode,
        recovery: RecoveryId,
        name: str,
        unit: int,
        ranges: Sequence[ByteRun],
    ) -> None:
        self._node = node
        self._recovery = recovery
        self._name = name
        self._unit = unit
        self._left = list(ranges)
        self._need = NeedId(-1)
        self._position = 0
        self._begun_ns = 0
        self._life = node.life

    def begin(self) -> None:
        """Wait for the next range; one that is here is read at once."""
        while self._left and self._is_in_life():
            self._need = self._node.next_need()
            self._position = self._left[0][0]
            self._begun_ns = self._node.now
            self._node.readers[self._need] = self.look
            self._ask()
            if not self._read_on():
                return

    def look(self) -> None:
        """Look what is here now."""
        if self._is_in_life() and self._read_on():
            self.begin()

    def _ask(self) -> None:
        need = (self._need, self._name, self._unit, self._position, self._left[0][1])
        self._node.report(RangeNeeded(self._recovery, *need))

    def _read_on(self) -> bool:
        """Read what is here; return whether that is all of the range."""
        known = self._node.scheduler.inspect().recoveries.get(self._recovery)
        if known is None or known.described is None:
            self._node.readers.pop(self._need, None)
            self._left.clear()
            return True
        space, position = known.described.space, self._position
        facts, (first, _) = space.manifest.units[self._unit], space.unit_run(self._unit)
        grain_bytes, end = facts.block_size_bytes, min(self._left[0][1], facts.size_bytes)
        while position < end and first + position // grain_bytes in known.coverage.verified:
            position = (position // grain_bytes + 1) * grain_bytes
        if position >= end:
            self._left.pop(0)
            self._node.reads_ns.append(self._node.now - self._begun_ns)
            del self._node.readers[self._need]
            self._node.report(NeedEnded(self._recovery, self._need))
            return True
        if position > self._position:
            self._position = position
            self._ask()
        return False

    def _is_in_life(self) -> bool:
        return self._node.life == self._life
