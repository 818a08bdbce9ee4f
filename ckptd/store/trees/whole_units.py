"""Units that come whole: their file is created, written and closed in one step.

A checkpoint may have twenty thousand of them. Creating each file in advance, opening it again for
its only block and a third time to finish it costs more than moving the bytes; so the file is
created when the block comes. The name becomes durable with the bytes: by syncfs, before they are
journaled.
"""

from __future__ import annotations

import os
from typing import Final

from ckptd.errors import StorageError
from ckptd.limits import MIB
from ckptd.model.manifest import Unit
from ckptd.store.files.names import Names

RESERVE_BYTES_MIN: Final = 1 * MIB
"""Shorter files are not worth a fallocate each: 20,000 of 16 KiB are 0.3 GiB, counted at once."""

_MODE: Final = 0o644
_EXECUTABLE_MODE: Final = 0o755


def is_whole(unit: Unit) -> bool:
    """Return whether a unit comes whole: it has one block, and no room is reserved for it."""
    return unit.size_bytes < RESERVE_BYTES_MIN and unit.block_count == 1


def final_mode(unit: Unit) -> int:
    """Return the mode of a unit's file once the version is placed."""
    return _EXECUTABLE_MODE if unit.is_executable else _MODE


def write_whole(names: Names, unit: Unit, data: memoryview) -> None:
    """Create the file of a unit with its content.

    If the file exists, from an earlier run or because another lane brought the same block, the
    same bytes are written to it again. A file that could not be written completely is not
    removed: its block is not held, so it is written again or removed later.

    Args:
        names: Of the recovery's directory.
        unit: Which one.
        data: All its bytes.

    Raises:
        CkptdError: See :meth:`Names.create_file`.
        OSError: The disk refused the bytes.
    """
    # It gets its final mode at once: no other user can open the directory.
    fd = names.create_file(unit.path, final_mode(unit))
    if fd is None:
        fd = _open_own(names, unit)
    try:
        written = os.pwrite(fd, data, 0)
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
    finally:
        os.close(fd)


def _open_own(names: Names, unit: Unit) -> int:
    """Open an existing file for writing, unless it has a second name.

    Raises:
        CkptdError: See :meth:`Names.open_file`.
    """
    fd = names.open_file(unit.path, os.O_WRONLY)
    if os.fstat(fd).st_nlink == 1:
        return fd
    os.close(fd)
    raise StorageError(
        f"file {unit.path!r}", "was linked while it was being recovered", "Recover again."
    )
