"""Serving: a held version as the address space that its peers ask for.

Whatever is sent was compared with what was hashed: :mod:`ckptd.store.published.pieces`. A version
that stands at several places is served unit by unit from the first place that has the unit.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import NamedTuple, Self

from ckptd.errors import ContentChanged, StorageError
from ckptd.model.blocks import BlockSet, union
from ckptd.model.ids import Digest
from ckptd.model.manifest import Unit
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.hashed_directories import HashedDirectory, blocks_of, held_blocks
from ckptd.store.files.hashing import digest_of
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.sparing_reading import SparingReading
from ckptd.store.published.pieces import (
    StoredPiece,
    check_unchanged,
    content_changed,
    open_published,
    read_pieces,
)
from ckptd.store.published.places import NO_UNITS


class ServedPlace(NamedTuple):
    """A place to serve from.

    Attributes:
        number: Its name in the catalog.
        root: The root it lies in.
        hashed: What was hashed there.
        unusable: Units that are not served from it.
    """

    number: int
    root: Root
    hashed: HashedDirectory
    unusable: frozenset[int] = NO_UNITS

    def has(self, unit: int) -> bool:
        """Return whether a unit may be served from here."""
        return self.hashed.files.has(unit) and unit not in self.unusable


class ServedVersion:
    """A held version from which bytes can be sent. Any thread may use it.

    Attributes:
        digest: Identity of the version.
        size_bytes: Length of its address space.
        space: Where each block lies.
        blocks: The blocks that are here.
        manifest_bytes: How long its manifest is, which stays in memory with it.
    """

    def __init__(
        self,
        places: Sequence[ServedPlace],
        *,
        on_bad: Callable[[int, int, str], None] = lambda number, unit, reason: None,
    ) -> None:
        """Serve from some places of one version, the first one first.

        Args:
            places: At least one.
            on_bad: Called by sending threads with the number of a place, a unit that is not as
                it was hashed there, and a sentence for people.
        """
        first = places[0].hashed
        self.digest: Digest = first.digest
        self.space = AddressSpace(first.manifest)
        self.size_bytes = self.space.size_bytes
        self.manifest_bytes = len(places[0].hashed.encoded)
        self.blocks = union(_blocks(self.space, place) for place in places)
        self._places = tuple(places)
        self._on_bad = on_bad
        self._bad: set[tuple[int, int]] = set()  # place and unit, found while serving
        self._is_whole = any(place.hashed.files.is_whole and not place.unusable for place in places)

    def holds(self, start: int, end: int) -> bool:
        """Return whether all of the bytes ``start`` … ``end - 1`` are here."""
        if not 0 <= start < end <= self.size_bytes:
            return False
        return self._is_whole or all(
            any(place.has(extent.unit) for place in self._places)
            for extent in self.space.extents(start, end)
        )

    def is_right(self, place: BlockPlace, block: memoryview) -> bool:
        """Return whether what was read of a block is what was published. Blocks."""
        return digest_of(block) == place.digest

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[StoredPiece, None, None]:
        """Yield where the bytes ``start`` … ``end - 1`` lie, in order. Blocks.

        The consumer sends each piece before it asks for the next, and closes the generator
        if it stops early. A piece is known to be unchanged once the generator has continued
        without an error.

        Args:
            start: The first.
            end: The one after the last.
            drops_used: Drop a piece from the page cache when the next one is asked for.

        Raises:
            ContentChanged: A file is gone, or not what it was when it was hashed; ``on_bad``
                was called. Thrown in by a consumer that could not read a piece, it is about that
                piece.
            StorageError: The file system refused.
        """
        assert self.holds(start, end), "asked for bytes that are not held"
        with contextlib.ExitStack() as stack:
            reading = _Reading(self._candidates, self._first_path, self.note_bad, stack)
            extents = self.space.extents(start, end)
            try:
                yield from read_pieces(
                    extents,
                    reading.open,
                    reading.compare,
                    drops_used=drops_used,
                    compressed=reading.compressed,
                )
            except ContentChanged as error:
                reading.blame(error)
                raise

    def reading(self) -> UnitReading:
        """Return what reads bytes of units one after another; to be closed."""
        stack = contextlib.ExitStack()
        return UnitReading(
            _Reading(self._candidates, self._first_path, self.note_bad, stack), stack
        )

    def note_bad(self, number: int, unit: int, reason: str) -> None:
        """Serve a unit from a place no more."""
        if (number, unit) not in self._bad:
            self._bad.add((number, unit))
            self._on_bad(number, unit, reason)

    def _first_path(self, unit: int) -> str:
        """Return where a unit should lie, for people."""
        place = next((each for each in self._places if each.has(unit)), self._places[0])
        return place.root.absolute(place.hashed.path_of(unit))

    def _candidates(self, unit: int) -> Iterator[ServedPlace]:
        for place in self._places:
            if place.has(unit) and (place.number, unit) not in self._bad:
                yield place


class UnitReading:
    """Reads bytes of units, for whom somebody else finds out whether they are right.

    The file that was read last stays open: opening it for each block, with the directories it lies
    in, costs as long as reading 256 KiB. For one thread, and only for a piece of work.
    """

    def __init__(self, reading: _Reading, stack: contextlib.ExitStack) -> None:
        self._reading = reading
        self._stack = stack
        self._unit: int | None = None  # whose file is open
        self._fd = -1
        self._file: SparingReading | CompressedFile | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close_file()
        self._stack.close()

    def read(self, unit: int, offset: int, into: memoryview) -> None:
        """Fill memory from a unit. Blocks.

        Raises:
            ContentChanged: The file is gone, or not what it was when it was hashed.
            StorageError: The file system refused.
        """
        if unit != self._unit:
            self._close_file()
            self._fd, self._unit = self._reading.open(unit), unit
        try:
            if self._file is None:
                self._file = self._opened(unit)
            self._file.read_exactly(offset, len(into), into)
            self._reading.compare(self._fd, unit)
        except OSError as error:
            changed = ContentChanged("file of a version", "cannot be read")
            self._give_up(changed)
            raise changed from error
        except ContentChanged as error:
            self._give_up(error)
            raise

    def _opened(self, unit: int) -> SparingReading | CompressedFile:
        """Return what reads the content of a unit from the file that is open."""
        compressed = self._reading.compressed(unit)
        if compressed is None:
            return SparingReading(self._fd, lambda _: None)
        file = CompressedFile(self._fd)
        file.check_is_of(compressed)
        return file

    def _give_up(self, error: ContentChanged) -> None:
        self._reading.blame(error)
        self._close_file()

    def _close_file(self) -> None:
        if self._unit is not None:
            self._unit = self._file = None
            os.close(self._fd)


class _Reading:
    """What one generator of pieces has open: a directory of each root, one file at most."""

    def __init__(
        self,
        candidates: Callable[[int], Iterator[ServedPlace]],
        unit_path: Callable[[int], str],
        note_bad: Callable[[int, int, str], None],
        stack: contextlib.ExitStack,
    ) -> None:
        self._candidates = candidates
        self._unit_path = unit_path
        self._note_bad = note_bad
        self._stack = stack
        self._names: dict[str, Names] = {}
        self._current: tuple[ServedPlace, int] | None = None

    def open(self, unit: int) -> int:
        """Open the file of a unit at the first place at which it is as it was hashed."""
        problem: StorageError | None = None
        for place in self._candidates(unit):
            self._current = (place, unit)
            names = self._names.get(place.root.name)
            if names is None:
                names = self._stack.enter_context(Names(place.root))
                self._names[place.root.name] = names
            try:
                return open_published(place.root, names, place.hashed.path_of(unit))
            except ContentChanged as error:
                self.blame(error)
                problem = error
            except StorageError as error:
                problem = error
        self._current = None
        raise problem or content_changed(self._unit_path(unit))

    def compare(self, fd: int, unit: int) -> None:
        """Check that the open file is what was hashed."""
        assert self._current
        place, _ = self._current
        file = place.hashed.files[unit]
        assert file
        path = place.root.absolute(place.hashed.path_of(unit))
        check_unchanged(fd, file.fingerprint, path)

    def compressed(self, unit: int) -> Unit | None:
        """Return the unit if the open file has it compressed."""
        assert self._current
        hashed = self._current[0].hashed
        return hashed.manifest.units[unit] if hashed.files.is_compressed(unit) else None

    def blame(self, error: ContentChanged) -> None:
        """Take note that the file that was opened last is not what was hashed."""
        if self._current is not None:
            place, unit = self._current
            path = place.root.absolute(place.hashed.path_of(unit))
            self._note_bad(place.number, unit, f"file {path}: {error.problem}")


def _blocks(space: AddressSpace, place: ServedPlace) -> BlockSet:
    return held_blocks(space, place.hashed.files) - blocks_of(space, place.unusable)
