"""Files read past the page cache: what the disk has, and no page that somebody else needs is lost.

For files whose bytes are not in memory and are looked at once. Where a file system or a disk does
not permit it, they are read as usual.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import Final

from ckptd.errors import ContentChanged
from ckptd.store.files.hashing import read_exactly
from ckptd.store.files.kernel import set_direct

_PAGE_BYTES: Final = mmap.PAGESIZE


def whole_pages(size_bytes: int) -> int:
    """Return how long a buffer is that so many bytes are read to."""
    return -(-size_bytes // _PAGE_BYTES) * _PAGE_BYTES


class UncachedReading:
    """Reads one file.

    Args:
        fd: A descriptor of it that nobody else uses meanwhile; closed by the caller.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._is_direct = _can_be_direct(fd)

    def read_exactly(self, offset: int, size_bytes: int, buffer: memoryview) -> memoryview:
        """Fill the front of a buffer from the file; return that part of it.

        Args:
            offset: Where the bytes begin; past the cache at a page only.
            size_bytes: How many.
            buffer: Where they are read to: pages, as many as hold them.

        Raises:
            ContentChanged: The file ends before.
            OSError: The disk refused.
        """
        if self._is_direct:
            try:
                return _read_pages(self._fd, offset, size_bytes, buffer)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
            self._is_direct = False  # the disk asks for more than pages, or the file for less
            set_direct(self._fd, is_direct=False)
        return read_exactly(self._fd, offset, size_bytes, buffer)


def _can_be_direct(fd: int) -> bool:
    try:
        set_direct(fd, is_direct=True)
    except OSError:
        return False
    return True


def _read_pages(fd: int, offset: int, size_bytes: int, buffer: memoryview) -> memoryview:
    """Read whole pages, the last one as far as the file goes."""
    room = buffer[: whole_pages(size_bytes)]
    done = 0
    while done < size_bytes:
        count = os.preadv(fd, [room[done:]], offset + done)
        if count == 0:
            raise ContentChanged("file", f"ends {size_bytes - done} bytes too early")
        done += count
    return buffer[:size_bytes]
