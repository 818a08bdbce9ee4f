"""The files of units that come in blocks: lanes write them, commits make them durable.

A recovery may write more than a node has memory, and a job may run beside it. Written through
the page cache, every block evicts a page that may be in use. Writes that are ``direct`` bypass
the cache, and blocks that are not to stay there are dropped from it once they are durable.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from ckptd.errors import CkptdError, StorageError
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.words import WriteMode
from ckptd.store.files.kernel import drop_cached, share_extents, sync_data
from ckptd.store.files.open_files import OpenFiles
from ckptd.store.staging.warmth import Warmth
from ckptd.store.trees.whole_units import is_whole

_OPEN_FILES_MAX: Final = 128
"""More than lanes, each of which writes to one file at a time."""

_FEW_FILES: Final = 16
"""So many are synced one by one; for more, one syncfs costs less than their journal commits."""

_TURNS: Final = 16
"""Writers of different units hardly ever share a lock; more than lanes."""

_WRITE_BYTES_MAX: Final = MIB
"""Of what goes through the page cache at once: ext4 and XFS keep a write in pages as large as it
is, and larger ones are rarely at hand. With 4 MiB 2 GiB to ext4 took 4.45 s, with this 1.72."""

_ALIGNMENT_BYTES: Final = mmap.PAGESIZE
"""Of the length of a direct write, and of its offset and memory: open(2). Where a disk asks for
more, or bytes lie otherwise in memory, the kernel refuses and they take the page cache."""


@dataclass(frozen=True, slots=True)
class Writing:
    """How recoveries write.

    Attributes:
        mode: Through the page cache or past it; what is to stay there never goes past it.
        warmth: Says what stays there.
    """

    mode: WriteMode = WriteMode.BUFFERED
    warmth: Warmth = field(default_factory=Warmth)


class BlockFiles:
    """The open files of one recovery. Any thread may write.

    Args:
        space: What the recovery consists of.
        open_unit: Opens the file of a unit with the given flags.
        mode: Which way they take.
        kept: Returns the blocks that stay in the page cache, whole units; they never get more.

    Attributes:
        shared: Blocks that have extents of other files, which memory has of those at most.
    """

    def __init__(
        self,
        space: AddressSpace,
        open_unit: Callable[[int, int], int],
        mode: WriteMode,
        kept: Callable[[], BlockSet],
    ) -> None:
        self._space = space
        self._open_unit = open_unit
        self._kept = kept
        self._is_direct = mode is WriteMode.DIRECT
        self.shared = BlockSet()
        self._sharing = threading.Lock()
        self._files = OpenFiles(self._open, files_max=_OPEN_FILES_MAX)
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))

    def write(
        self, unit: int, offset: int, data: memoryview, *, piece_bytes: int | None = None
    ) -> None:
        """Write bytes of a unit; blocks.

        Args:
            unit: Which one.
            offset: Where they begin in it.
            data: The bytes.
            piece_bytes: How many are written in one call, if not the usual number and not past
                the page cache.

        Raises:
            CkptdError: The file cannot be opened.
            OSError: The disk refused.
        """
        with self._files.borrow(unit) as fd:
            if not self._goes_past(unit):
                # The kernel lets one thread at a time write to a file while others spin: with
                # four lanes that was a third of the receiver's processor time. Here they sleep.
                with self._turns[unit % _TURNS]:
                    _write_all(fd, offset, data, piece_bytes or _WRITE_BYTES_MAX)
                return
            done = _write_direct(fd, offset, data)
        if done < len(data):
            fd = self._open_unit(unit, os.O_WRONLY)
            try:
                _write_all(fd, offset + done, data[done:], piece_bytes or _WRITE_BYTES_MAX)
            finally:
                os.close(fd)

    def share(self, unit: int, offset: int, size_bytes: int, source: int, at: int) -> None:
        """Let a unit have the extents of a part of another file.

        Args:
            unit: Which one.
            offset: Where in it.
            size_bytes: How much.
            source: The file that has them.
            at: Where in that.

        Raises:
            CkptdError: The unit's file cannot be opened.
            OSError: The file system does not do that, or not with this part.
        """
        with self._files.borrow(unit) as fd:
            share_extents(source, at, size_bytes, fd, offset)
        grain_bytes = self._space.manifest.units[unit].block_size_bytes
        first = self._space.unit_run(unit)[0] + offset // grain_bytes
        with self._sharing:
            self.shared |= BlockSet.of_run((first, first + -(-size_bytes // grain_bytes)))

    def sync(self, units: Collection[int]) -> bool:
        """Make what was written to some units durable, if that takes few calls; blocks.

        Returns:
            Whether it was done. If not, the caller must sync the whole file system: there are too
            many files, or a descriptor was closed, and its record of a lost page with it.

        Raises:
            FileNotFoundError: The file of a unit has no name any more.
            OSError: The disk refused, now or earlier.
        """
        if len(units) > _FEW_FILES or not self._files.has_all(units):
            return False
        for unit in units:
            with self._files.borrow(unit) as fd:
                sync_data(fd)
                if not os.fstat(fd).st_nlink:
                    path = self._space.manifest.units[unit].path
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return True

    def drop(self, blocks: BlockSet) -> None:
        """Drop durable blocks from the page cache, unless they are to stay.

        A tmpfs has them nowhere else and keeps them. Where a file that came whole cannot be opened
        any more, its block stays.

        Raises:
            CkptdError: A file cannot be opened.
        """
        space = self._space
        for start, end in (blocks - self._kept()).runs():
            run = space.extents(space.block_start(start), space.block_start(end))
            for unit, offset, size_bytes in run:
                if is_whole(space.manifest.units[unit]):
                    with suppress(CkptdError):
                        self._drop_whole(unit)
                    continue
                with self._files.borrow(unit) as fd:
                    drop_cached(fd, offset, size_bytes)

    def let_go(self, units: Collection[int]) -> None:
        """Have the files of some units open no more; all of them is durable.

        Raises:
            OSError: A file could not be closed.
        """
        self._files.let_go(units)

    def _drop_whole(self, unit: int) -> None:
        fd = self._open_unit(unit, os.O_RDONLY)
        try:
            drop_cached(fd)
        finally:
            os.close(fd)

    def _goes_past(self, unit: int) -> bool:
        """Return whether a unit is written past the page cache."""
        return self._is_direct and self._space.unit_run(unit)[0] not in self._kept()

    def close(self) -> None:
        """Close all files. None may be in use, and no call may follow.

        Raises:
            OSError: A file could not be closed; the others are closed nevertheless.
        """
        self._files.close()

    def _open(self, unit: int) -> int:
        if self._goes_past(unit):
            try:
                return self._open_unit(unit, os.O_WRONLY | os.O_DIRECT)
            except StorageError as error:
                cause = error.__cause__
                if not (isinstance(cause, OSError) and cause.errno == errno.EINVAL):
                    raise
                self._is_direct = False  # the file system supports it for no file
        return self._open_unit(unit, os.O_WRONLY)


def _write_direct(fd: int, offset: int, data: memoryview) -> int:
    """Write whole pages past the page cache; return how many bytes were written."""
    end = len(data) - len(data) % _ALIGNMENT_BYTES
    done = 0
    try:
        while done < end:
            done += os.pwrite(fd, data[done:end], offset + done)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return done


def _write_all(fd: int, offset: int, data: memoryview, piece_bytes: int) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done : done + piece_bytes], offset + done)
