"""Blocks of a held version that blocks of another one are coded against.

A base that is wrong makes a block wrong, of which the digest shows that it is. So a source hashes
what it reads of one before it codes with it, and a receiver before it blames anybody: then what
comes out wrong is the fault of neither base, and a rotten file is found where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ckptd.errors import StorageError
from ckptd.model.base_places import BasePlaces
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.files.hashing import digest_of
from ckptd.store.published.block_checks import check_block
from ckptd.store.published.checking import ROT
from ckptd.store.published.serving import ServedVersion, UnitReading


class BaseBlocks:
    """Reads blocks of a held version. Any thread.

    A unit that is not here, or of which a block was not right, is no base; the others are.

    Attributes:
        digest: Identity of the version.
        space: Where each of its blocks lies.
    """

    def __init__(self, version: ServedVersion) -> None:
        self.digest: Digest = version.digest
        self.space: AddressSpace = version.space
        self._version = version
        self._is_whole = version.blocks == BlockSet.full(version.space.block_count)
        self._lost: set[int] = set()  # units
        self._places: tuple[AddressSpace, BasePlaces] | None = None

    def serves(self, space: AddressSpace, blocks: BlockRun) -> bool:
        """Return whether all that lies here where some blocks of another version lie may be read.

        In one thread, of which others may read meanwhile.

        Args:
            space: Where the blocks of the other version lie.
            blocks: Which ones.
        """
        if self._is_whole and not self._lost:
            return True
        if self._places is None or self._places[0] is not space:
            self._places = (space, BasePlaces(space, self.space))
        units = map(self._places[1].unit_of, space.units_of(BlockSet.of_run(blocks)))
        return all(unit is None or self._has(unit) for unit in units)

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block of this version; return whether it is here, and right. Blocks."""
        if not self._has(place.unit):
            return False
        start = self.space.block_start(place.block)
        pieces = self._version.pieces(start, start + place.size_bytes)
        try:
            check_block(pieces, into, place.digest, reason=ROT)
        except StorageError:
            self._lost.add(place.unit)
            return False
        return True

    @contextmanager
    def reading(self) -> Iterator[BaseReading]:
        """Return what reads blocks one after another and leaves it to others what they hash to."""
        with self._version.reading() as files:
            yield BaseReading(self, files)

    def read_from(self, files: UnitReading, place: BlockPlace, into: memoryview) -> bool:
        """Read a block with what reads files; return whether it is here. Blocks."""
        if not self._has(place.unit):
            return False
        try:
            files.read(place.unit, place.offset, into)
        except StorageError:
            self._lost.add(place.unit)
            return False
        return True

    def _has(self, unit: int) -> bool:
        if unit in self._lost:
            return False
        start, end = map(self.space.block_start, self.space.unit_run(unit))
        return start == end or self._version.holds(start, end)


class BaseReading:
    """Reads blocks of a base one after another. One thread."""

    def __init__(self, base: BaseBlocks, files: UnitReading) -> None:
        self._base = base
        self._files = files

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block; return whether it is here; its digest is not looked at. Blocks."""
        return self._base.read_from(self._files, place, into)

    def read_right(self, place: BlockPlace, into: memoryview) -> bool:
        """Read a block; return whether it is here, and right. Blocks."""
        if not self.read(place, into):
            return False
        return digest_of(into) == place.digest or self._base.read(place, into)
