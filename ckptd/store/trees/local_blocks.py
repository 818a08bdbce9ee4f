"""Blocks that this node's disks have already, taken into staging so that they need not travel.

The one way to do that, wherever the bytes lie: at another place of the same version, in a file that
is to be replaced, or in a file of another version that has an equal block. What is taken is
verified by the block's digest, always; a place that turned out to be gone, changed or unreadable
costs nothing but the look.

Where the file system shares extents (XFS, btrfs) blocks that lie side by side are shared in one
call, which costs no room and hardly any time; what the new file has is read and verified, past the
page cache: what is in memory of the old file is not of the new one, and pages to hold it a second
time took longer than the disk. Elsewhere blocks are read once, verified and written from the same
memory. So are those of a unit that is kept compressed, decoded.
"""

from __future__ import annotations

import itertools
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.manifest import Manifest
from ckptd.model.space import BlockPlace
from ckptd.store.files.compressed_files import CompressedFile
from ckptd.store.files.hashing import digest_of, read_exactly
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.uncached_reading import UncachedReading, whole_pages
from ckptd.store.trees.finishing import Finish
from ckptd.store.trees.whole_units import is_whole, write_whole

_SHARED_BYTES_MIN: Final = 256 * KIB
"""Less is read, verified and written: two calls, and nothing that is wrong."""

_READ_BACK_BYTES: Final = 4 * MIB
"""What is read at once of a file that got extents of another one, unless a block is longer."""

_WRITTEN_BYTES: Final = 256 * KIB
"""What is written in one call. For a longer one ext4 takes memory in pieces of up to 2 MiB, which
took three to eight times as long on a virtual machine that gives such pieces back to its host."""


class LocalBlock(NamedTuple):
    """A block that is wanted, and bytes of a disk that may be it.

    Attributes:
        wanted: The block, with the digest that its bytes must have.
        root: Where the file lies.
        path: The file, relative to the root.
        offset: Where the bytes begin in it.
        place: By whom it is recorded that they are there: a place of the catalog …
        of_unit: … and a unit of it; 0 and -1: by nobody.
        is_compressed: The file has its content compressed; the offset is one of the content.
    """

    wanted: BlockPlace
    root: Root
    path: str
    offset: int
    place: int = 0
    of_unit: int = -1
    is_compressed: bool = False


class UnitWriting(Protocol):
    """Writes to the files of units that come in blocks, and knows which have to be synced."""

    def write(self, unit: int, offset: int, data: memoryview, *, piece_bytes: int) -> None:
        """Write bytes of a unit."""

    def share(self, unit: int, offset: int, size_bytes: int, source: int, at: int) -> None:
        """Let a unit have the extents of a part of another file."""


class BlockCopier:
    """Copies blocks into the files of a staging directory; for one thread.

    Args:
        tree: The staging directory; the files of units that come in blocks exist.
        manifest: What is staged there.
        files: Writes to them.
        finish_of: What the file of a unit that comes whole gets last.
        check: Called before each block; what it raises ends the copying.

    Attributes:
        wrong: Blocks that were read and are not what they were thought to be.
    """

    def __init__(
        self,
        tree: Root,
        manifest: Manifest,
        files: UnitWriting,
        finish_of: Callable[[int], Finish],
        check: Callable[[], None],
    ) -> None:
        self._tree = tree
        self._manifest = manifest
        self._files = files
        self._finish_of = finish_of
        self._check = check
        self._buffer = memoryview(b"")
        self._compressed: CompressedFile | None = None
        self.wrong: list[LocalBlock] = []

    def take(self, blocks: Iterable[LocalBlock]) -> Iterator[int]:
        """Copy some blocks; yield those that are right in their staged file.

        Nothing is durable then. A file may be left with bytes that are not those of its block;
        such a block is not yielded.

        Args:
            blocks: What to take from where, each block once; of one file best one after another.

        Raises:
            NotFound: A staged file is gone.
            OSError: One cannot be written.
            CkptdError: As above, or what the check raised.

        Cost: reads all of them once, or what was copied of them.
        """
        for (root, path), of_file in itertools.groupby(blocks, lambda each: (each.root, each.path)):
            fd = _open_readable(root, path)
            if fd is None:
                continue
            self._compressed = None
            try:
                for unit, of_unit in itertools.groupby(of_file, lambda each: each.wanted.unit):
                    if is_whole(self._manifest.units[unit]):
                        yield from self._take_whole(fd, unit, of_unit)
                    else:
                        yield from self._take_of_unit(fd, unit, of_unit)
            finally:
                os.close(fd)

    def _take_whole(self, fd: int, unit: int, blocks: Iterable[LocalBlock]) -> Iterator[int]:
        for block in blocks:
            self._check()
            data = self._read(fd, block)
            if data is None:
                self.wrong.append(block)
                continue
            with Names(self._tree) as names:
                write_whole(names, self._manifest.units[unit], data, self._finish_of(unit))
            yield block.wanted.block

    def _take_of_unit(self, fd: int, unit: int, blocks: Iterable[LocalBlock]) -> Iterator[int]:
        for stretch in _stretches(blocks):
            self._check()
            if self._share(fd, stretch):
                yield from self._read_back(stretch)
            else:
                yield from self._copy(fd, stretch)

    def _copy(self, fd: int, stretch: Sequence[LocalBlock]) -> Iterator[int]:
        """Read blocks, and write those that are right; yield them."""
        for block in stretch:
            self._check()
            wanted = block.wanted
            data = self._read(fd, block)
            if data is None:
                self.wrong.append(block)
                continue
            self._files.write(wanted.unit, wanted.offset, data, piece_bytes=_WRITTEN_BYTES)
            yield wanted.block

    def _share(self, fd: int, stretch: Sequence[LocalBlock]) -> bool:
        """Let the file of a unit have the extents of blocks; return whether it has.

        If not, they are read and written: between file systems, on one that shares none, where a
        block does not lie at pages, and in all other cases, as then the error says whose it is.
        """
        first, size_bytes = stretch[0], _size_of(stretch)
        if size_bytes < _SHARED_BYTES_MIN or first.is_compressed:
            return False
        try:
            self._files.share(first.wanted.unit, first.wanted.offset, size_bytes, fd, first.offset)
        except OSError:
            return False
        return True

    def _read_back(self, stretch: Sequence[LocalBlock]) -> Iterator[int]:
        """Yield the blocks of a stretch that are right in the file of their unit."""
        fd = self._tree.open_file(self._manifest.units[stretch[0].wanted.unit].path, os.O_RDONLY)
        try:
            reading = UncachedReading(fd)
            for piece in _pieces(stretch):
                self._check()
                yield from self._verify(reading, piece)
        finally:
            os.close(fd)

    def _verify(self, reading: UncachedReading, piece: Sequence[LocalBlock]) -> Iterator[int]:
        """Yield the blocks of a piece of a file that are right there."""
        start, size_bytes = piece[0].wanted.offset, _size_of(piece)
        try:
            data = reading.read_exactly(start, size_bytes, self._room_for(size_bytes))
        except (CkptdError, OSError):
            self.wrong += piece
            return
        for block in piece:
            _, _, offset, length, digest = block.wanted
            if digest_of(data[offset - start : offset - start + length]) == digest:
                yield block.wanted.block
            else:
                self.wrong.append(block)

    def _read(self, fd: int, block: LocalBlock) -> memoryview | None:
        """Read the bytes of a block; ``None``: they are not, or cannot be read."""
        wanted = block.wanted
        room = self._room_for(wanted.size_bytes)
        try:
            if block.is_compressed:
                data = self._compressed_file(fd).read_exactly(block.offset, wanted.size_bytes, room)
            else:
                data = read_exactly(fd, block.offset, wanted.size_bytes, room)
        except (CkptdError, OSError):
            return None
        return data if digest_of(data) == wanted.digest else None

    def _compressed_file(self, fd: int) -> CompressedFile:
        """Return what reads a file; for block after block of one file it is the same."""
        if self._compressed is None:
            self._compressed = CompressedFile(fd)
        return self._compressed

    def _room_for(self, size_bytes: int) -> memoryview:
        """Return a buffer of whole pages for so many bytes."""
        if len(self._buffer) < size_bytes:
            self._buffer = page_buffer(whole_pages(size_bytes))
        return self._buffer


def _open_readable(root: Root, path: str) -> int | None:
    try:
        return root.open_file(path, os.O_RDONLY)
    except CkptdError:
        return None  # gone, or not to be read: then it is no place to take anything from


def _stretches(blocks: Iterable[LocalBlock]) -> Iterator[list[LocalBlock]]:
    """Yield blocks that lie side by side where they are and where they belong.

    What is not whole pages, as the last block of a file, is a stretch of its own: file systems
    share only pages, and ends of files with each other.
    """
    stretch: list[LocalBlock] = []
    for block in blocks:
        if stretch and not _is_next(stretch[-1], block):
            yield stretch
            stretch = []
        stretch.append(block)
    if stretch:
        yield stretch


def _is_next(before: LocalBlock, block: LocalBlock) -> bool:
    size_bytes = before.wanted.size_bytes
    return (
        block.wanted.offset == before.wanted.offset + size_bytes
        and block.offset == before.offset + size_bytes
        and block.wanted.size_bytes % mmap.PAGESIZE == 0
    )


def _pieces(stretch: Sequence[LocalBlock]) -> Iterator[Sequence[LocalBlock]]:
    """Cut a stretch into what is read at once."""
    first = 0
    for index in range(1, len(stretch) + 1):
        if index == len(stretch) or _size_of(stretch[first : index + 1]) > _READ_BACK_BYTES:
            yield stretch[first:index]
            first = index


def _size_of(stretch: Sequence[LocalBlock]) -> int:
    last = stretch[-1].wanted
    return last.offset + last.size_bytes - stretch[0].wanted.offset
