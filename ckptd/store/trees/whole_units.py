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
from ckptd.store.trees.directories import STAGED_FILE_MODE
from ckptd.store.trees.finishing import Finish

RESERVE_BYTES_MIN: Final = 1 * MIB
"""Shorter files are not worth a fallocate each: 20,000 of 16 KiB are 0.3 GiB, counted at once."""


def is_whole(unit: Unit) -> bool:
    """Return whether a unit comes whole: it has one block, and no room is reserved for it."""
    return unit.size_bytes < RESERVE_BYTES_MIN and unit.block_count == 1


def write_whole(names: Names, unit: Unit, data: memoryview, finish: Finish | None = None) -> None:
    """Create the file of a unit with its content.

    If the file exists, from an earlier run or because another lane brought the same block, the
    same bytes are written to it again. A file that could not be written completely is not
    removed: its block is not held, so it is written again or removed later.

    Args:
        names: Of the recovery's directory.
        unit: Which one.
        data: All its bytes.
        finish: What it gets last. All of it at once, which saves opening it again, but that its
            owner may write: the same bytes can come once more. ``None``: not now.

    Raises:
        CkptdError: See :meth:`Names.create_file`.
        OSError: The disk refused the bytes.
    """
    fd = names.create_file(unit.path, STAGED_FILE_MODE)
    if fd is None:
        fd = _open_own(names, unit)
    try:
        written = os.pwrite(fd, data, 0)
        while written < len(data):
            written += os.pwrite(fd, data[written:], written)
        if finish is not None:
            finish.give_to(fd, is_written_again=True)
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
