"""Placing by phases: the units of a phase appear one by one while later ones still travel.

Each gets its final name by a rename that replaces nothing, complete and synced, after all that it
needs. What a format takes for the sign that all is there (its commit markers) comes last of all,
whatever its phase.
"""

from __future__ import annotations

import stat
from collections.abc import Container, Iterable, Iterator
from itertools import takewhile
from typing import NamedTuple

from ckptd.errors import Conflict
from ckptd.model.completeness import is_commit_marker
from ckptd.model.manifest import Manifest
from ckptd.model.unit_paths import directories_of
from ckptd.model.visible_order import visible_order
from ckptd.store.files.fingerprints import UnitFile
from ckptd.store.files.kernel import sync_file
from ckptd.store.files.roots import Root
from ckptd.store.staging.placing import make_parents
from ckptd.store.trees.directories import as_directory, is_free, remove_empty
from ckptd.store.trees.ownership import Owner
from ckptd.store.trees.standing_files import StandingFiles, WrongFile


class PlacedUnits(NamedTuple):
    """What came of an attempt to place some units.

    Attributes:
        files: Those that stand under their names now.
        obstacle: What is in the way of the next one; ``None``: nothing is.
    """

    files: dict[int, UnitFile]
    obstacle: Conflict | None = None


class AllBut(Container[int]):
    """All units but some."""

    def __init__(self, units: Iterable[int]) -> None:
        self._units = frozenset(units)

    def __contains__(self, unit: object) -> bool:
        return unit not in self._units


def placing_order(manifest: Manifest, units: Iterable[int]) -> tuple[list[int], list[int]]:
    """Return in which order some units become visible.

    Args:
        manifest: Which they are of.
        units: Those that are to become visible.

    Returns:
        Phase after phase, and in each what others need first; then, to be placed when nothing
        else is to come, the commit markers of the format and what comes behind those.
    """
    ordered = visible_order(manifest, units)
    known = manifest.units
    before = list(takewhile(lambda unit: not is_commit_marker(known[unit].path), ordered))
    return sorted(before, key=lambda unit: known[unit].phase), ordered[len(before) :]


def units_upto(manifest: Manifest, phase: int) -> Iterator[int]:
    """Yield the units of a phase and of all before it."""
    units = enumerate(manifest.units)
    return (index for index, unit in takewhile(lambda each: each[1].phase <= phase, units))


def make_way(root: Root, target: str, owner: Owner | None) -> None:
    """Make what is missing above a target, durably; nothing stands at the target afterwards.

    Raises:
        Conflict: Something does.
        StorageError: The system refused.
    """
    make_parents(root, target, owner)
    above = target.rpartition("/")[0]
    for path in ("", *directories_of((f"{above}/",) if above else ())):
        with as_directory(root, path) as fd:
            sync_file(fd)
    if not is_free(root, target):
        raise _at_target(root, target)
    remove_empty(root, target)


def check_directories(root: Root, target: str, paths: Iterable[str]) -> None:
    """Check that nothing but directories is where directories of a version are to be.

    Args:
        root: Where the version is placed.
        target: Its directory.
        paths: Of files in it, relative to the root.

    Raises:
        Conflict: Something is.
    """
    for path in directories_of(paths):
        facts = root.stat(path)
        if facts is not None and not stat.S_ISDIR(facts.st_mode):
            raise _in_the_way(root, path, "target" if path == target else "file")


def check_replaceable(root: Root, file: WrongFile, *, is_overwriting: bool) -> WrongFile:
    """Return what is in the place of a unit if the unit may take it.

    Raises:
        Conflict: Somebody's file is there, still.
    """
    if not file.is_touched or is_overwriting:
        return file
    if root.stat(file.path) is not None:
        raise _in_the_way(root, file.path, "file")
    return file._replace(fingerprint=None, is_touched=False)


def _at_target(root: Root, target: str) -> Conflict:
    """Return what is said of a target that is not free: of a directory, what is first in it."""
    facts = root.stat(target)
    if target and facts is not None and stat.S_ISDIR(facts.st_mode):
        for name in root.names(target)[:1]:
            return _in_the_way(root, f"{target}/{name}", "file")
    return _in_the_way(root, target, "target")


def _in_the_way(root: Root, path: str, kind: str) -> Conflict:
    return Conflict(
        f"{kind} {root.absolute(path)}",
        "is in the way: it is not of this version, and is not replaced",
        "Move it away; the recovery goes on by itself.",
    )


def final_paths(standing: StandingFiles, manifest: Manifest, units: Iterable[int]) -> list[str]:
    """Return where some units are to stand, relative to the root."""
    return [standing.known.path_of(manifest, unit) for unit in units]
