"""The directory a recovery writes to: checked, reserved, and taken up again after a restart.

Everything that can be refused is refused here, before the first byte travels: a target that
exists, a file system that a rename cannot reach, too little room. Room for larger files is
reserved for good; small ones are only counted.

What an earlier run left is taken up as far as it is still what the manifest says. A file is
kept if its type and size are right, its blocks count if the journal names them *and* they hash
right now, and whatever else lies there is removed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import operator
import os
import stat
import threading
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from ckptd.errors import (
    CkptdError,
    NotFound,
    OutOfSpace,
    StagingLost,
    StorageError,
    UsageError,
)
from ckptd.limits import BLOCK_BYTES_MAX, KIB, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.quantities import format_size
from ckptd.model.space import AddressSpace
from ckptd.store.files import confined
from ckptd.store.files.hashing import matching_blocks
from ckptd.store.files.kernel import mapping_os_errors, reserve
from ckptd.store.files.layout import STAGING_DIRECTORY, inside, is_in_staging
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.staging.whole_units import RESERVE_BYTES_MIN, is_whole

_ALLOCATION_BYTES: Final = 4 * KIB
"""The least that ext4, XFS and tmpfs set aside for a file that is not empty."""
_MARGIN_BYTES_MIN: Final = 1 * MIB
_MARGIN_SHARE: Final = 0.01
"""For what is beside the files: directories, extents, the state database."""
_STAT_BLOCK_BYTES: Final = 512
"""Unit of ``st_blocks``: stat(2)."""

_HASHING_THREADS_MAX: Final = 4
_PORTION_BYTES: Final = 64 * MIB
"""What a thread hashes again before it takes the next piece; evens out the threads."""

_FEW_DIRECTORIES: Final = 16
"""So many are synced one by one (0.22 ms each on ext4); more by one syncfs."""

_STAGING_MODE: Final = 0o700
_FILE_MODE: Final = 0o600
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY

_staging_directory_lock: Final = threading.Lock()
"""Held where ``.ckptd`` is made or removed, so that one recovery's end is not another's error."""


def directories_of(paths: Iterable[str]) -> list[str]:
    """Return every directory on the way to some files, parents first, without ``""``."""
    found: set[str] = set()
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    return sorted(found)


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


def open_tree(root: Root, path: str) -> Root:
    """Open a directory below a root, to be walked by a root's rules from its own descriptor.

    The descriptor stays good when the directory is renamed, and a writeback error is reported
    to each descriptor once: what syncfs tells one recovery is not lost for the others.

    Raises:
        NotFound: It does not exist.
        StorageError: It is a link or no directory, or the system refused.
    """
    return Root(root.name, root.absolute(path), root.open_directory(path))


def make_staging(root: Root, path: str) -> Root:
    """Open the staging directory of a recovery, made if it is missing, closed to others.

    Raises:
        StorageError: The system refused.
    """
    with _staging_directory_lock:
        fd = root.open_directory(path, create=True)
    tree = Root(root.name, root.absolute(path), fd)
    with mapping_os_errors(tree.path):
        os.fchmod(fd, _STAGING_MODE)
    with contextlib.suppress(OSError):  # where the file system knows no locks
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # systemd-tmpfiles passes by: tmpfiles.d(5)
    return tree


def move_to_staging(root: Root, target: str, path: str) -> None:
    """Take a version that was placed without some units back into staging.

    Raises:
        CkptdError: The system refused.
    """
    with _staging_directory_lock:
        os.close(root.open_directory(STAGING_DIRECTORY, create=True))
        root.rename(target, path)


def create_in_staging(root: Root, path: str) -> int:
    """Create a file in the staging directory and return its descriptor, open for writing.

    Raises:
        StorageError: The system refused.
    """
    with _staging_directory_lock:
        os.close(root.open_directory(STAGING_DIRECTORY, create=True))
        root.remove_tree(path)  # of a daemon that was killed
        return root.open_file(path, _CREATE, _FILE_MODE)


def remove_empty_staging_directory(root: Root) -> None:
    """Remove ``.ckptd`` if no other recovery has a directory in it."""
    with _staging_directory_lock, as_directory(root, "") as fd:
        try:
            confined.remove_directory(fd, STAGING_DIRECTORY)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT}:
                raise


@contextlib.contextmanager
def as_directory(tree: Root, path: str) -> Iterator[int]:
    """Open a directory for a while; what the system refuses inside names it.

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
    """Check that a name leads to the directory that is open: what was verified was renamed.

    Raises:
        StorageError: Somebody put another directory in its place.
    """
    found, expected = root.stat(path), tree.stat("")
    if found is None or expected is None or not os.path.samestat(found, expected):
        raise StorageError(
            f"target {root.absolute(path)}",
            "is not what was recovered: somebody swapped the directory while it was placed",
            "Remove it, find out who writes to the root, and recover again.",
        )


def swept(tree: Root, path: str) -> StagingLost:
    """Say that somebody removed a file while a recovery wrote it."""
    return StagingLost(
        tree.absolute(path),
        "was removed while it was being recovered",
        f"Recover again, and keep cleaners out of {STAGING_DIRECTORY}.",
    )


@dataclass(frozen=True, slots=True)
class Survey:
    """What lies in a directory, held against a manifest.

    Attributes:
        allocated: Units whose file has the right type and size, with the bytes set aside for it.
        strangers: Paths of everything else but the directories in between.
    """

    allocated: dict[int, int]
    strangers: tuple[str, ...]


def survey(tree: Root, manifest: Manifest) -> Survey:
    """Look through a directory without following links.

    A file with a second name is a stranger, for others may write to it.

    Raises:
        StorageError: The system refused.
    """
    units = {unit.path: index for index, unit in enumerate(manifest.units)}
    directories = set(directories_of(units))
    allocated: dict[int, int] = {}
    strangers: list[str] = []
    pending = [""]
    while pending:
        inner = pending.pop()
        with as_directory(tree, inner) as fd:
            found = confined.entries(fd)
        for name, facts in found:
            path = inside(inner, name)
            index = units.get(path)
            if stat.S_ISDIR(facts.st_mode) and path in directories:
                pending.append(path)
            elif index is not None and _is_intact(facts, manifest.units[index]):
                allocated[index] = facts.st_blocks * _STAT_BLOCK_BYTES
            else:
                strangers.append(path)
    return Survey(allocated, tuple(strangers))


def _is_intact(facts: os.stat_result, unit: Unit) -> bool:
    is_ours = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
    return is_ours and facts.st_size == unit.size_bytes


def check_space(
    root: Root, manifest: Manifest, allocated: Mapping[int, int], reserved_elsewhere_bytes: int
) -> None:
    """Check that what is missing fits, with a margin: bytes, and files if they are counted.

    Raises:
        OutOfSpace: It does not.
    """
    paths = [unit.path for unit in manifest.units]
    files_need = len(paths) - len(allocated) + len(directories_of(paths)) + 2  # .ckptd/<recovery>
    files_free = root.free_files()
    if len(allocated) < len(paths) and files_free is not None and files_need > files_free:
        raise OutOfSpace(
            f"root {root.path}",
            f"needs {files_need} more files and directories and its file system has "
            f"room for {files_free} (inodes)",
            "Remove files, or choose a target in another root with --to.",
        )
    need = 0
    for index, unit in enumerate(manifest.units):
        rounded = -(-unit.size_bytes // _ALLOCATION_BYTES) * _ALLOCATION_BYTES
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


def create_files(tree: Root, manifest: Manifest, present: Container[int]) -> list[int]:
    """Make the files that are not there, at full length, and their names durable.

    Those of units that come whole are made when they come; here only their directories are.

    Returns:
        Units for which no room could be reserved: short ones, and all on file systems that
        do not know fallocate.

    Raises:
        OutOfSpace: They do not fit; those made by this call are gone again.
        StorageError: Refused; likewise.
    """
    made: list[int] = []
    unreserved: list[int] = []
    paths = [unit.path for unit in manifest.units]
    directories = directories_of(paths)
    try:
        _make_directories(tree, directories)
        with Names(tree) as names:
            for index, unit in enumerate(manifest.units):
                if index in present:
                    continue
                if is_whole(unit):
                    unreserved.append(index)
                else:
                    fd = names.open_file(unit.path, _CREATE, _FILE_MODE)
                    made.append(index)
                    with mapping_os_errors(tree.absolute(unit.path)):
                        is_reserved = _set_length(fd, unit.size_bytes)
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
            os.fsync(fd)


def _set_length(fd: int, size_bytes: int) -> bool:
    """Give a new file its length and close it; tell whether the room for it is reserved."""
    try:
        if size_bytes >= RESERVE_BYTES_MIN and reserve(fd, size_bytes):
            return True
        os.ftruncate(fd, size_bytes)
        return size_bytes == 0
    finally:
        os.close(fd)


def matching(
    tree: Root, space: AddressSpace, blocks: BlockSet, *, check: Callable[[], None]
) -> BlockSet:
    """Hash blocks on the disk and return those that are right.

    Several threads read side by side, each with one buffer of the longest block.

    Args:
        tree: Where the files are.
        space: What they should be.
        blocks: Which blocks to look at.
        check: Called before each block by all these threads; what it raises ends the hashing.

    Raises:
        NotFound: A unit's file is not there.
        StorageError: The disk refused.

    Cost: reads all of them once.
    """
    portions = [portion for run in blocks.runs() for portion in _portions(space, run)]
    if not portions:
        return BlockSet()
    threads = min(os.cpu_count() or 1, _HASHING_THREADS_MAX, len(portions))
    shares = [portions[first::threads] for first in range(threads)]
    buffer_bytes = max(min(unit.block_size_bytes, unit.size_bytes) for unit in space.manifest.units)
    assert buffer_bytes <= BLOCK_BYTES_MAX

    def match(share: Sequence[BlockRun]) -> list[int]:
        found: list[int] = []
        buffer = memoryview(bytearray(buffer_bytes))
        with Names(tree) as names:
            places = itertools.chain.from_iterable(space.places(run) for run in share)
            for index, of_unit in itertools.groupby(places, operator.attrgetter("unit")):
                path = space.manifest.units[index].path
                fd = names.open_file(path, os.O_RDONLY)
                try:
                    with mapping_os_errors(tree.absolute(path)):
                        found += matching_blocks(fd, of_unit, buffer=buffer, check=check)
                finally:
                    os.close(fd)
        return found

    with ThreadPoolExecutor(threads, "ckptd-rehash") as pool:
        found = itertools.chain.from_iterable(pool.map(match, shares))
        return BlockSet((block, block + 1) for block in found)


def _portions(space: AddressSpace, run: BlockRun) -> Iterator[BlockRun]:
    start = run.start
    while start < run.end:
        end = min(space.run_within(start, _PORTION_BYTES).end, run.end)
        yield BlockRun(start, end)
        start = end
