"""Buffers that files are read into, in pages of their own."""

from __future__ import annotations

import mmap


def page_buffer(size_bytes: int) -> memoryview:
    """Return zeros to be written over, which the system has back when nobody refers to them.

    The allocator would keep freed buffers of this size, one for each of its arenas: with threads
    that come and go, some 8 MiB for each thread that ever hashed.

    Args:
        size_bytes: How many; at least 1.

    Raises:
        OSError: There is no memory for it.
    """
    return memoryview(mmap.mmap(-1, size_bytes))
