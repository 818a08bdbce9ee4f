"""How a version becomes visible: made final in staging, then one rename.

Nothing is changed after the rename, so the target is absent or right at every instant. After a
crash between the rename and the catalog the target is not in the catalog; what stands there is then
compared with the version, by :mod:`ckptd.store.trees.standing_files`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Container
from typing import Final

from ckptd.errors import NotFound
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.unit_paths import directories_of
from ckptd.store.files.access_lists import inherit
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.kernel import mapping_os_errors, sync_file
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.trees.bare_names import make_bare_names
from ckptd.store.trees.directories import (
    as_directory,
    check_is_at,
    remove_empty,
    swept,
    tree_directories,
)
from ckptd.store.trees.finishing import Finish, Finishing
from ckptd.store.trees.ownership import Owner
from ckptd.store.trees.unit_hashing import differs

_BOTH_USE: Final = stat.S_IRWXU | stat.S_IRWXG
"""The owner, and the daemon by its group."""

_FEW_FILES: Final = 256
"""So many are synced one by one (0.22 ms each on ext4); more by one syncfs."""


def leave_out(tree: Root, manifest: Manifest, left_out: Collection[int]) -> None:
    """Remove the files of some units, and the directories that only they needed.

    Raises:
        StorageError: The system refused.
    """
    if not left_out:
        return
    kept = (unit.path for index, unit in enumerate(manifest.units) if index not in left_out)
    needed = {"", *directories_of(kept)}
    paths = [manifest.units[index].path for index in left_out]
    for path in [directory for directory in directories_of(paths) if directory not in needed]:
        tree.remove_tree(path)
    for path in paths:
        tree.remove_tree(path)


def _open(names: Names, tree: Root, unit: Unit) -> int:
    try:
        return names.open_file(unit.path, os.O_RDONLY)
    except NotFound as error:
        raise swept(tree, unit.path) from error


def finish(
    tree: Root,
    manifest: Manifest,
    left_out: Container[int],
    finishing: Finishing,
    *,
    gives_directories: bool = True,
) -> UnitFiles:
    """Give files and directories their final modes and times, and make everything durable.

    Args:
        tree: The staging directory.
        manifest: What the version consists of.
        left_out: Units that have no file here.
        finishing: What each file and directory gets.
        gives_directories: Not only the files take their places; else the directories stay closed.

    Returns:
        The file of each unit as it will become visible. No other process had access to it so
        far, so any later write shows in its fingerprint.

    Raises:
        VerificationFailed: A unit is too short or too long.
        StorageError: The system refused; what is on the disk cannot be trusted.
    """
    if gives_directories:
        make_bare_names(tree, manifest)
        directories = [*tree_directories(manifest, left_out), ""]
    else:
        paths = (unit.path for index, unit in enumerate(manifest.units) if index not in left_out)
        directories = [*directories_of(paths), ""]
    count = sum(index not in left_out for index in range(len(manifest.units)))
    is_few = count + len(directories) <= _FEW_FILES
    files = UnitFiles.of_none(len(manifest.units))
    with Names(tree) as names:
        for index, unit in enumerate(manifest.units):
            if index not in left_out:
                last = finishing.of_unit(index)
                file = None if is_few else _finished_file(names, unit, last, finishing)
                if file is None:
                    fd = _open(names, tree, unit)
                    with mapping_os_errors(tree.absolute(unit.path)):
                        file = _finish_file(fd, unit, last, finishing, is_synced=is_few)
                files[index] = file
    for path in directories:
        with as_directory(tree, path) as fd:
            if gives_directories:
                finishing.give(fd, finishing.of_directory(path))
            if is_few:
                sync_file(fd)
    if not is_few:
        tree.sync()
    return files


def finish_directories(root: Root, target: str, manifest: Manifest, finishing: Finishing) -> None:
    """Give the directories of a version that was placed file by file what they get last, durably.

    Args:
        root: Where it stands.
        target: Its own directory.
        manifest: What it consists of.
        finishing: What each directory gets.

    Raises:
        StorageError: The system refused.
    """
    for path in ("", *tree_directories(manifest)):
        place = inside(target, path) if path else target
        if root.stat(place) is not None:
            with as_directory(root, place) as fd:
                finishing.give(fd, finishing.of_directory(path))
                sync_file(fd)


def _finished_file(names: Names, unit: Unit, last: Finish, finishing: Finishing) -> UnitFile | None:
    """Return a file that only has to be synced; ``None``: there is more to do."""
    facts = names.stat(unit.path)
    if facts is None or not stat.S_ISREG(facts.st_mode) or not finishing.is_given(last, facts):
        return None
    if facts.st_size != unit.size_bytes:
        raise differs(unit)
    return UnitFile(fingerprint_of(facts))


def _finish_file(
    fd: int, unit: Unit, last: Finish, finishing: Finishing, *, is_synced: bool
) -> UnitFile:
    """Give a file what it gets last, make it durable if asked for, and close it."""
    try:
        finishing.give(fd, last)
        if is_synced:
            sync_file(fd)
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    if facts.st_size != unit.size_bytes:
        raise differs(unit)
    return UnitFile(fingerprint_of(facts))


def rename(root: Root, staging: str, target: str, tree: Root, owner: Owner | None = None) -> None:
    """Give the staging directory its final name.

    Args:
        root: Where both are.
        staging: The directory's path now.
        target: Its path to be; an empty directory there makes room.
        tree: The directory itself.
        owner: Whose the directories above it become that are made for it.

    Raises:
        Conflict: The target exists by now.
        StagingLost: The directory was removed.
        StorageError: The system refused, or the directory was swapped.
    """
    make_parents(root, target, owner)
    remove_empty(root, target)
    try:
        root.rename(staging, target)
    except NotFound as error:
        raise swept(root, staging) from error
    check_is_at(root, target, tree)


def make_parents(root: Root, target: str, owner: Owner | None) -> None:
    """Make what is missing above a target; whoever may, by owner or list, removes it from there.

    Raises:
        StorageError: The system refused.
    """
    is_other = owner is not None and owner.is_other
    made = [path for path in directories_of((target,)) if root.stat(path) is None]
    os.close(root.open_directory(target.rpartition("/")[0], create=True))
    for path in made:
        with as_directory(root, path) as fd:
            if os.fstat(fd).st_uid != os.geteuid():
                continue  # somebody was faster
            with as_directory(root, path.rpartition("/")[0]) as above:
                inherit(above, fd, opens_group=is_other)
            mode = stat.S_IMODE(os.fstat(fd).st_mode) & ~stat.S_IWOTH
            Finish(mode | _BOTH_USE if is_other else mode).give_to(fd)
            if owner is not None:
                owner.give(fd)
