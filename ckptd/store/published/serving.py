"""Serving: where the bytes of a version lie, checked to be those that were hashed.

A file that changed since must not be sent as if it had not: its fingerprint is compared when
it is opened, before each piece and after it. What was sent of a piece that changed meanwhile is
caught by the receiver, which verifies every block; the sender aborts so that it is not blamed.

What a recovery has so far is served from its staging, where only this node writes, and no block
twice: there is nothing to compare until the version is placed.

Descriptors live no longer than a piece of work: opening a file again costs 10 µs, and a
descriptor kept for later would keep a removed checkpoint's room on the disk taken.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Generator, Iterator
from typing import Final, NamedTuple

from ckptd.errors import CkptdError, ContentChanged, NotFound, StorageError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, Extent
from ckptd.store.files.fingerprints import (
    Fingerprint,
    HashedDirectory,
    UnitFile,
    fingerprint_of,
    held_blocks,
)
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root

PIECE_BYTES_MAX: Final = 64 * MIB
"""A change in a longer stretch of a unit is noticed after at most so much."""

_REPLACED: Final = {errno.ELOOP, errno.ENOTDIR, errno.ENXIO}
"""What opening says where a link, a file or a socket took the place of a directory or file.
Others, such as EMFILE, say nothing about the content."""


READ_BYTES_MAX: Final = 64 * KIB
"""Shorter stretches of a file are read, many into one piece: a call of sendfile for each, and a
look at the file before and after it, cost more than a copy of so much."""

_TOGETHER_BYTES: Final = 256 * KIB
"""What of short stretches makes a piece."""


_UNSENT_BYTES: Final = 8 * MIB
"""More than a send buffer has (4 MiB, tcp(7)). What is in it cannot leave the page cache yet, so
what lies so far before a piece goes with it."""


class Piece(NamedTuple):
    """Bytes ready to be sent, of one file or of several short ones.

    Attributes:
        fd: The file; good until the next piece is asked for.
        offset: Where they begin in it.
        size_bytes: How many, at least 1.
        data: The bytes, if they were read already and their files checked since; likewise good
            until the next piece is asked for. Then there is no file.
    """

    fd: int
    offset: int
    size_bytes: int
    data: memoryview | None = None


class ServedVersion:
    """A held version from which bytes can be sent. Immutable; any thread may use it.

    Attributes:
        digest: Identity of the version.
        size_bytes: Length of its address space.
        space: Where each block lies.
        blocks: The blocks that are here.
    """

    def __init__(self, root: Root, hashed: HashedDirectory) -> None:
        self.digest: Digest = hashed.digest
        self.space = AddressSpace(hashed.manifest)
        self.size_bytes = self.space.size_bytes
        self.blocks = held_blocks(self.space, hashed.files)
        self._root = root
        self._hashed = hashed
        self._is_whole = all(hashed.files)

    def holds(self, start: int, end: int) -> bool:
        """Tell whether all of the bytes ``start`` … ``end - 1`` are here."""
        if not 0 <= start < end <= self.size_bytes:
            return False
        files = self._hashed.files
        return self._is_whole or all(
            files[extent.unit] for extent in self.space.extents(start, end)
        )

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[Piece, None, None]:
        """Yield where the bytes ``start`` … ``end - 1`` lie, in order. Blocks.

        The consumer sends each piece before it asks for the next, and closes the generator
        if it stops early. Bytes that were yielded may be relied on once the generator has gone
        on without an error.

        Args:
            start: The first.
            end: The one after the last.
            drops_used: What was yielded leaves the page cache when the next is asked for.

        Raises:
            ContentChanged: A file is gone, or not what it was when it was hashed. The
                catalog must be told: :meth:`Catalog.mark_stale`.
            StorageError: The file system refused.
        """
        assert self.holds(start, end), "asked for bytes that are not held"
        with Names(self._root) as names:
            extents = self.space.extents(start, end)
            yield from _pieces(extents, self._open, self._compare, names, drops_used=drops_used)

    def _open(self, names: Names, unit: int) -> int:
        path = self._hashed.path_of(unit)
        return _open(names, path, self._root)

    def _compare(self, fd: int, unit: int) -> None:
        file = self._hashed.files[unit]
        assert file
        if _differs(fd, file.fingerprint):
            raise _changed(self._root.absolute(self._hashed.path_of(unit)))


class StagedVersion:
    """A version that a recovery is bringing, of which bytes can be sent already.

    Any thread may ask for bytes, at any time: nothing stays open between pieces, so the recovery
    waits for nobody when it ends. If it placed the version, the rest of a response comes from
    there, compared like that of a held version; if it was discarded, the response ends short.

    Attributes:
        space: Where each block lies.
        size_bytes: Length of the address space.
        blocks: The blocks that are here, durable and in the journal.
    """

    def __init__(self, root: Root, staging: str, target: str, space: AddressSpace) -> None:
        """Begin with no block.

        Args:
            root: Where the version will stand.
            staging: The recovery's directory, relative to the root.
            target: Where that will be renamed to, relative to the root.
            space: What the version consists of.
        """
        self.space = space
        self.size_bytes = space.size_bytes
        self.blocks = BlockSet()
        self._root = root
        self._staging = staging
        self._target = target
        self._files: tuple[UnitFile | None, ...] | None = None

    def add(self, blocks: BlockSet) -> None:
        """Serve more blocks. For one thread at a time, as is the next."""
        self.blocks |= blocks

    def expect_rename(self, files: tuple[UnitFile | None, ...] | None) -> None:
        """Note what the files are to be from the rename on; ``None``: they are not final yet."""
        self._files = files

    def holds(self, start: int, end: int) -> bool:
        """Tell whether all of the bytes ``start`` … ``end - 1`` are here."""
        if not 0 <= start < end <= self.size_bytes:
            return False
        first = self._block_at(start)
        run = self.blocks.first_run(first)
        return run is not None and run.start == first and self._block_at(end - 1) < run.end

    def _block_at(self, position: int) -> int:
        (extent,) = self.space.extents(position, position + 1)
        block_size_bytes = self.space.manifest.units[extent.unit].block_size_bytes
        return self.space.unit_run(extent.unit)[0] + extent.offset // block_size_bytes

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[Piece, None, None]:
        """Yield where the bytes ``start`` … ``end - 1`` lie; see :meth:`ServedVersion.pieces`.

        Raises:
            NotFound: The recovery was given up, or left the unit out.
            ContentChanged: The version is placed, and a file is not what it was then.
            StorageError: The file system refused.
        """
        assert self.holds(start, end), "asked for bytes that are not held"
        with Names(self._root) as names:
            extents = self.space.extents(start, end)
            yield from _pieces(extents, self._open, self._compare, names, drops_used=drops_used)

    def _open(self, names: Names, unit: int) -> int:
        path = self.space.manifest.units[unit].path
        try:
            return names.open_file(f"{self._staging}/{path}", os.O_RDONLY)
        except NotFound:
            # What the files are to be is noted before the rename, so this is not too early.
            if self._files is None or self._files[unit] is None:
                raise
        return _open(names, f"{self._target}/{path}", self._root)

    def _compare(self, fd: int, unit: int) -> None:
        files = self._files
        file = files[unit] if files else None
        if file and _differs(fd, file.fingerprint):
            path = self.space.manifest.units[unit].path
            raise _changed(self._root.absolute(f"{self._target}/{path}"))


def find_changed(root: Root, hashed: HashedDirectory) -> CkptdError | None:
    """Look at every file of a version; return what is wrong with the first that changed.

    Cost: one ``stat`` for each unit.
    """
    with Names(root) as names:
        for unit, file in enumerate(hashed.files):
            if not file:
                continue
            path = hashed.path_of(unit)
            try:
                facts = names.stat(path)
            except CkptdError as error:
                return error
            if facts is None:
                return ContentChanged(f"file {root.absolute(path)}", "was removed")
            if fingerprint_of(facts) != file.fingerprint:
                return _changed(root.absolute(path))
    return None


def _pieces(
    extents: Iterator[Extent],
    open_unit: Callable[[Names, int], int],
    compare: Callable[[int, int], None],
    names: Names,
    *,
    drops_used: bool,
) -> Generator[Piece, None, None]:
    """Yield the pieces of some extents, each file compared after its bytes were used.

    Args:
        extents: Which.
        open_unit: Opens the file of a unit.
        compare: Raises what is wrong with an open file of a unit.
        names: For opening.
        drops_used: Bytes leave the page cache once they were used.
    """
    together = memoryview(b"")
    filled = 0
    for unit, offset, size_bytes in extents:
        is_short = size_bytes <= READ_BYTES_MAX
        if filled and not (is_short and filled + size_bytes <= len(together)):
            yield Piece(-1, 0, filled, together[:filled])
            filled = 0
        fd = open_unit(names, unit)
        try:
            if is_short:
                together = together or memoryview(bytearray(_TOGETHER_BYTES))
                _read(fd, offset, together[filled : filled + size_bytes])
                filled += size_bytes
                if drops_used:
                    _drop(fd, offset, offset + size_bytes)
            else:
                for piece in _split(fd, offset, size_bytes):
                    compare(fd, unit)
                    yield piece
                    if drops_used:
                        _drop(fd, piece.offset - _UNSENT_BYTES, piece.offset + piece.size_bytes)
            compare(fd, unit)
        finally:
            os.close(fd)
    if filled:
        yield Piece(-1, 0, filled, together[:filled])


def _read(fd: int, offset: int, memory: memoryview) -> None:
    """Fill memory from a file; what is missing of a file that is shorter shows in its look.

    Raises:
        ContentChanged: The disk cannot read it.
    """
    done = 0
    try:
        while done < len(memory):
            count = os.preadv(fd, [memory[done:]], offset + done)
            if not count:
                return
            done += count
    except OSError as error:
        raise ContentChanged("version", "a file of it cannot be read") from error


def _drop(fd: int, start: int, end: int) -> None:
    """Let bytes of a file leave the page cache, those that nobody uses at the moment."""
    start = max(start, 0)
    os.posix_fadvise(fd, start, end - start, os.POSIX_FADV_DONTNEED)


def _split(fd: int, offset: int, size_bytes: int) -> Iterator[Piece]:
    for start in range(offset, offset + size_bytes, PIECE_BYTES_MAX):
        yield Piece(fd, start, min(PIECE_BYTES_MAX, offset + size_bytes - start))


def _open(names: Names, path: str, root: Root) -> int:
    try:
        return names.open_file(path, os.O_RDONLY)
    except NotFound as error:
        raise ContentChanged(f"file {root.absolute(path)}", "was removed") from error
    except StorageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno not in _REPLACED:
            raise
        raise _changed(root.absolute(path)) from error


def _differs(fd: int, expected: Fingerprint) -> bool:
    facts = os.fstat(fd)
    return fingerprint_of(facts) != expected or facts.st_nlink != 1


def _changed(path: str) -> ContentChanged:
    return ContentChanged(
        f"file {path}", "changed since it was published", "Publish the version again."
    )
