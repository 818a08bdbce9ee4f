"""Sets of blocks, kept as runs.

A block is named by its index in the manifest's address space. What a node holds, misses or
asks for is nearly always a few long runs, so a set of a million blocks is a handful of
integers and every operation costs the number of runs, not of blocks.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple, final


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
    """An immutable set of block indices.

    The representation is a tuple of boundaries ``(start, end, start, end, …)``, strictly
    ascending, so that equal sets have equal representations.
    """

    __slots__ = ("_bounds", "_count")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """Build a set from runs ``[start, end)`` in any order; they may touch or overlap.

        Raises:
            ValueError: A run is empty or begins below 0.
        """
        bounds: list[int] = []
        for start, end in sorted(runs):
            if start < 0 or end <= start:
                raise ValueError(f"no run of blocks: [{start}, {end})")
            if bounds and start <= bounds[-1]:
                bounds[-1] = max(bounds[-1], end)
            else:
                bounds += (start, end)
        self._bounds = tuple(bounds)
        self._count = -1

    @classmethod
    def _of(cls, bounds: tuple[int, ...]) -> BlockSet:
        made = object.__new__(cls)
        made._bounds = bounds
        made._count = -1
        return made

    @classmethod
    def full(cls, block_count: int) -> BlockSet:
        """Return the blocks ``0`` … ``block_count - 1``."""
        return cls._of((0, block_count)) if block_count else cls._of(())

    @classmethod
    def single(cls, block: int) -> BlockSet:
        """Return the set of one block."""
        return cls(((block, block + 1),))

    @classmethod
    def of_run(cls, run: BlockRun) -> BlockSet:
        """Return the blocks of one run."""
        return cls._of(tuple(run))

    def __len__(self) -> int:
        if self._count < 0:  # most sets are never counted
            self._count = sum(self._bounds[1::2]) - sum(self._bounds[::2])
        return self._count

    def __bool__(self) -> bool:
        return bool(self._bounds)

    def __contains__(self, block: int) -> bool:
        return bisect_right(self._bounds, block) % 2 == 1

    def __iter__(self) -> Iterator[int]:
        for start, end in self.runs():
            yield from range(start, end)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockSet) and self._bounds == other._bounds

    def __hash__(self) -> int:
        return hash(self._bounds)

    def __repr__(self) -> str:
        return f"BlockSet({[tuple(run) for run in self.runs()]})"

    def runs(self) -> Iterator[BlockRun]:
        """Yield the maximal runs in ascending order."""
        bounds = self._bounds
        for index in range(0, len(bounds), 2):
            yield BlockRun(bounds[index], bounds[index + 1])

    @property
    def run_count(self) -> int:
        """How many maximal runs; what operations cost."""
        return len(self._bounds) // 2

    @property
    def last_block(self) -> int:
        """The highest block; only of a set that is not empty."""
        return self._bounds[-1] - 1

    def nth(self, index: int) -> int:
        """Return the block before which there are so many others in the set."""
        for start, end in self.runs():
            if index < end - start:
                return start + index
            index -= end - start
        raise IndexError(index)

    def first_run(self, at_least: int = 0) -> BlockRun | None:
        """Return the first run, cut to blocks ``>= at_least``; ``None`` if there is none."""
        bounds = self._bounds
        index = bisect_right(bounds, at_least)
        if index % 2 == 1:
            return BlockRun(at_least, bounds[index])
        if index == len(bounds):
            return None
        return BlockRun(bounds[index], bounds[index + 1])

    def with_run(self, run: tuple[int, int]) -> BlockSet:
        """Return the set with the blocks of one run added."""
        start, end = run
        bounds = self._bounds
        low = bisect_left(bounds, start)
        high = bisect_right(bounds, end)
        middle = ((start,) if low % 2 == 0 else ()) + ((end,) if high % 2 == 0 else ())
        return BlockSet._of(bounds[:low] + middle + bounds[high:])

    def without_run(self, run: tuple[int, int]) -> BlockSet:
        """Return the set with the blocks of one run taken out."""
        start, end = run
        bounds = self._bounds
        low = bisect_left(bounds, start)
        high = bisect_right(bounds, end)
        middle = ((start,) if low % 2 == 1 else ()) + ((end,) if high % 2 == 1 else ())
        return BlockSet._of(bounds[:low] + middle + bounds[high:])

    def __or__(self, other: BlockSet) -> BlockSet:
        mine, theirs = self._bounds, other._bounds
        if not mine or not theirs or mine == theirs:
            return self if mine else other
        if len(theirs) == 2:  # noqa: PLR2004 (one run)
            return self.with_run((theirs[0], theirs[1]))
        if len(mine) == 2:  # noqa: PLR2004
            return other.with_run((mine[0], mine[1]))
        return self._merged(other)

    def _merged(self, other: BlockSet) -> BlockSet:
        """Return the union of two sets of several runs: all but what both lack."""
        end = max(self._bounds[-1], other._bounds[-1])
        return BlockSet.full(end) - (self._complement(end) & other._complement(end))

    def __and__(self, other: BlockSet) -> BlockSet:
        mine, theirs = self._bounds, other._bounds
        if len(mine) < len(theirs):
            mine, theirs = theirs, mine
        if not theirs:
            return other if mine is self._bounds else self
        if other.run_count == 1 or self.run_count == 1:
            return BlockSet._of(_within(mine, *theirs))
        return BlockSet._of(_common(mine, theirs))

    def __sub__(self, other: BlockSet) -> BlockSet:
        if not other._bounds or not self._bounds:
            return self
        if other.run_count == 1:
            return self.without_run((other._bounds[0], other._bounds[1]))
        return self & other._complement(self._bounds[-1])

    def _complement(self, end: int) -> BlockSet:
        """Return what is not in the set, at least up to ``end``."""
        bounds = self._bounds
        gaps = bounds[1:] if bounds and bounds[0] == 0 else (0, *bounds)
        return BlockSet._of((*gaps, max(end, gaps[-1] + 1)))

    def within(self, start: int, end: int) -> BlockSet:
        """Return the blocks of the set that are at least ``start`` and below ``end``."""
        return BlockSet._of(_within(self._bounds, start, end))

    def meets(self, other: BlockSet) -> bool:
        """Tell whether any block is in both; cheaper than to find them all."""
        few, many = self._bounds, other._bounds
        if len(few) > len(many):
            few, many = many, few
        if not few:
            return False
        for index in range(0, len(few), 2):
            low = bisect_right(many, few[index])
            if low % 2 == 1 or (low < len(many) and many[low] < few[index + 1]):
                return True
        return False

    def issubset(self, other: BlockSet) -> bool:
        """Tell whether every block is in ``other`` too."""
        return not self - other


def _within(bounds: tuple[int, ...], start: int, end: int) -> tuple[int, ...]:
    """Cut boundaries to one run."""
    low, high = bisect_right(bounds, start), bisect_left(bounds, end)
    if low > high or (low == high and low % 2 == 0):
        return ()
    first = (start,) if low % 2 == 1 else ()
    last = (end,) if high % 2 == 1 else ()
    return first + bounds[low:high] + last


def _common(mine: tuple[int, ...], theirs: tuple[int, ...]) -> tuple[int, ...]:
    """Return the boundaries of what two sets that are not empty have in common.

    One pass over both with few calls in it: with hundreds of receivers nothing is done as often.
    """
    bounds: list[int] = []
    ours, others = iter(mine), iter(theirs)
    start, end = next(ours), next(ours)
    their_start, their_end = next(others), next(others)
    with suppress(StopIteration):
        while True:
            if end <= their_start:
                start = next(ours)
                end = next(ours)
            elif their_end <= start:
                their_start = next(others)
                their_end = next(others)
            elif end < their_end:
                bounds += (max(start, their_start), end)
                start = next(ours)
                end = next(ours)
            else:
                bounds += (max(start, their_start), their_end)
                their_start = next(others)
                their_end = next(others)
    return tuple(bounds)


def union(sets: Iterable[BlockSet]) -> BlockSet:
    """Return the blocks that are in any of some sets."""
    return BlockSet(run for blocks in sets for run in blocks.runs())
