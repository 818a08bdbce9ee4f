"""Staging that no journal knows: what a daemon left that lost its state, or was killed at the end.

Only what has the name of a recovery is looked at, only a directory on the root's own file system,
and only one that nobody has open: staging is locked while a recovery uses it, so that daemons that
share a root leave each other's alone.
"""

from __future__ import annotations

import fcntl
import os

from ckptd.errors import NotFound
from ckptd.model.ids import RecoveryId
from ckptd.store.files.layout import recovery_of, staging_of
from ckptd.store.files.roots import Root
from ckptd.store.staging.kept import drop_kept, staged_directories
from ckptd.store.trees.directories import remove_empty_staging_directory


def staged_recoveries(root: Root) -> tuple[RecoveryId, ...]:
    """Return the recoveries that have a staging directory below a root, by name. Blocks.

    Raises:
        StorageError: The root is not where it was, or the system refused.
    """
    root.check_in_place()
    found = (recovery_of(name) for name in staged_directories(root))
    return tuple(dict.fromkeys(recovery for recovery in found if recovery is not None))


def remove_orphan(root: Root, recovery: RecoveryId) -> bool:
    """Remove the staging of a recovery that nobody here will go on with. Blocks.

    Returns:
        Whether it is gone; not if somebody has it open, or if the file system cannot tell.

    Raises:
        StorageError: The system refused; part of it may be gone.
    """
    drop_kept(root, recovery)
    path = staging_of(recovery)
    try:
        fd = root.open_directory(path)
    except NotFound:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        root.remove_tree(path)
    except OSError:  # another daemon's, or a file system without locks
        return False
    finally:
        os.close(fd)
    remove_empty_staging_directory(root)
    return True
