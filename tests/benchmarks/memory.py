"""Memory that this machine has been given before anything is measured.

First touch of fresh memory costs up to 3 s per GiB on a virtual machine that gives free pages back
to its host, and a transfer to memory would mostly measure that.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path

from ckptd.limits import KIB, MIB

_REPORTED_BYTES = 2 * MIB
"""The kernel tells its host of free blocks from this size on (``pageblock_order`` of x86)."""


def available_bytes() -> int:
    """Return how much memory can be had without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * KIB
    raise AssertionError("/proc/meminfo does not say what is available")


@contextlib.contextmanager
def kept_warm(size_bytes: int) -> Iterator[None]:
    """Get that much memory, half of what is available at most, and keep it from the host.

    One page of each block that the kernel would report stays in use. The others are free, and
    the first that are handed out, because whole blocks are broken last.
    """
    blocks = max(min(size_bytes, available_bytes() // 2) // _REPORTED_BYTES, 1)
    with mmap.mmap(-1, blocks * _REPORTED_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        with contextlib.suppress(OSError):  # a kernel without huge pages
            memory.madvise(mmap.MADV_NOHUGEPAGE)
        for start in range(0, len(memory), _REPORTED_BYTES):
            with memoryview(memory)[start : start + _REPORTED_BYTES : mmap.PAGESIZE] as pages:
                pages[:] = bytes(len(pages))
        for start in range(0, len(memory), _REPORTED_BYTES):
            rest = start + mmap.PAGESIZE
            memory.madvise(mmap.MADV_DONTNEED, rest, _REPORTED_BYTES - mmap.PAGESIZE)
        yield


def touch_memory(directory: Path, size_bytes: int) -> None:
    """Use the memory that the next transfer will fill, and free it."""
    path = directory / "touched"
    piece = bytes(MIB)
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, MIB):
            file.write(piece)
    path.unlink()
