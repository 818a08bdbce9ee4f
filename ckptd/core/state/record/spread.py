"""How many other receivers have which blocks, as far as it matters for what is asked for first.

Counts are kept as sets: which blocks somebody has, which two have, and so on up to a few. So it
costs what a set costs, not a number for each block.

Source: B. Cohen, *Incentives Build Robustness in BitTorrent* (2003): rarest first, or the last
blocks of a version lie with few nodes, and all others wait for these.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ckptd.model.blocks import BlockSet

COUNTED_MAX: Final = 4
"""Blocks that so many others have are common, however many more there are: of thirty peers that a
node knows, four can give it a block long before the end."""


class Spread:
    """Which blocks other receivers have, by how many of them have each.

    Args:
        holders: What each of them has.

    Attributes:
        had_by: In place ``n`` the blocks that more than ``n`` of them have; may name some too
            many, since who has everything is no receiver any more.
    """

    __slots__ = ("had_by",)

    def __init__(self, holders: Iterable[BlockSet] = ()) -> None:
        self.had_by = [BlockSet() for _ in range(COUNTED_MAX)]
        for blocks in holders:
            self.grow(blocks)

    def __contains__(self, block: int) -> bool:
        return block in self.had_by[0]

    def grow(self, added: BlockSet) -> None:
        """Take in that one more has some blocks."""
        for count, blocks in enumerate(self.had_by):
            if not added:
                break
            self.had_by[count], added = blocks | added, blocks & added

    def rarest_of(self, blocks: BlockSet, *, at_least: int) -> BlockSet:
        """Return those of some blocks that the fewest others have.

        Args:
            blocks: Which ones; not empty.
            at_least: So many others have each of them for certain: 0 or 1.
        """
        for common in self.had_by[at_least:]:
            rare = blocks - common
            if rare:
                return rare
        return blocks
