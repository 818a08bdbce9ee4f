"""Sets of blocks.

A block is named by its index in the manifest's address space. What a node holds, misses or
asks for is mostly a few long runs, and in a swarm thousands of short ones. A compressed bitmap
holds either in little memory and works on a million blocks in microseconds.

Source: D. Lemire et al., *Roaring Bitmaps: Implementation of an Optimized Software Library*
(2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from operator import or_
from typing import Final, NamedTuple, final

from pyroaring import BitMap

_BLOCKS_MAX: Final = 2**32 - 1
"""What a bitmap can name; far beyond what a manifest may have."""


class BlockRun(NamedTuple):
    """Consecutive blocks ``start`` … ``end - 1``; never empty."""

    start: int
    end: int

    @property
    def block_count(self) -> int:
        """How many blocks, at least 1."""
        return self.end - self.start


@final
class BlockSet:
    """An immutable set of block indices below 2³² - 1.

    The bitmap in it is never changed once the set is made.
    """

    __slots__ = ("_bits",)

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """Build a set from runs ``[start, end)`` in any order; they may touch or overlap.

        Raises:
            ValueError: A run is empty, begins below 0 or ends where no set can.
        """
        self._bits = BitMap()
        for start, end in runs:
            if not 0 <= start < end <= _BLOCKS_MAX:
                raise ValueError(f"no run of blocks: [{start}, {end})")
            self._bits.add_range(start, end)

    @classmethod
    def _of(cls, bits: BitMap) -> BlockSet:
        made = object.__new__(cls)
        made._bits = bits
        return made

    @classmethod
    def full(cls, block_count: int) -> BlockSet:
        """Return the blocks ``0`` … ``block_count - 1``."""
        return cls._of(_bits_of(0, block_count))

    @classmethod
    def single(cls, block: int) -> BlockSet:
        """Return the set of one block."""
        return cls(((block, block + 1),))

    @classmethod
    def of_run(cls, run: tuple[int, int]) -> BlockSet:
        """Return the blocks of one run."""
        return cls._of(_bits_of(*run))

    def __len__(self) -> int:
        return len(self._bits)

    def __bool__(self) -> bool:
        return bool(self._bits)

    def __contains__(self, block: int) -> bool:
        return 0 <= block <= _BLOCKS_MAX and block in self._bits

    def __iter__(self) -> Iterator[int]:
        return iter(self._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockSet) and self._bits == other._bits

    def __hash__(self) -> int:
        return hash((len(self), self.last_block)) if self else 0

    def __repr__(self) -> str:
        return f"BlockSet({[tuple(run) for run in self.runs()]})"

    def runs(self) -> Iterator[BlockRun]:
        """Yield the maximal runs in ascending order."""
        bounds = iter(self._bounds())
        return map(BlockRun, bounds, bounds)

    @property
    def run_count(self) -> int:
        """How many maximal runs."""
        return len(self._bounds()) // 2

    def _bounds(self) -> BitMap:
        """Return where runs begin and end, in turn: the blocks unlike the one before them."""
        return self._bits ^ self._bits.shift(1)

    @property
    def last_block(self) -> int:
        """The highest block; only of a set that is not empty."""
        return self._bits.max()

    def nth(self, index: int) -> int:
        """Return the block before which there are so many others in the set."""
        return self._bits[index]

    def first_run(self, at_least: int = 0) -> BlockRun | None:
        """Return the first run, cut to blocks ``>= at_least``; ``None`` if there is none."""
        bits = self._bits
        if not bits or (last := bits.max()) < at_least:
            return None
        start = bits.next_set_bit(at_least)
        if bits.contains_range(start, last + 1):
            return BlockRun(start, last + 1)
        return BlockRun(start, bits.flip(start, last).next_set_bit(start))

    def without_run(self, run: tuple[int, int]) -> BlockSet:
        """Return the set with the blocks of one run taken out."""
        bits = self._bits.copy()
        bits.remove_range(*run)
        return BlockSet._of(bits)

    def __or__(self, other: BlockSet) -> BlockSet:
        return BlockSet._of(self._bits | other._bits)

    def __and__(self, other: BlockSet) -> BlockSet:
        return BlockSet._of(self._bits & other._bits)

    def __sub__(self, other: BlockSet) -> BlockSet:
        return BlockSet._of(self._bits - other._bits)

    def within(self, start: int, end: int) -> BlockSet:
        """Return the blocks of the set that are at least ``start`` and below ``end``."""
        return BlockSet._of(self._bits & _bits_of(start, end))

    def count_within(self, start: int, end: int) -> int:
        """Return how many blocks of the set are at least ``start`` and below ``end``."""
        return self._bits.range_cardinality(start, end)

    def has_run(self, run: tuple[int, int]) -> bool:
        """Return whether all blocks of one run are in the set."""
        return self._bits.contains_range(*run)

    def meets(self, other: BlockSet) -> bool:
        """Return whether any block is in both; cheaper than to find them all."""
        return self._bits.intersect(other._bits)

    def issubset(self, other: BlockSet) -> bool:
        """Return whether every block is in ``other`` too."""
        return self._bits.issubset(other._bits)


def _bits_of(start: int, end: int) -> BitMap:
    bits = BitMap()
    bits.add_range(start, end)
    return bits


def union(sets: Iterable[BlockSet]) -> BlockSet:
    """Return the blocks that are in any of some sets."""
    return reduce(or_, sets, BlockSet())
