"""Blocks that this node's disks have already, taken into staging so that they need not travel.

The one way to do that, wherever the bytes lie: at another place of the same version, in a file that
is to be replaced, or in a file of another version that has an equal block. What is taken is
verified by the block's digest, always; a place that turned out to be gone, changed or unreadable
costs nothing but the look.

Large blocks are copied by the kernel: where the file system shares extents (XFS, btrfs) such a copy
costs no room and hardly any time, and the verification reads what was copied.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from ckptd.buffers import page_buffer
from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest
from ckptd.model.space import BlockPlace
from ckptd.store.files.hashing import digest_of, read_exactly
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.whole_units import is_whole, write_whole

_KERNEL_COPY_BYTES_MIN: Final = 256 * KIB
"""Shorter blocks are read, verified and written: two calls, and nothing that is wrong."""

_THREADS_MAX: Final = 4
_PORTION_BYTES: Final = 64 * MIB
"""What a thread takes before it goes on with the next piece; evens out the threads."""

_NO_KERNEL_COPY: Final = {
    errno.ENOSYS,
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.EPERM,
    errno.EIO,
}
"""copy_file_range(2) between two file systems, on one that does not know it, in a sandbox that does
not, or a source that cannot be read: then the bytes are read, and that error says whose it is."""


class LocalBlock(NamedTuple):
    """A block that is wanted, and bytes of a disk that may be it.

    Attributes:
        wanted: The block, with the digest that its bytes must have.
        root: Where the file lies.
        path: The file, relative to the root.
        offset: Where the bytes begin in it.
    """

    wanted: BlockPlace
    root: Root
    path: str
    offset: int


def take_local(
    tree: Root, manifest: Manifest, blocks: Iterable[LocalBlock], *, check: Callable[[], None]
) -> BlockSet:
    """Copy blocks into the files of a staging directory, and return those that are right.

    Nothing is durable when this returns. A file may be left with bytes that are not those of its
    block; such a block is not among those returned.

    Args:
        tree: The staging directory; the files of units that come in blocks exist.
        manifest: What is staged there.
        blocks: What to take from where, each block once; of one file best one after another.
        check: Called before each block, by several threads; what it raises ends the copying.

    Raises:
        OutOfSpace: There is no room.
        CkptdError: A staged file cannot be written.

    Cost: reads all of them once, or what was copied of them.
    """
    portions = list(_portions(blocks))
    if not portions:
        return BlockSet()
    threads = min(os.cpu_count() or 1, _THREADS_MAX, len(portions))

    def take(share: Sequence[list[LocalBlock]]) -> list[int]:
        taking = _Taking(tree, manifest, check)
        return [block for portion in share for block in taking.take(portion)]

    shares = [portions[first::threads] for first in range(threads)]
    with ThreadPoolExecutor(threads, "ckptd-local") as pool:
        taken = itertools.chain.from_iterable(pool.map(take, shares))
        return BlockSet((block, block + 1) for block in taken)


def _portions(blocks: Iterable[LocalBlock]) -> Iterator[list[LocalBlock]]:
    portion: list[LocalBlock] = []
    size_bytes = 0
    for block in blocks:
        portion.append(block)
        size_bytes += block.wanted.size_bytes
        if size_bytes >= _PORTION_BYTES:
            yield portion
            portion, size_bytes = [], 0
    if portion:
        yield portion


class _Taking:
    """What one thread takes."""

    def __init__(self, tree: Root, manifest: Manifest, check: Callable[[], None]) -> None:
        self._tree = tree
        self._manifest = manifest
        self._check = check
        self._buffer = memoryview(b"")

    def take(self, portion: Sequence[LocalBlock]) -> Iterator[int]:
        """Take some blocks; yield those that are right."""
        for (root, path), of_file in itertools.groupby(
            portion, lambda each: (each.root, each.path)
        ):
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
                    with Names(self._tree) as names, self._blaming(facts.path):
                        write_whole(names, facts, data)
                    yield block.wanted.block
            return
        staged = self._tree.open_file(facts.path, os.O_RDWR)
        try:
            for block in blocks:
                self._check()
                with self._blaming(facts.path):
                    is_right = self._copy(fd, block, staged)
                if is_right:
                    yield block.wanted.block
        finally:
            os.close(staged)

    def _blaming(self, path: str) -> contextlib.AbstractContextManager[None]:
        return mapping_os_errors(self._tree.absolute(path))

    def _copy(self, fd: int, block: LocalBlock, staged: int) -> bool:
        """Copy a block into the file of its unit; return whether it is right there."""
        wanted = block.wanted
        if wanted.size_bytes >= _KERNEL_COPY_BYTES_MIN and _copy_in_kernel(fd, block, staged):
            return self._read(staged, wanted.offset, wanted) is not None
        data = self._read(fd, block.offset, wanted)
        if data is None:
            return False
        done = 0
        while done < len(data):
            done += os.pwrite(staged, data[done:], wanted.offset + done)
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


def _copy_in_kernel(fd: int, block: LocalBlock, staged: int) -> bool:
    """Copy a block; return whether all of it was copied.

    Raises:
        OSError: It cannot be written.
    """
    done, size_bytes = 0, block.wanted.size_bytes
    try:
        while done < size_bytes:
            count = os.copy_file_range(
                fd, staged, size_bytes - done, block.offset + done, block.wanted.offset + done
            )
            if not count:
                return False  # the file is shorter
            done += count
    except OSError as error:
        if error.errno not in _NO_KERNEL_COPY:
            raise
        return False
    return True
