"""How a version becomes visible: made final in staging, then one rename.

Nothing is changed after the rename, so the target is absent or right at every instant. After a
crash between the rename and the catalog the target is not in the catalog; what stands there is then
compared with the version, by :mod:`ckptd.store.staging.standing`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Container
from typing import Final, NamedTuple

from ckptd.errors import ContentChanged, NotFound, VerificationFailed
from ckptd.model.manifest import Manifest, Unit, contradiction
from ckptd.model.words import Criticality
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.hashing import unit_digest, wrong_blocks
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import HashRun
from ckptd.store.staging.directories import (
    as_directory,
    check_is_at,
    directories_of,
    remove_empty,
    swept,
)
from ckptd.store.staging.whole_units import final_mode

_HASHING_THREADS_MAX: Final = 8
"""Each has a buffer of 8 to 32 MiB."""

_FEW_FILES: Final = 256
"""So many are synced one by one (0.22 ms each on ext4); more by one syncfs."""

_DIRECTORY_MODE: Final = 0o755


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


class _Hashed(NamedTuple):
    """A unit whose file is hashed as a whole."""

    unit: Unit

    @property
    def place(self) -> str:
        return self.unit.path

    @property
    def size_bytes(self) -> int:
        return self.unit.size_bytes

    @property
    def grain_bytes(self) -> int:
        return self.unit.block_size_bytes


def check_units(
    tree: Root, manifest: Manifest, left_out: Container[int], *, check: Callable[[], None]
) -> None:
    """Hash units that are there as a whole, from where they lie, by several threads.

    Their blocks were verified when they came. This checks what the disk returns for critical
    ones; and, of all with more than one block, that their digest is that of their blocks. Of
    those with one block the manifest itself shows that.

    Args:
        tree: Where the files are.
        manifest: What they should be.
        left_out: Units to skip, by index.
        check: Called between two pieces; what it raises ends the hashing.

    Raises:
        ContradictoryManifest: A unit has the digests of its blocks, and not its own.
        VerificationFailed: A unit is not what came.
        StorageError: The disk refused.
    """
    units = [
        _Hashed(unit)
        for index, unit in enumerate(manifest.units)
        if (unit.criticality is Criticality.CRITICAL or unit.block_count > 1)
        and index not in left_out
    ]

    def hash_unit(
        run: HashRun[_Hashed, None], hashed: _Hashed, names: Names, buffer: memoryview
    ) -> None:
        del run
        _check_unit(tree, names, hashed.unit, buffer, check)

    HashRun(
        tree, units, hash_unit, on_progress=lambda progress: None, is_cancelled=lambda: False
    ).run(min(os.cpu_count() or 1, _HASHING_THREADS_MAX))


def _check_unit(
    tree: Root, names: Names, unit: Unit, buffer: memoryview, check: Callable[[], None]
) -> None:
    fd = _open(names, tree, unit)
    try:
        with mapping_os_errors(tree.absolute(unit.path)):
            if unit_digest(fd, unit.size_bytes, buffer=buffer, check=check) == unit.digest:
                return
            is_as_it_came = not wrong_blocks(
                fd, unit, buffer=buffer, on_progress=lambda size_bytes: check(), is_hurried=True
            )
    except ContentChanged as error:
        raise _differs(unit) from error
    finally:
        os.close(fd)
    raise contradiction(unit) if is_as_it_came else _differs(unit)


def _open(names: Names, tree: Root, unit: Unit) -> int:
    try:
        return names.open_file(unit.path, os.O_RDONLY)
    except NotFound as error:
        raise swept(tree, unit.path) from error


def _differs(unit: Unit) -> VerificationFailed:
    return VerificationFailed(
        f"{unit.criticality.label} unit {unit.path!r}",
        "was verified when it came and is something else now",
        "Check the disk and the memory of this node, then recover again.",
    )


def finish(tree: Root, manifest: Manifest, left_out: Container[int]) -> tuple[UnitFile | None, ...]:
    """Give files and directories their final modes and make everything durable.

    Returns:
        The file of each unit as it will become visible. No other process had access to it so
        far, so any later write shows in its fingerprint.

    Raises:
        VerificationFailed: A unit is too short or too long.
        StorageError: The system refused; what is on the disk cannot be trusted.
    """
    kept = (unit.path for index, unit in enumerate(manifest.units) if index not in left_out)
    directories = [*directories_of(kept), ""]
    is_few = len(manifest.units) + len(directories) <= _FEW_FILES
    files: list[UnitFile | None] = [None] * len(manifest.units)
    with Names(tree) as names:
        for index, unit in enumerate(manifest.units):
            if index not in left_out:
                file = None if is_few else _finished_file(names, unit)
                if file is None:
                    fd = _open(names, tree, unit)
                    file = _finish_file(fd, unit, tree.absolute(unit.path), is_synced=is_few)
                files[index] = file
    for path in directories:
        with as_directory(tree, path) as fd:
            os.fchmod(fd, _DIRECTORY_MODE)
            if is_few:
                os.fsync(fd)
    if not is_few:
        tree.sync()
    return tuple(files)


def _finished_file(names: Names, unit: Unit) -> UnitFile | None:
    """Return a file that only has to be synced; ``None``: there is more to do."""
    facts = names.stat(unit.path)
    if facts is None or facts.st_mode != stat.S_IFREG | final_mode(unit):
        return None
    if facts.st_size != unit.size_bytes:
        raise _differs(unit)
    return UnitFile(fingerprint_of(facts))


def _finish_file(fd: int, unit: Unit, subject: str, *, is_synced: bool) -> UnitFile:
    """Give a file its final mode, make it durable if asked for, and close it."""
    try:
        with mapping_os_errors(subject):
            os.fchmod(fd, final_mode(unit))
            if is_synced:
                os.fsync(fd)
            facts = os.fstat(fd)
    finally:
        os.close(fd)
    if facts.st_size != unit.size_bytes:
        raise _differs(unit)
    return UnitFile(fingerprint_of(facts))


def rename(root: Root, staging: str, target: str, tree: Root) -> None:
    """Give the staging directory its final name.

    Args:
        root: Where both are.
        staging: The directory's path now.
        target: Its path to be; an empty directory there makes room.
        tree: The directory itself.

    Raises:
        Conflict: The target exists by now.
        StagingLost: The directory was removed.
        StorageError: The system refused, or the directory was swapped.
    """
    os.close(root.open_directory(target.rpartition("/")[0], create=True))
    remove_empty(root, target)
    try:
        root.rename(staging, target)
    except NotFound as error:
        raise swept(root, staging) from error
    check_is_at(root, target, tree)
