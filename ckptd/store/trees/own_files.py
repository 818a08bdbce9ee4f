"""Files of ckptd's own beside the units of a version: each is one rename, durable, and small."""

from __future__ import annotations

import os
from typing import Final

from ckptd.store.files import confined
from ckptd.store.files.kernel import mapping_os_errors, sync_file
from ckptd.store.files.layout import inside
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import as_directory

_MODE: Final = 0o644


def stage_own(tree: Root, name: str, content: bytes) -> None:
    """Put a file into a staging directory, durably but for its name.

    Raises:
        StorageError: The system refused.
    """
    fd = tree.open_file(name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, _MODE)
    try:
        with mapping_os_errors(tree.absolute(name)):
            written = 0
            while written < len(content):
                written += os.write(fd, content[written:])
            os.fchmod(fd, _MODE)
            sync_file(fd)
    finally:
        os.close(fd)


def move_own(root: Root, tree: Root, name: str, directory: str) -> None:
    """Move a file from a staging directory to where its version stands, over an older one.

    Raises:
        StorageError: The system refused.
    """
    path = inside(directory, name)
    with (
        mapping_os_errors(root.absolute(path)),
        tree.parent(name) as old,
        root.parent(path) as new,
    ):
        confined.rename_replacing(*old, *new)
        sync_file(new[0])


def remove_own(root: Root, name: str, directory: str) -> None:
    """Remove a file that stands beside a version.

    Raises:
        StorageError: The system refused.
    """
    root.remove_tree(inside(directory, name))
    with as_directory(root, directory) as fd:
        sync_file(fd)
