"""The files of units that come in blocks: lanes write them, commits make them durable.

A recovery may write more than a node has memory, and a job may run beside it. Through the page
cache every block pushes out a page that somebody used; ``direct`` writes go past it, and with
``drops_written`` what is durable leaves it again.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

from ckptd.errors import StorageError
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.words import WriteMode
from ckptd.store.files.open_files import OpenFiles
from ckptd.store.staging.whole_units import is_whole

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
        mode: Which way blocks take.
        drops_written: What is durable leaves the page cache.
    """

    mode: WriteMode = WriteMode.BUFFERED
    drops_written: bool = False


class BlockFiles:
    """Open files of one recovery; any thread may write.

    Args:
        space: What the recovery consists of.
        open_unit: Opens the file of a unit with some flags.
        writing: Which way bytes take.
    """

    def __init__(
        self, space: AddressSpace, open_unit: Callable[[int, int], int], writing: Writing
    ) -> None:
        self._space = space
        self._open_unit = open_unit
        self._writing = writing
        self._is_direct = writing.mode is WriteMode.DIRECT
        self._files = OpenFiles(self._open, files_max=_OPEN_FILES_MAX)
        self._turns = tuple(threading.Lock() for _ in range(_TURNS))

    def write(self, unit: int, offset: int, data: memoryview) -> None:
        """Write bytes of a unit; blocks.

        Args:
            unit: Which one.
            offset: Where they begin in it.
            data: The bytes.

        Raises:
            CkptdError: The file cannot be opened.
            OSError: The disk refused.
        """
        with self._files.borrow(unit) as fd:
            if not self._is_direct:
                # The kernel lets one thread at a time write to a file and others spin meanwhile:
                # with four lanes that was a third of the receiver's processor time. Here they
                # sleep.
                with self._turns[unit % _TURNS]:
                    _write_all(fd, offset, data)
                return
            done = _write_direct(fd, offset, data)
        if done < len(data):
            fd = self._open_unit(unit, os.O_WRONLY)
            try:
                _write_all(fd, offset + done, data[done:])
            finally:
                os.close(fd)

    def sync(self, units: Collection[int]) -> bool:
        """Make what was written to some units durable, if that takes few calls; blocks.

        Returns:
            Whether it was done. Else the file system has to be synced as a whole: there are many,
            or a descriptor was closed meanwhile and took its knowledge of a lost page with it.

        Raises:
            FileNotFoundError: The file of a unit has no name any more.
            OSError: The disk refused, now or earlier.
        """
        if len(units) > _FEW_FILES or not self._files.has_all(units):
            return False
        for unit in units:
            with self._files.borrow(unit) as fd:
                os.fdatasync(fd)
                if not os.fstat(fd).st_nlink:
                    path = self._space.manifest.units[unit].path
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return True

    def drop(self, blocks: BlockSet) -> None:
        """Let durable blocks leave the page cache, if that is how recoveries write.

        Raises:
            CkptdError: A file cannot be opened.
        """
        if not self._writing.drops_written:
            return
        space = self._space
        for start, end in blocks.runs():
            run = space.extents(space.block_start(start), space.block_start(end))
            for unit, offset, size_bytes in run:
                if not is_whole(space.manifest.units[unit]):
                    with self._files.borrow(unit) as fd:
                        os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close all files; nobody may use one, and nobody may come later.

        Raises:
            OSError: A file could not be closed; all are given back all the same.
        """
        self._files.close()

    def _open(self, unit: int) -> int:
        if self._is_direct:
            try:
                return self._open_unit(unit, os.O_WRONLY | os.O_DIRECT)
            except StorageError as error:
                cause = error.__cause__
                if not (isinstance(cause, OSError) and cause.errno == errno.EINVAL):
                    raise
                self._is_direct = False  # the file system cannot, for none of them
        return self._open_unit(unit, os.O_WRONLY)


def _write_direct(fd: int, offset: int, data: memoryview) -> int:
    """Write whole pages past the page cache; return how much could be written so."""
    end = len(data) - len(data) % _ALIGNMENT_BYTES
    done = 0
    try:
        while done < end:
            done += os.pwrite(fd, data[done:end], offset + done)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
    return done


def _write_all(fd: int, offset: int, data: memoryview) -> None:
    done = 0
    while done < len(data):
        done += os.pwrite(fd, data[done : done + _WRITE_BYTES_MAX], offset + done)
