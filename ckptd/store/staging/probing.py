"""How fast the disk below a root takes what is written: a small file, synced and removed."""

from __future__ import annotations

import os
import time
from typing import Final

from ckptd.limits import MIB
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import PROBE
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import create_in_staging, remove_empty_staging_directory

PROBE_BYTES: Final = 16 * MIB
"""A slow disk takes a second for it; a fast one shows what it can do."""
PROBE_S: Final = 3.0
"""Writing stops after this; one sync of 1 MiB may take longer."""


def measure_write_rate(root: Root) -> float:
    """Write into the staging area of a root for a moment; blocks.

    The file has a name of its own, is synced after each MiB, and is gone afterwards.

    Returns:
        Bytes per second that became durable.

    Raises:
        StorageError: The root cannot be written, or has no room.
    """
    data = os.urandom(MIB)  # a file system that compresses must not look fast
    fd = create_in_staging(root, PROBE)
    try:
        with mapping_os_errors(root.absolute(PROBE)):
            return _write(fd, data)
    finally:
        os.close(fd)
        root.remove_tree(PROBE)
        remove_empty_staging_directory(root)


def _write(fd: int, data: bytes) -> float:
    start_s = time.monotonic()
    written = 0
    while written < PROBE_BYTES and time.monotonic() - start_s < PROBE_S:
        written += os.write(fd, data)
        os.fdatasync(fd)
    return written / max(time.monotonic() - start_s, 1e-9)
