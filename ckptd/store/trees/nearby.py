"""Where on this node's disks, besides in staging, blocks of a version may lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias, final

from ckptd.model.blocks import BlockSet
from ckptd.store.trees.local_blocks import LocalBlock

Find: TypeAlias = Callable[[BlockSet], Iterable[LocalBlock]]
"""Says where some blocks may lie, at most once for each; of one file best one after another."""


@final
class Nearby:
    """Finds blocks, in the order in which the ways to find them were added.

    Attributes:
        blocks: Blocks that some way may find.
    """

    def __init__(self) -> None:
        self.blocks = BlockSet()
        self._ways: list[tuple[BlockSet, Find]] = []

    def add(self, blocks: BlockSet, find: Find) -> None:
        """Know a way to find some blocks."""
        if blocks:
            self.blocks |= blocks
            self._ways.append((blocks, find))

    def find(self, missing: Callable[[], BlockSet]) -> Iterator[Iterable[LocalBlock]]:
        """Yield where blocks may lie, one way after another.

        Args:
            missing: Says which blocks are still wanted; asked before each way.
        """
        for blocks, find in self._ways:
            if wanted := blocks & missing():
                yield find(wanted)
