"""What of a file is in memory, as the kernel says."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def pages_in_memory(path: Path) -> int:
    """How many pages of a file the page cache has: mincore(2)."""
    size_bytes = path.stat().st_size
    count = -(-size_bytes // mmap.PAGESIZE)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size_bytes) as mapped:
        found = (ctypes.c_ubyte * count)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        length = ctypes.c_size_t(size_bytes)
        assert _libc.mincore(ctypes.c_void_p(address), length, found) == 0
        return sum(page & 1 for page in found)
