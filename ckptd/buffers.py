"""The one place that makes large buffers, in pages of their own: for files, bodies and TLS.

``bytearray`` and ``bytes`` come from the allocator, which begins a large one 16 bytes behind the
beginning of a page. Files and what arrives begin at a page, and some processors copy ten times
slower from one to the other then: AMD Zen 3 at 2 to 3 GB/s where the two places in their pages
differ by 1 to 31 bytes, Zen 4 where it is less than 16, and at 20 to 30 otherwise.
"""

from __future__ import annotations

import mmap


def page_buffer(size_bytes: int) -> memoryview:
    """Return zeros to be written over, which the system has back when nobody refers to them.

    They begin at a page.

    The allocator would keep freed buffers of this size, one for each of its arenas: with threads
    that come and go, some 8 MiB for each thread that ever hashed.

    Args:
        size_bytes: How many; at least 1.

    Raises:
        OSError: There is no memory for it.
    """
    return memoryview(mmap.mmap(-1, size_bytes))
