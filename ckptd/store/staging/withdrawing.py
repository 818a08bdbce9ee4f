"""Takes away what a recovery placed that is given up: its own files, and nothing else.

A file goes only while it is just what was recorded of it; directories go when they are empty.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable

from ckptd.model.blocks import BlockSet
from ckptd.store.files.fingerprints import is_unchanged
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.kernel import sync_file
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import as_directory, tree_directories
from ckptd.store.trees.state_file import remove_state


def withdraw_units(
    root: Root, hashed: HashedDirectory, units: Iterable[int], *, with_directory: bool
) -> BlockSet:
    """Remove the files of some units, durably.

    Args:
        root: Where the place lies.
        hashed: What is recorded of it.
        units: Which ones.
        with_directory: The recovery made the directory: what is empty of it goes, and the file
            that says how far it is.

    Returns:
        Units whose files are gone; of others somebody changed the file, or nothing is recorded.

    Raises:
        StorageError: The system refused; part of it may be gone.
    """
    gone: list[tuple[int, int]] = []
    synced: set[str] = set()
    with Names(root) as names:
        for unit in units:
            file, path = hashed.files[unit], hashed.path_of(unit)
            if file is None:
                continue
            facts = names.stat(path)
            if facts is not None:
                if not (stat.S_ISREG(facts.st_mode) and is_unchanged(facts, file.fingerprint)):
                    continue
                names.remove_file(path)
                synced.add(path.rpartition("/")[0])
            gone.append((unit, unit + 1))
    for path in sorted(synced):
        with as_directory(root, path) as fd:
            sync_file(fd)
    if with_directory and root.stat(hashed.directory) is not None:
        remove_state(root, hashed.directory)
        with Names(root) as names:
            for path in sorted(tree_directories(hashed.manifest), reverse=True):
                names.remove_empty(inside(hashed.directory, path))
            names.remove_empty(hashed.directory)
        with as_directory(root, hashed.directory.rpartition("/")[0]) as fd:
            sync_file(fd)
    return BlockSet(gone)
