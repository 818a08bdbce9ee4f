"""Files that a running daemon reads again: a slow disk or mount keeps no event loop waiting.

The start and ``check-config`` have no loop, and read theirs as they are. What also computes for
long, or hands a path to a library that reads it by itself, has a thread of its own instead.
"""

from __future__ import annotations

import os

import aiofiles
import aiofiles.os


async def facts_of(path: str) -> os.stat_result:
    """Return what the kernel knows of a file.

    Raises:
        OSError: It is not there, or cannot be looked at.
    """
    return await aiofiles.os.stat(path)


async def read_start(path: str, bytes_max: int) -> bytes:
    """Return the beginning of a file, or all of it if it is no longer than that.

    Raises:
        OSError: It cannot be read.
    """
    parts = bytearray()
    async with aiofiles.open(path, "rb") as file:
        # The kernel gives its tables in pieces.
        while part := await file.read(bytes_max - len(parts)):
            parts += part
    return bytes(parts)
