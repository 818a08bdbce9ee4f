"""Files read once, by somebody for whom nothing else is to leave the page cache.

What is in memory is taken from there and stays. What had to come from the disk goes again as soon
as it was read, so that a job beside keeps its pages. Where a file system cannot say what is in
memory, files are read as usual.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from ckptd.limits import KIB
from ckptd.store.files.hashing import read_exactly
from ckptd.store.files.kernel import drop_cached

_UNKNOWN: Final = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
"""What is said where nobody knows what is in memory."""

_STEP_BYTES: Final = 256 * KIB
"""Read from the disk at once: a millisecond of a slow one, for which a job's write may wait."""


class SparingReading:
    """Reads one file, from its beginning to its end.

    Args:
        fd: A descriptor of it; its position is not used.
        breathe: Called with how many bytes came from the disk, after each few; it may sleep.
    """

    def __init__(self, fd: int, breathe: Callable[[int], None]) -> None:
        self._fd = fd
        self._breathe = breathe
        self._is_known = True
        self._was_read = False

    def read_exactly(self, offset: int, size_bytes: int, buffer: memoryview) -> memoryview:
        """Fill the front of a buffer from the file; return that part of it.

        Args:
            offset: Where the bytes begin.
            size_bytes: How many; the buffer holds as many.
            buffer: Where they are read to.

        Raises:
            ContentChanged: The file ends before.
            OSError: The disk refused.
        """
        there_bytes = self._read_cached(offset, buffer[:size_bytes])
        if there_bytes < size_bytes:
            self._read_from_disk(offset + there_bytes, buffer[there_bytes:size_bytes])
            if self._is_known:
                # The kernel reads ahead: what is there behind what was read came with that.
                start = offset if self._was_read else offset + there_bytes
                with suppress(OSError):
                    drop_cached(self._fd, start, offset + size_bytes - start)
        self._was_read = there_bytes < size_bytes
        return buffer[:size_bytes]

    def _read_from_disk(self, offset: int, room: memoryview) -> None:
        """Read a few bytes after the other, so that others come in between."""
        for at in range(0, len(room), _STEP_BYTES):
            step = room[at : at + _STEP_BYTES]
            read_exactly(self._fd, offset + at, len(step), step)
            self._breathe(len(step))

    def _read_cached(self, offset: int, room: memoryview) -> int:
        """Read what is in memory from a place on; return how many bytes that was."""
        if not self._is_known:
            return 0
        try:
            return os.preadv(self._fd, [room], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in _UNKNOWN:
                raise
        self._is_known = False
        return 0
