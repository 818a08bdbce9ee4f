"""The address space: all blocks of a manifest laid end to end in manifest order.

Byte 0 is the first byte of the most urgent unit. The map costs memory for each unit, not for
each block; every look-up is one bisection.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from ckptd.limits import DIGEST_BYTES
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.prerequisites import all_prerequisites
from ckptd.model.words import Criticality


class Extent(NamedTuple):
    """A contiguous piece of one unit.

    Attributes:
        unit: Index of the unit in the manifest.
        offset: Where it begins inside the unit, in bytes.
        size_bytes: Its length.
    """

    unit: int
    offset: int
    size_bytes: int


class BlockPlace(NamedTuple):
    """Where a block lies and what it must hash to.

    Attributes:
        block: Index in the address space.
        unit: Index of its unit.
        offset: Where it begins inside the unit, in bytes.
        size_bytes: Its length.
        digest: BLAKE3 of its bytes, 32 bytes.
    """

    block: int
    unit: int
    offset: int
    size_bytes: int
    digest: bytes


class PhaseExtent(NamedTuple):
    """Where a phase lies: units of it follow each other, and so do their blocks.

    Attributes:
        phase: Which of the manifest's phases it is.
        name: Its name.
        units: Its units ``[start, end)``; at least one.
        blocks: Their blocks ``[start, end)``; none if all of them are empty.
    """

    phase: int
    name: str
    units: tuple[int, int]
    blocks: tuple[int, int]


class AddressSpace:
    """Where each block and each byte of a manifest lies.

    Attributes:
        manifest: What the space was made from.
        size_bytes: Length of the space.
        block_count: Number of blocks; empty units have none.
        phases: The phases that have units, in order.
        has_prerequisites: Some unit comes after another one.
    """

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        first_blocks = array("I")
        first_bytes = array("Q")
        block_sizes = array("I")
        starts = array("I")
        classes = _Classes()
        phase_starts: list[tuple[int, int, int]] = []  # of each: which, its first unit and block
        phase, has_prerequisites = -1, False
        block = position = 0
        for unit in manifest.units:
            count = unit.block_count
            if unit.phase != phase:
                phase = unit.phase
                phase_starts.append((phase, len(first_blocks), block))
            if unit.after:
                has_prerequisites = True
            if count:
                starts.append(block)
                classes.take(unit, block, block + count)
            first_blocks.append(block)
            first_bytes.append(position)
            block_sizes.append(unit.block_size_bytes)
            block += count
            position += unit.size_bytes
        first_blocks.append(block)  # of a unit behind the last one
        first_bytes.append(position)
        self._first_blocks = first_blocks
        self._first_bytes = first_bytes
        self._block_sizes = block_sizes
        starts.append(block)
        self._starts = starts
        self._classes = classes
        self._optional = BlockSet(classes.optional_runs())
        self.block_count = block
        self.size_bytes = position
        self.has_prerequisites = has_prerequisites
        behind = (0, len(manifest.units), block)
        self.phases = tuple(
            PhaseExtent(index, manifest.phases[index], (unit, last_unit), (start, end))
            for (index, unit, start), (_, last_unit, end) in pairwise((*phase_starts, behind))
        )
        self._phase_ends = [phase.blocks[1] for phase in self.phases]

    def unit_of(self, block: int) -> int:
        """Return the index of the unit a block belongs to.

        Raises:
            IndexError: No such block.
        """
        if not 0 <= block < self.block_count:
            raise IndexError(f"block {block} of {self.block_count}")
        return bisect_right(self._first_blocks, block) - 1

    def block_start(self, block: int) -> int:
        """Return the address of a block's first byte; ``block_count`` gives the space's end."""
        if block == self.block_count:
            return self.size_bytes
        unit = self.unit_of(block)
        inside = (block - self._first_blocks[unit]) * self._block_sizes[unit]
        return self._first_bytes[unit] + inside

    def block_at(self, position: int) -> int:
        """Return the block that a byte of the address space belongs to.

        Args:
            position: Address of the byte, below ``size_bytes``.
        """
        unit = bisect_right(self._first_bytes, position) - 1
        inside = position - self._first_bytes[unit]
        return self._first_blocks[unit] + inside // self._block_sizes[unit]

    def block_size(self, block: int) -> int:
        """Return the length of one block in bytes."""
        return self.run_bytes((block, block + 1))

    def run_bytes(self, run: tuple[int, int]) -> int:
        """Return the length in bytes of a run of blocks."""
        start, end = run
        if start < end:
            unit = self.unit_of(start)
            if end < self._first_blocks[unit + 1]:  # without the last block of the unit
                return (end - start) * self._block_sizes[unit]
        return self.block_start(end) - self.block_start(start)

    def set_bytes(self, blocks: BlockSet) -> int:
        """Return the length in bytes of a set of blocks."""
        return sum(self.run_bytes(run) for run in blocks.runs())

    def places(self, run: tuple[int, int]) -> Iterator[BlockPlace]:
        """Yield where each block of a run lies, in ascending order."""
        block, end = run
        if block >= end:
            return
        unit = self.unit_of(block)
        while block < end:
            first = self._first_blocks[unit]
            facts = self.manifest.units[unit]
            size, digests = facts.block_size_bytes, facts.block_digests
            for index in range(block - first, min(end - first, facts.block_count)):
                offset = index * size
                digest = bytes(digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES])
                length = min(size, facts.size_bytes - offset)
                yield BlockPlace(first + index, unit, offset, length, digest)
            block = first + facts.block_count
            unit += 1

    def run_within(self, start: int, bytes_max: int) -> BlockRun:
        """Return the longest run from ``start`` of at most ``bytes_max``; at least one block.

        Raises:
            IndexError: No such block.
        """
        unit = self.unit_of(start)
        inside = (start - self._first_blocks[unit]) * self._block_sizes[unit]
        target = self._first_bytes[unit] + inside + bytes_max
        if target >= self.size_bytes:
            return BlockRun(start, self.block_count)
        unit = bisect_right(self._first_bytes, target) - 1
        inside = (target - self._first_bytes[unit]) // self._block_sizes[unit]
        return BlockRun(start, max(self._first_blocks[unit] + inside, start + 1))

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        """Yield the pieces of units that the bytes ``start`` … ``end - 1`` consist of."""
        if start >= end:
            return
        unit = bisect_right(self._first_bytes, start) - 1
        while start < end:
            offset = start - self._first_bytes[unit]
            length = min(self._first_bytes[unit + 1], end) - start
            if length > 0:
                yield Extent(unit, offset, length)
                start += length
            unit += 1

    def unit_run(self, unit: int) -> tuple[int, int]:
        """Return the blocks ``[start, end)`` of a unit; empty for an empty unit."""
        return (self._first_blocks[unit], self._first_blocks[unit + 1])

    def units_within(self, blocks: BlockSet) -> int:
        """Return how many units have all their blocks in a set; an empty unit always has.

        Cost: O(runs of the set).
        """
        starts = self._starts  # of units that have blocks, and the end of the space
        count = len(self.manifest.units) - (len(starts) - 1)
        for start, end in blocks.runs():
            count += max(bisect_right(starts, end) - 1 - bisect_left(starts, start), 0)
        return count

    def class_ends(self) -> tuple[int, ...]:
        """Return where runs of blocks equal in phase and criticality end: the block behind."""
        return tuple(self._classes.ends)

    def phase_at(self, block: int) -> int:
        """Return which of the phases that have units a block belongs to."""
        return bisect_right(self._phase_ends, block)

    def prerequisites_of(self, blocks: BlockSet) -> BlockSet:
        """Return the blocks of all units that must be visible before those of some blocks."""
        if not self.has_prerequisites:
            return BlockSet()
        units = self.manifest.units
        needed = all_prerequisites(self.units_of(blocks), lambda unit: units[unit].after)
        return BlockSet(run for run in map(self.unit_run, needed) if run[0] < run[1])

    def units_of(self, blocks: BlockSet) -> tuple[int, ...]:
        """Return the units that have at least one of some blocks, in order."""
        units: list[int] = []
        run = blocks.first_run()
        while run is not None:
            units.append(self.unit_of(run.start))
            run = blocks.first_run(self.unit_run(units[-1])[1])
        return tuple(units)

    def of_whole_units(self, missing: BlockSet) -> BlockSet:
        """Return all blocks but those of units of which any block is missing."""
        left_out = BlockSet(map(self.unit_run, self.units_of(missing)))
        return BlockSet.full(self.block_count) - left_out

    def whole_units(self, blocks: BlockSet) -> int:
        """Return how many units that have blocks have all of them in a set."""
        return self.units_within(blocks) - self.units_within(BlockSet())

    def optional_blocks(self) -> BlockSet:
        """Return the blocks of all optional units."""
        return self._optional

    def of_criticality(self, criticality: Criticality) -> BlockSet:
        """Return the blocks of all units of one criticality."""
        return BlockSet(self._classes.runs_of(criticality))


class _Classes:
    """Which blocks are equal in phase and criticality, and which are optional.

    A version has few of those runs, however many units it has.

    Attributes:
        ends: Of the runs that are equal.
    """

    def __init__(self) -> None:
        self.ends: list[int] = []
        self._criticalities: list[Criticality] = []
        self._phase = -1
        self._optional = array("I")  # starts and ends of runs in turn

    def take(self, unit: Unit, start: int, end: int) -> None:
        """Take the next unit that has blocks."""
        if self.ends and (unit.phase, unit.criticality) == (self._phase, self._criticalities[-1]):
            self.ends[-1] = end
        else:
            self.ends.append(end)
            self._criticalities.append(unit.criticality)
            self._phase = unit.phase
        if unit.flags and unit.is_optional:
            optional = self._optional
            if optional and optional[-1] == start:
                optional[-1] = end
            else:
                optional.extend((start, end))

    def runs_of(self, criticality: Criticality) -> Iterator[tuple[int, int]]:
        """Yield the runs of one criticality."""
        start = 0
        for end, each in zip(self.ends, self._criticalities, strict=True):
            if each is criticality:
                yield (start, end)
            start = end

    def optional_runs(self) -> Iterator[tuple[int, int]]:
        """Yield the runs of blocks of optional units."""
        return zip(self._optional[::2], self._optional[1::2], strict=True)
