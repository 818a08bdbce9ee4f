"""Which recovered units stay in the page cache for the job that loads next: within one bound.

A job loads a version right after its recovery, and reads it from memory if its pages were not
dropped. A recovery may bring more than that memory, and what comes last is the least urgent part:
without a bound it would push out what is needed first. So critical units stay first, of the newest
recovery first, then the normal ones, then the others, each whole; and last what was placed of a
checkpoint before it was recovered again. What is not to stay leaves the cache as soon as it is
durable, and again when it was read to be hashed.

Warm is what was not dropped; the kernel may have evicted it all the same. Counted are recoveries
that are under way or were placed in this life of the daemon.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ckptd.errors import CkptdError
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import RecoveryId
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.kernel import drop_cached
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root

UNBOUNDED: Final = 2**63
"""Nothing is dropped."""

_PLACED_MAX: Final = 64
"""Of so many placed recoveries it is known what stays; what an older one kept leaves."""


@dataclass(slots=True)
class WarmBlocks:
    """What one recovery keeps. Any thread may look at ``kept``, which never grows.

    Attributes:
        recovery: Which.
        checkpoint: What it recovers.
        kept: The blocks of the units that stay.
        sizes: Their bytes, by criticality.
        space: Where they lie; ``None`` once they are placed: then it is in the catalog.
        is_placed: They stand under their final names.
        is_superseded: The checkpoint is recovered again since.
        place: The number of their place in the catalog; 0: it is not there yet.
        lost: Blocks that stayed at first, and that nobody dropped yet.
        is_cut: Some of what was placed has to go, see :meth:`settle`.
    """

    recovery: RecoveryId
    checkpoint: str
    kept: BlockSet
    sizes: list[int]
    space: AddressSpace | None
    is_placed: bool = False
    is_superseded: bool = False
    place: int = 0
    lost: BlockSet = field(default_factory=BlockSet)
    is_cut: bool = False

    @classmethod
    def none(cls, recovery: RecoveryId, space: AddressSpace) -> WarmBlocks:
        """Return that of a recovery which brings nothing so far."""
        sizes = [0 for _ in Criticality]
        return cls(recovery, space.manifest.checkpoint, BlockSet(), sizes, space)

    @property
    def size_bytes(self) -> int:
        """How much stays, as far as is known."""
        return sum(self.sizes)

    def keep(self, blocks: BlockSet) -> None:
        """Keep some blocks, before they are placed."""
        assert self.space is not None
        self.kept = blocks
        for criticality in Criticality:
            of_class = blocks & self.space.of_criticality(criticality)
            self.sizes[criticality] = self.space.set_bytes(of_class)

    def cut(self, criticality: Criticality, budget_bytes: int) -> None:
        """Keep no more than so much of a class."""
        if self.space is None:
            self.sizes[criticality], self.is_cut = budget_bytes, True
        else:
            self._fit(self.space, criticality, budget_bytes)

    def settle(self, space: AddressSpace) -> BlockSet:
        """Choose which placed units go; return them.

        Args:
            space: Of the version.
        """
        for criticality in Criticality:
            self._fit(space, criticality, self.sizes[criticality])
        lost, self.lost, self.is_cut = self.lost, BlockSet(), False
        return lost

    def leave_out(self, missing: BlockSet) -> None:
        """Count no units that are not here."""
        if missing.meets(self.kept):
            self.keep(self.kept - missing)

    def _fit(self, space: AddressSpace, criticality: Criticality, budget_bytes: int) -> None:
        of_class = self.kept & space.of_criticality(criticality)
        fits, self.sizes[criticality] = _fitting(space, of_class, budget_bytes)
        if lost := of_class - fits:
            self.kept -= lost
            self.lost |= lost


def _fitting(space: AddressSpace, blocks: BlockSet, budget_bytes: int) -> tuple[BlockSet, int]:
    """Return units among some that are within a budget, urgent ones first; and their bytes."""
    size_bytes = space.set_bytes(blocks)
    if size_bytes <= budget_bytes:
        return blocks, size_bytes
    runs, left_bytes = [], budget_bytes
    for unit in space.units_of(blocks) if budget_bytes else ():
        run = space.unit_run(unit)
        if (unit_bytes := space.run_bytes(run)) <= left_bytes:
            runs.append(run)
            left_bytes -= unit_bytes
    return BlockSet(runs), budget_bytes - left_bytes


class Warmth:
    """What all recoveries of this daemon keep in the page cache. Any thread may use it.

    Args:
        bound_bytes: No more than this; 0: nothing.
    """

    def __init__(self, bound_bytes: int = UNBOUNDED) -> None:
        self.bound_bytes = bound_bytes
        self._lock = threading.Lock()
        self._known: dict[RecoveryId, WarmBlocks] = {}  # oldest first

    def begin(self, recovery: RecoveryId, space: AddressSpace, blocks: BlockSet) -> WarmBlocks:
        """Choose what a recovery keeps; others may have to give way.

        Args:
            recovery: Which; what was chosen for it before counts no more.
            space: What it brings.
            blocks: Of which units it does.
        """
        warm = WarmBlocks.none(recovery, space)
        warm.keep(blocks)
        with self._lock:
            self._known.pop(recovery, None)
            for other in self._known.values():
                other.is_superseded |= other.is_placed and other.checkpoint == warm.checkpoint
            self._known[recovery] = warm
            self._share()
        warm.lost = BlockSet()  # nothing of it was written yet
        return warm

    def widen(self, warm: WarmBlocks, blocks: BlockSet) -> None:
        """Choose again what a recovery keeps: it is to bring more than was known.

        Args:
            warm: What it keeps so far; what it dropped it does not keep again.
            blocks: Of which units there are more.
        """
        with self._lock:
            warm.keep(warm.kept | blocks)
            self._share()

    def _share(self) -> None:
        left_bytes = self.bound_bytes
        newest_first = tuple(reversed(self._known.values()))
        for is_superseded, criticality in itertools.product((False, True), Criticality):
            for warm in (each for each in newest_first if each.is_superseded is is_superseded):
                if warm.sizes[criticality] > left_bytes:
                    warm.cut(criticality, left_bytes)
                left_bytes -= warm.sizes[criticality]

    def place(self, warm: WarmBlocks, missing: BlockSet) -> BlockSet:
        """Take note that a recovery's units were placed.

        Args:
            warm: What it keeps.
            missing: Blocks whose units were left out.

        Returns:
            What had to give way since it began, and is to be dropped.
        """
        with self._lock:
            warm.leave_out(missing)
            lost, warm.lost = warm.lost - missing, BlockSet()
            warm.is_placed, warm.space = True, None
            placed = [each for each in self._known.values() if each.is_placed]
            for oldest in placed[: max(len(placed) - _PLACED_MAX, 0)]:
                for criticality in Criticality:
                    oldest.cut(criticality, 0)
            return lost

    def end(self, recovery: RecoveryId) -> None:
        """Count a recovery no more: its files are gone."""
        with self._lock:
            self._known.pop(recovery, None)

    def cut(self) -> Sequence[WarmBlocks]:
        """Return what has to give way in part, of what is in the catalog."""
        with self._lock:
            return [warm for warm in self._known.values() if warm.is_cut and warm.place]

    def settle(self, warm: WarmBlocks, space: AddressSpace) -> BlockSet:
        """Choose which placed units give way; return them.

        Args:
            warm: Whose.
            space: Where they lie.
        """
        with self._lock:
            return warm.settle(space)

    def count(self, is_there: Callable[[int], bool]) -> int:
        """Return how many bytes stay, of all that was placed.

        Args:
            is_there: Says of a place whether the catalog has it still; else it counts no more.
        """
        with self._lock:
            for warm in [each for each in self._known.values() if each.is_placed]:
                if warm.place and not is_there(warm.place):
                    del self._known[warm.recovery]
            return sum(each.size_bytes for each in self._known.values() if each.is_placed)


def drop_files(root: Root, paths: Iterable[str]) -> None:
    """Drop files from the page cache, except pages that are in use or not durable. Blocks.

    A tmpfs has its files nowhere else and keeps them. What cannot be opened stays.

    Args:
        root: Where they are.
        paths: Relative to it.

    Cost: opens each of them.
    """
    with Names(root) as names:
        for path in paths:
            with suppress(CkptdError, OSError):
                fd = names.open_file(path, os.O_RDONLY)
                try:
                    drop_cached(fd)
                finally:
                    os.close(fd)
