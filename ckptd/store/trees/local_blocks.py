"""Blocks that this node's disks have already, taken into staging so that they need not travel.

The one way to do that, wherever the bytes lie: at another place of the same version, in a file that
is to be replaced, or in a file of another version that has an equal block. What is taken is
verified by the block's digest, always; a place that turned out to be gone, changed or unreadable
costs nothing but the look.

Where the file system shares extents (XFS, btrfs) large blocks are shared, which costs no room and
hardly any time; what the new file has is read and verified. Elsewhere blocks are read once,
verified and written from the same memory.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError
from ckptd.limits import KIB
from ckptd.model.manifest import Manifest
from ckptd.model.space import BlockPlace
from ckptd.store.files.hashing import digest_of, read_exactly
from ckptd.store.files.kernel import share_extents
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.finishing import Finish
from ckptd.store.trees.whole_units import is_whole, write_whole

_SHARED_BYTES_MIN: Final = 256 * KIB
"""Shorter blocks are read, verified and written: two calls, and nothing that is wrong."""

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
    """

    wanted: BlockPlace
    root: Root
    path: str
    offset: int
    place: int = 0
    of_unit: int = -1


class BlockCopier:
    """Copies blocks into the files of a staging directory; for one thread.

    Args:
        tree: The staging directory; the files of units that come in blocks exist.
        manifest: What is staged there.
        finish_of: What the file of a unit that comes whole gets last.
        check: Called before each block; what it raises ends the copying.

    Attributes:
        wrong: Blocks that were read and are not what they were thought to be.
    """

    def __init__(
        self,
        tree: Root,
        manifest: Manifest,
        finish_of: Callable[[int], Finish],
        check: Callable[[], None],
    ) -> None:
        self._tree = tree
        self._manifest = manifest
        self._finish_of = finish_of
        self._check = check
        self._buffer = memoryview(b"")
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
            try:
                for unit, of_unit in itertools.groupby(of_file, lambda each: each.wanted.unit):
                    yield from self._take_of_unit(fd, unit, of_unit)
            finally:
                os.close(fd)

    def _take_of_unit(self, fd: int, unit: int, blocks: Iterable[LocalBlock]) -> Iterator[int]:
        facts = self._manifest.units[unit]
        if is_whole(facts):
            for block in blocks:
                self._check()
                data = self._read(fd, block.offset, block.wanted)
                if data is not None:
                    with Names(self._tree) as names:
                        write_whole(names, facts, data, self._finish_of(unit))
                    yield block.wanted.block
                else:
                    self.wrong.append(block)
            return
        staged = self._tree.open_file(facts.path, os.O_RDWR)
        try:
            for block in blocks:
                self._check()
                if self._copy(fd, block, staged):
                    yield block.wanted.block
                else:
                    self.wrong.append(block)
        finally:
            os.close(staged)

    def _copy(self, fd: int, block: LocalBlock, staged: int) -> bool:
        """Copy a block into the file of its unit; return whether it is right there."""
        wanted = block.wanted
        if wanted.size_bytes >= _SHARED_BYTES_MIN and _share(fd, block, staged):
            return self._read(staged, wanted.offset, wanted) is not None
        data = self._read(fd, block.offset, wanted)
        if data is None:
            return False
        done = 0
        while done < len(data):
            piece = data[done : done + _WRITTEN_BYTES]
            done += os.pwrite(staged, piece, wanted.offset + done)
        return True

    def _read(self, fd: int, offset: int, wanted: BlockPlace) -> memoryview | None:
        """Read the bytes of a block; ``None``: they are not, or cannot be read."""
        if len(self._buffer) < wanted.size_bytes:
            self._buffer = page_buffer(wanted.size_bytes)
        try:
            data = read_exactly(fd, offset, wanted.size_bytes, self._buffer)
        except (CkptdError, OSError):
            return None
        return data if digest_of(data) == wanted.digest else None


def _open_readable(root: Root, path: str) -> int | None:
    try:
        return root.open_file(path, os.O_RDONLY)
    except CkptdError:
        return None  # gone, or not to be read: then it is no place to take anything from


def _share(fd: int, block: LocalBlock, staged: int) -> bool:
    """Let a block's file have the same extents; return whether it has.

    If not, it is read and written: between file systems, on one that shares none, where a block
    does not lie at pages, and in all other cases, as then the error says whose it is.
    """
    wanted = block.wanted
    try:
        share_extents(fd, block.offset, wanted.size_bytes, staged, wanted.offset)
    except OSError:
        return False
    return True
