"""Blocks of other versions on this node's disks that have the digest of one that is wanted.

There is no index of them: the manifests of what stands here are in the database anyway, and are
always what is true of the catalog. Nearly all that is equal lies at the same place of the same
file, so that is compared first, many digests at once. Of what is left only the digests that are
wanted are kept in memory, no more than a bound; those of the other versions pass by. Finding them
is no proof: what is taken is verified.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, islice
from typing import Final, NamedTuple, final

from ckptd.limits import DIGEST_BYTES
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Unit
from ckptd.model.space import AddressSpace
from ckptd.store.trees.local_blocks import LocalBlock
from ckptd.store.trees.standing_files import KnownPlace

_COMPARED: Final = 256
"""Digests that are compared, or pass by, in one call: 10 to 25 µs, and then it may be stopped."""

_BLOCKS_MIN: Final = 16
"""Units with fewer are left to the digests: looking for their paths costs as much."""

_SOUGHT_MAX: Final = 2**19
"""So many blocks are sought that do not lie at the same place: 95 MiB of digests. What is beyond
them comes from peers: a version of which more than half a million blocks moved is no job's next."""


class SimilarPlace(NamedTuple):
    """A place of another version.

    Attributes:
        known: What the catalog knows of it.
        space: How that version is laid out.
    """

    known: KnownPlace
    space: AddressSpace


@final
class EqualBlocks:
    """Finds wanted blocks in other versions, each once.

    Args:
        space: The version that is wanted.
        wanted: Which of its blocks.
        places: Where to look, the likeliest first.
        check: Called every few hundred blocks; what it raises ends the looking.

    Attributes:
        blocks: The blocks that were found.
        found_bytes: How many bytes of them lie at each place, in their order.

    Cost: see decision 051; 20 bytes for each run of blocks that was found.
    """

    def __init__(
        self,
        space: AddressSpace,
        wanted: BlockSet,
        places: tuple[SimilarPlace, ...],
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._space = space
        self._places = places
        self._check = check
        # Runs of blocks, the place and the unit where they lie, and their first number in it.
        self._columns = tuple(array("I") for _ in range(5))
        self._starts, self._ends, self._place_of, self._unit_of, self._rows = self._columns
        found_bytes = [0] * len(places)
        self._compare(wanted, found_bytes)
        self.blocks = self._found()
        self._seek(wanted - self.blocks, found_bytes)
        self._sort()
        self.blocks = self._found()
        self.found_bytes = tuple(found_bytes)

    def find(self, wanted: BlockSet) -> Iterator[LocalBlock]:
        """Yield where some of the blocks that were found lie."""
        for run in (wanted & self.blocks).runs():
            index = bisect_right(self._starts, run.start) - 1
            block = run.start
            while block < run.end:
                end = min(self._ends[index], run.end)
                yield from self._find_of(index, block, end)
                block, index = end, index + 1

    def _find_of(self, index: int, start: int, end: int) -> Iterator[LocalBlock]:
        """Yield where blocks of one run lie."""
        known, space = self._places[self._place_of[index]]
        unit = self._unit_of[index]
        path, grain_bytes = (
            known.path_of(space.manifest, unit),
            space.manifest.units[unit].block_size_bytes,
        )
        is_compressed = known.files.is_compressed(unit)
        offset = (self._rows[index] + start - self._starts[index]) * grain_bytes
        for place in self._space.places((start, end)):
            yield LocalBlock(
                place, known.root, path, offset, known.number, unit, is_compressed=is_compressed
            )
            offset += grain_bytes

    def _compare(self, wanted: BlockSet, found_bytes: list[int]) -> None:
        """Take down what lies at the same place of the same file."""
        units, left = self._space.manifest.units, wanted
        for index, place in enumerate(self._places):
            by_path = {
                facts.path: (unit, facts)
                for unit, facts in self._usable(place)
                if facts.block_count >= _BLOCKS_MIN
            }
            for number in self._space.units_of(left) if by_path else ():
                mine = units[number]
                unit, theirs = by_path.get(mine.path, (0, mine))
                if theirs is mine or theirs.block_size_bytes != mine.block_size_bytes:
                    continue
                first, end = self._space.unit_run(number)
                for run in left.within(first, end).runs():
                    for start, stop in self._equal(
                        mine, theirs, run.start - first, run.end - first
                    ):
                        run_bytes = self._space.run_bytes((first + start, first + stop))
                        found_bytes[index] += run_bytes
                        self._note(first + start, first + stop, index, unit, start)
            left = wanted - self._found()

    def _equal(self, mine: Unit, theirs: Unit, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield runs of equal digests at the same place of two units, counted from their starts."""
        end = min(end, theirs.block_count)
        for at in range(start, end, _COMPARED):
            self._check()
            stop = min(at + _COMPARED, end)
            part = slice(at * DIGEST_BYTES, stop * DIGEST_BYTES)
            ours, other = bytes(mine.block_digests[part]), bytes(theirs.block_digests[part])
            for first, last in _equal_runs(ours, other, 0, stop - at):
                yield at + first, at + last

    def _seek(self, wanted: BlockSet, found_bytes: list[int]) -> None:
        """Take down what lies anywhere else, as far as there is room to look for it."""
        if not self._places:
            return
        left: dict[bytes, int] = {}
        twins: dict[bytes, list[int]] = {}  # the others, where several are equal
        places = (each for run in wanted.runs() for each in self._space.places(run))
        for number, place in enumerate(islice(places, _SOUGHT_MAX)):
            if not number % _COMPARED:
                self._check()
            if left.setdefault(place.digest, place.block) != place.block:
                twins.setdefault(place.digest, []).append(place.block)
        for index, similar in enumerate(self._places):
            for unit, facts in self._usable(similar):
                if not left:
                    return
                for row, digest in self._sought(facts, left):
                    first = left.pop(digest, None)
                    if first is None:
                        continue
                    grain_bytes = facts.block_size_bytes
                    size_bytes = min(grain_bytes, facts.size_bytes - row * grain_bytes)
                    for block in (first, *twins.get(digest, ())):
                        found_bytes[index] += size_bytes
                        self._note(block, block + 1, index, unit, row)

    def _sought(self, facts: Unit, left: Mapping[bytes, int]) -> Iterator[tuple[int, bytes]]:
        """Yield digests of a unit among which some are sought, with their numbers in it."""
        for at in range(0, facts.block_count, _COMPARED):
            self._check()
            part = bytes(facts.block_digests[at * DIGEST_BYTES : (at + _COMPARED) * DIGEST_BYTES])
            if len(part) == DIGEST_BYTES:
                yield at, part
            elif not left.keys().isdisjoint(_digests(part)):
                yield from enumerate(_digests(part), at)

    def _usable(self, place: SimilarPlace) -> Iterator[tuple[int, Unit]]:
        """Yield the units that a place has as far as is known."""
        known = place.known
        for unit, facts in enumerate(place.space.manifest.units):
            if known.files.has(unit) and unit not in known.changed:
                yield unit, facts

    def _note(self, start: int, end: int, place: int, unit: int, row: int) -> None:
        """Take down that blocks lie at a place; together with those before them if that goes on."""
        if self._starts:
            follows = self._ends[-1] == start and self._rows[-1] + start - self._starts[-1] == row
            if follows and (self._place_of[-1], self._unit_of[-1]) == (place, unit):
                self._ends[-1] = end
                return
        self._starts.append(start)
        self._ends.append(end)
        self._place_of.append(place)
        self._unit_of.append(unit)
        self._rows.append(row)

    def _found(self) -> BlockSet:
        return BlockSet(zip(self._starts, self._ends, strict=True))

    def _sort(self) -> None:
        order = sorted(range(len(self._starts)), key=self._starts.__getitem__)
        for column in self._columns:
            column[:] = array("I", map(column.__getitem__, order))


def _equal_runs(ours: bytes, theirs: bytes, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield runs of equal digests in order; a few that differ cost some halvings each."""
    part = slice(start * DIGEST_BYTES, end * DIGEST_BYTES)
    if ours[part] == theirs[part]:
        yield start, end
    elif end - start > 1:
        middle = (start + end) // 2
        yield from _equal_runs(ours, theirs, start, middle)
        yield from _equal_runs(ours, theirs, middle, end)


def _digests(some: bytes) -> Iterator[bytes]:
    return chain.from_iterable(struct.iter_unpack(f"{DIGEST_BYTES}s", some))
