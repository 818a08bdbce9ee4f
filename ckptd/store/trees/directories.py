"""The staging directory below a root, and the directories in it.

Each recovery has one of its own there. All recoveries of a root share the one above, which is
made by the first and removed by the last.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Container, Iterator
from itertools import chain
from typing import Final

from ckptd.errors import StagingLost, StorageError
from ckptd.model.manifest import Manifest
from ckptd.model.unit_paths import directories_of
from ckptd.store.files import confined
from ckptd.store.files.access_lists import inherit
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.layout import STAGING_DIRECTORY
from ckptd.store.files.roots import Root
from ckptd.store.trees.ownership import Owner

STAGED_FILE_MODE: Final = 0o600
"""Of files that are made ahead; each gets its final mode when the version is placed."""

CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY
"""Flags that make a file and refuse one that is there."""

_DIRECTORY_MODE: Final = 0o700

_staging_directory_lock: Final = threading.Lock()
"""Held where ``.ckptd`` is made or removed, so that one recovery's end is not another's error."""


def tree_directories(manifest: Manifest, left_out: Container[int] = ()) -> list[str]:
    """Return every directory of a version but its own, parents first.

    Args:
        manifest: What it consists of.
        left_out: Units that do not need theirs.
    """
    kept = (unit.path for index, unit in enumerate(manifest.units) if index not in left_out)
    bare = (f"{directory}/" for directory in manifest.directories)
    return directories_of(chain(kept, (link.path for link in manifest.links), bare))


def open_tree(root: Root, path: str) -> Root:
    """Open a directory below a root, to be walked by a root's rules from its own descriptor.

    The descriptor stays good when the directory is renamed, and a writeback error is reported
    to each descriptor once: so an error that one recovery sees is not lost for the others.

    Raises:
        NotFound: It does not exist.
        StorageError: It is a link or no directory, or the system refused.
    """
    return Root(root.name, root.absolute(path), root.open_directory(path))


def make_staging(root: Root, path: str, owner: Owner | None = None) -> Root:
    """Open the staging directory of a recovery, created if it is missing, closed to other users.

    Args:
        root: Where it is.
        path: Its path.
        owner: To whom an earlier run may have given it.

    Raises:
        StorageError: The system refused.
    """
    with _staging_directory_lock:
        fd = root.open_directory(path, create=True)
    tree = Root(root.name, root.absolute(path), fd)
    with mapping_os_errors(tree.path):
        if owner is not None:
            owner.take_back(fd)
        os.fchmod(fd, _DIRECTORY_MODE)
    with contextlib.suppress(OSError):  # where the file system knows no locks
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # systemd-tmpfiles passes by: tmpfiles.d(5)
    return tree


def inherit_access(root: Root, tree: Root, target: str, *, opens_group: bool) -> None:
    """Let a new staging directory hand on the access lists of the place where it will stand.

    Args:
        root: Where both are.
        tree: The staging directory, empty.
        target: Its path to be; what is missing above it will inherit from what is there.
        opens_group: Its group uses all that will be in it, as far as modes permit.

    Raises:
        StorageError: The system refused.
    """
    above = target.rpartition("/")[0]
    while above and root.stat(above) is None:
        above = above.rpartition("/")[0]
    with as_directory(root, above) as parent, as_directory(tree, "") as made:
        inherit(parent, made, opens_group=opens_group)
        os.fchmod(made, _DIRECTORY_MODE)


def create_in_staging(root: Root, path: str) -> int:
    """Create a file in the staging directory and return its descriptor, open for writing.

    Raises:
        StorageError: The system refused.
    """
    with _staging_directory_lock:
        os.close(root.open_directory(STAGING_DIRECTORY, create=True))
        root.remove_tree(path)  # of a daemon that was killed
        return root.open_file(path, CREATE, STAGED_FILE_MODE)


def remove_empty_staging_directory(root: Root) -> None:
    """Remove ``.ckptd`` if no other recovery has a directory in it."""
    with _staging_directory_lock, as_directory(root, "") as fd:
        try:
            confined.remove_directory(fd, STAGING_DIRECTORY)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
                raise


def is_free(root: Root, target: str) -> bool:
    """Return whether nothing stands at a name below a root; an empty directory is nothing.

    One on another file system is something: a rename cannot take the place of a mount.

    Raises:
        CkptdError: A parent is a link or no directory, or the system refused.
    """
    found = root.stat(target)
    if found is None:
        return True
    if not target or not stat.S_ISDIR(found.st_mode) or found.st_dev != root.device:
        return False
    with as_directory(root, target) as fd:
        return not confined.entries(fd)


def remove_empty(root: Root, target: str) -> None:
    """Remove an empty directory, so that a rename can give its name away; else do nothing.

    Raises:
        CkptdError: There is no directory for the name, or the system refused.
    """
    with root.parent(target) as (fd, name):
        try:
            confined.remove_directory(fd, name)
        except OSError as error:
            # Absent, or something that the rename will not replace and refuse with its own words.
            if error.errno not in {errno.ENOENT, errno.ENOTDIR, errno.ENOTEMPTY, errno.EEXIST}:
                raise


@contextlib.contextmanager
def as_directory(tree: Root, path: str) -> Iterator[int]:
    """Open a directory for a block of code; errors of the system inside name the directory.

    Raises:
        CkptdError: See :meth:`Root.open_directory` and :func:`mapping_os_errors`.
    """
    fd = tree.open_directory(path)
    try:
        with mapping_os_errors(tree.absolute(path)):
            yield fd
    finally:
        os.close(fd)


def check_is_at(root: Root, path: str, tree: Root) -> None:
    """Check that a name leads to the directory that is open, so that what was verified was renamed.

    Raises:
        StorageError: Another directory took its place.
    """
    found, expected = root.stat(path), tree.stat("")
    if found is None or expected is None or not os.path.samestat(found, expected):
        raise StorageError(
            f"target {root.absolute(path)}",
            "is not what was recovered: somebody swapped the directory while it was placed",
            "Remove it, find out who writes to the root, and recover again.",
        )


def swept(tree: Root, path: str) -> StagingLost:
    """Return the error that a file was removed while a recovery wrote it."""
    return StagingLost(
        tree.absolute(path),
        "was removed while it was being recovered",
        f"Recover again, and keep cleaners out of {STAGING_DIRECTORY}.",
    )
