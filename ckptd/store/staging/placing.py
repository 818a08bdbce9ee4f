"""How a version becomes visible: made final in staging, then one rename.

Nothing is changed after the rename, so the target is absent or right at every instant. After a
crash between the rename and the catalog the target is not in the catalog; :func:`recognise`
finds out whether a target is such a one.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Container
from typing import Final

from ckptd.errors import ContentChanged, NotFound, StorageError, VerificationFailed
from ckptd.limits import MIB
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.hashing import unit_digest
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.staging.directories import as_directory, directories_of, open_tree, swept
from ckptd.store.staging.leftovers import matching, survey
from ckptd.store.staging.whole_units import final_mode

_BUFFER_BYTES_MAX: Final = 16 * MIB

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


def check_critical(
    tree: Root, manifest: Manifest, left_out: Container[int], *, check: Callable[[], None]
) -> None:
    """Hash the critical units that are there as a whole, from the disk.

    Their blocks were verified when they came; this checks what the disk returns for them.

    Args:
        tree: Where the files are.
        manifest: What they should be.
        left_out: Units to skip, by index.
        check: Called between two pieces; what it raises ends the hashing.

    Raises:
        VerificationFailed: A unit is not what the manifest says.
        StorageError: The disk refused.
    """
    critical = [
        unit
        for index, unit in enumerate(manifest.units)
        if unit.criticality is Criticality.CRITICAL and index not in left_out
    ]
    longest = max((unit.size_bytes for unit in critical), default=0)
    buffer = memoryview(bytearray(min(max(longest, 1), _BUFFER_BYTES_MAX)))
    with Names(tree) as names:
        for unit in critical:
            fd = _open(names, tree, unit)
            try:
                with mapping_os_errors(tree.absolute(unit.path)):
                    digest = unit_digest(fd, unit.size_bytes, buffer=buffer, check=check)
            except ContentChanged as error:
                raise _differs(unit) from error
            finally:
                os.close(fd)
            if digest != unit.digest:
                raise _differs(unit)


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


def files_of(
    tree: Root, manifest: Manifest, left_out: Container[int]
) -> tuple[UnitFile | None, ...]:
    """Return the file of each unit of a version that is placed.

    Raises:
        StorageError: A file is gone, or the system refused.
    """
    files: list[UnitFile | None] = [None] * len(manifest.units)
    with Names(tree) as names:
        for index, unit in enumerate(manifest.units):
            if index not in left_out:
                facts = names.stat(unit.path)
                if facts is None:
                    raise StorageError(tree.absolute(unit.path), "was removed after it was placed")
                files[index] = UnitFile(fingerprint_of(facts))
    return tuple(files)


def recognise(
    root: Root,
    target: str,
    space: AddressSpace,
    journaled: BlockSet,
    *,
    check: Callable[[], None],
) -> BlockSet | None:
    """Return whether a target is what this recovery renamed before a crash.

    It is if it holds all units of the manifest, or some of which the journal has all blocks,
    and nothing else, and every block in it has the right digest.

    Args:
        root: Where the target is.
        target: Its path below the root.
        space: What the recovery consists of.
        journaled: Blocks that the journal has.
        check: Called between two blocks; what it raises ends the search.

    Returns:
        The blocks of the units that are there; ``None`` if it is something else.

    Raises:
        StorageError: The disk refused.

    Cost: looks at sizes first; reads the whole version if they fit.
    """
    found = root.stat(target)
    if found is None or not stat.S_ISDIR(found.st_mode):
        return None
    tree = open_tree(root, target)
    try:
        seen = survey(tree, space.manifest)
        runs = [space.unit_run(index) for index in seen.allocated]
        blocks = BlockSet(run for run in runs if run[0] < run[1])
        is_whole = len(runs) == len(space.manifest.units)
        is_partial = bool(blocks) and blocks.issubset(journaled)
        if seen.strangers or not (is_whole or is_partial):
            return None
        return blocks if matching(tree, space, blocks, check=check) == blocks else None
    finally:
        tree.close()
