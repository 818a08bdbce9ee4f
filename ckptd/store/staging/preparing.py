"""Checks before the first byte travels, and the files that a recovery writes to.

Everything that can be refused is refused here: a target that a rename cannot reach, too little
room. Room for larger files is reserved for good; small ones are only counted.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from ckptd.errors import (
    CkptdError,
    NotFound,
    OutOfSpace,
    StorageError,
    UsageError,
)
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest
from ckptd.model.quantities import format_size
from ckptd.model.space import AddressSpace
from ckptd.model.unit_paths import directories_of
from ckptd.model.zeros import data_stretches
from ckptd.store.files import confined
from ckptd.store.files.kernel import mapping_os_errors, reserve, sync_file
from ckptd.store.files.layout import is_in_staging
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import (
    CREATE,
    STAGED_FILE_MODE,
    as_directory,
    tree_directories,
)
from ckptd.store.trees.whole_units import RESERVE_BYTES_MIN, is_whole

_ALLOCATION_BYTES: Final = 4 * KIB
"""The least that ext4, XFS and tmpfs set aside for a file that is not empty."""
_MARGIN_BYTES_MIN: Final = 1 * MIB
_MARGIN_SHARE: Final = 0.01
"""For what is beside the files: directories, extents, the state database."""

_STRETCHES_MAX: Final = 1024
"""Between zeros, of one file, for each of which room is reserved; of more it is only counted."""

_FEW_DIRECTORIES: Final = 16
"""So many are synced one by one (0.22 ms each on ext4); more by one syncfs."""


_NO_BLOCKS: Final = BlockSet()
_NO_ZEROS: Final[Mapping[int, int]] = MappingProxyType({})


def check_target(root: Root, target: str) -> None:
    """Check that a rename from staging can reach the target's name.

    Raises:
        OutsideRoots: The path is not plain.
        UsageError: It is where recoveries are staged.
        StorageError: A parent is no directory, or lies on another file system.
    """
    parent = target
    while True:
        parent = parent.rpartition("/")[0]
        try:
            fd = root.open_directory(parent)
        except NotFound:
            continue
        break
    try:
        device = os.fstat(fd).st_dev
    finally:
        os.close(fd)
    subject = f"target {root.absolute(target)}"
    if device != root.device:
        raise StorageError(
            subject,
            "is on another file system than its root",
            f"Make {root.absolute(parent)} a root of its own.",
        )
    if is_in_staging(target):
        raise UsageError(subject, "is where recoveries are staged", "Choose another with --to.")


def check_space(
    root: Root,
    manifest: Manifest,
    allocated: Mapping[int, int],
    reserved_elsewhere_bytes: int,
    standing: Collection[int] = (),
    zero_bytes: Mapping[int, int] = _NO_ZEROS,
) -> None:
    """Check that what is missing fits, with a margin: bytes, and files if they are counted.

    Args:
        root: Where it must fit.
        manifest: What is to be written.
        allocated: Bytes that are allocated already, by unit.
        reserved_elsewhere_bytes: What other recoveries on the same file system still write.
        standing: Units that need no room, because they stand at the target already.
        zero_bytes: Bytes of zeros, by unit, that are not written.

    Raises:
        OutOfSpace: It does not.
    """
    files_left = len(manifest.units) + len(manifest.links) - len(allocated) - len(standing)
    files_need = files_left + len(tree_directories(manifest)) + 2  # .ckptd/<recovery>
    files_free = root.free_files()
    if files_left and files_free is not None and files_need > files_free:
        raise OutOfSpace(
            f"root {root.path}",
            f"needs {files_need} more files and directories and its file system has "
            f"room for {files_free} (inodes)",
            "Remove files, or choose a target in another root with --to.",
        )
    need = 0
    for index, unit in enumerate(manifest.units):
        if index not in standing:
            data_bytes = unit.size_bytes - zero_bytes.get(index, 0)
            rounded = -(-data_bytes // _ALLOCATION_BYTES) * _ALLOCATION_BYTES
            need += max(rounded - allocated.get(index, 0), 0)
    if not need:
        return
    need += max(_MARGIN_BYTES_MIN, int(need * _MARGIN_SHARE))
    free = max(root.free_bytes() - reserved_elsewhere_bytes, 0)
    if need > free:
        promised = (
            f" ({format_size(reserved_elsewhere_bytes)} more are promised to other recoveries)"
        )
        raise OutOfSpace(
            f"root {root.path}",
            f"needs {format_size(need)} and has {format_size(free)} free"
            + (promised if reserved_elsewhere_bytes else ""),
            "Make room, or choose a target in another root with --to.",
        )


def create_files(
    tree: Root, space: AddressSpace, present: Container[int], zeros: BlockSet = _NO_BLOCKS
) -> list[int]:
    """Create the files that are missing, at full length, and make their names durable.

    A unit that comes whole gets its file when it comes; here only its directory is created.

    Args:
        tree: The staging directory.
        space: What is staged.
        present: Units whose files are there, or are not wanted.
        zeros: Blocks for which no room is reserved: they become holes.

    Returns:
        Units for which no room could be reserved: short ones, and all on file systems that
        do not know fallocate.

    Raises:
        OutOfSpace: They do not fit; those made by this call are gone again.
        StorageError: Refused; likewise.
    """
    made: list[int] = []
    unreserved: list[int] = []
    units = space.manifest.units
    paths = [unit.path for unit in units]
    directories = directories_of(paths)
    try:
        _make_directories(tree, directories)
        with Names(tree) as names:
            for index, unit in enumerate(units):
                if index in present:
                    continue
                if is_whole(unit):
                    unreserved.append(index)
                else:
                    fd = names.open_file(unit.path, CREATE, STAGED_FILE_MODE)
                    made.append(index)
                    with mapping_os_errors(tree.absolute(unit.path)):
                        data = data_stretches(space, index, zeros)
                        is_reserved = _set_length(fd, unit.size_bytes, data)
                    if not is_reserved:
                        unreserved.append(index)
        _sync_directories(tree, ["", *directories])
    except CkptdError:
        for index in made:
            tree.remove_tree(paths[index])
        raise
    return unreserved


def _make_directories(tree: Root, directories: Sequence[str]) -> None:
    for path in directories:
        parent, _, name = path.rpartition("/")
        with as_directory(tree, parent) as fd:
            confined.make_directory(fd, name)


def _sync_directories(tree: Root, directories: Collection[str]) -> None:
    if len(directories) > _FEW_DIRECTORIES:
        tree.sync()
        return
    for path in directories:
        with as_directory(tree, path) as fd:
            sync_file(fd)


def _set_length(fd: int, size_bytes: int, data: Iterator[tuple[int, int]]) -> bool:
    """Give a new file its length and close it; return whether the room of its data is reserved."""
    try:
        is_reserved = size_bytes == 0
        if size_bytes >= RESERVE_BYTES_MIN:
            some = list(itertools.islice(data, _STRETCHES_MAX))
            is_reserved = all(reserve(fd, length, offset) for offset, length in some)
            is_reserved = is_reserved and next(data, None) is None
        if os.fstat(fd).st_size < size_bytes:
            os.ftruncate(fd, size_bytes)
        return is_reserved
    finally:
        os.close(fd)
