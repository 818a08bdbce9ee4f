"""Removing the files of a place: those that are still what was recorded, and nothing else.

:func:`examine` says first what that would be, so that a caller can refuse the whole before anything
is gone. :func:`remove` then looks at each file again in the moment before its name is taken away. A
unit that is a symbolic link loses the link; what that leads to stays. So do links of the version.
Directories go when they are empty; so whatever else lies in them stays, with them.

All calls block; none belongs on the event loop.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ckptd.errors import CkptdError, NotFound
from ckptd.limits import COMPRESSED_UNIT_BYTES_MIN
from ckptd.store.files.fingerprints import Fingerprint, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import (
    COMPRESSING,
    MADE_NOTE,
    PARTIAL_MARKER,
    STATE_FILE,
    compressed,
    inside,
    may_be_compressed,
)
from ckptd.store.files.links import resolve_link
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.version_state import read_state
from ckptd.store.published.bare_names import bare_names_of, wrong_names
from ckptd.store.published.checking import Reading, compare, hash_again


@dataclass(frozen=True, slots=True)
class Removable:
    """What stands at a place, before anything is removed; each unit is in one of these at most.

    Attributes:
        own: Units that are what was published, each with its file as it is now; ``None`` for one
            that is a link.
        foreign: Units that are not, each with a sentence for people.
        size_bytes: Length of the files in ``own`` together; links have none.
        foreign_bytes: Length of the units in ``foreign`` as they were published.
        strangers: Files in the directory that belong to no unit, those not looked at included.
        links: Links of the version that are what was published, by name.
        foreign_names: What stands where other links and empty directories should be, by name, each
            with a sentence for people.
    """

    own: Mapping[int, Fingerprint | None]
    foreign: Mapping[int, str]
    size_bytes: int
    foreign_bytes: int
    strangers: int
    links: tuple[str, ...] = ()
    foreign_names: Mapping[str, str] = field(default_factory=dict)

    @property
    def foreign_count(self) -> int:
        """How many names of the version are not what was published."""
        return len(self.foreign) + len(self.foreign_names)


@dataclass(frozen=True, slots=True)
class Removed:
    """What was removed from a place.

    Attributes:
        files: How many files and links.
        size_bytes: Length of the files.
        kept: Units that changed in the meantime, and stay.
        is_directory_gone: Nothing else was in it.
    """

    files: int
    size_bytes: int
    kept: tuple[str, ...]
    is_directory_gone: bool


def examine(
    root: Root, hashed: HashedDirectory, doubted: Iterable[int], reading: Reading
) -> Removable:
    """Look at the files of a place; those that look different are hashed.

    Args:
        root: Where the place lies.
        hashed: The place.
        doubted: Units that are hashed although they look as they did.
        reading: How fast, and until when.

    Raises:
        Cancelled: The caller wants no more of it.
        StorageError: The root is not where it was.
    """
    root.check_in_place()
    files = hashed.files
    links = {unit for unit, file in enumerate(files) if file and file.link_target}
    bare = list(bare_names_of(hashed.directory, hashed.manifest))
    wrong = wrong_names(root, bare)
    seen = compare(root, hashed)
    units = {*doubted, *seen.suspect} - links - seen.changed.keys()
    checked = hash_again(root, hashed, sorted(units), reading)
    foreign = {**checked.changed, **checked.undecided}
    own: dict[int, Fingerprint | None] = {}
    with Names(root) as names:
        for unit, file in enumerate(files):
            if file is None or unit in foreign:
                continue
            path = inside(hashed.directory, _path(hashed, unit))
            if names.stat(path) is None:
                continue
            if unit in links:
                why = _why_not_the_link(root, path, file.link_target)
            else:
                why = seen.changed.get(unit, "")
            if why:
                foreign[unit] = why
            elif unit in links:
                own[unit] = None
            else:
                own[unit] = checked.files.get(unit, file).fingerprint
    return Removable(
        own,
        foreign,
        sum(each.size_bytes for each in own.values() if each),
        sum(hashed.manifest.units[unit].size_bytes for unit in foreign),
        count_strangers(root, [hashed]),
        tuple(each.name for each in bare if each.target is not None and each.name not in wrong),
        {name: each.why for name, each in wrong.items() if each.facts is not None},
    )


def count_strangers(root: Root, together: Sequence[HashedDirectory]) -> int:
    """Count files in the directory of some places that belong to no unit of any of them.

    Args:
        root: Where the places lie.
        together: The places; one, or several that are in one directory.
    """
    directory = together[0].directory
    own = set(_notes(root, directory))
    for hashed in together:
        for unit in hashed.manifest.units:
            own.add(unit.path)
            if unit.size_bytes >= COMPRESSED_UNIT_BYTES_MIN:
                own.add(compressed(unit.path))
        own.update(each.name for each in bare_names_of(directory, hashed.manifest))
    count = 0
    try:
        for found in root.walk(directory):
            count += found.path not in own
    except NotFound:
        return count
    except CkptdError:  # no file, or not to be looked at
        return count + 1
    return count


def _notes(root: Root, directory: str) -> tuple[str, ...]:
    """Return what ckptd writes beside a version: one that is not whole or was not, or a copy."""
    try:
        is_ours = read_state(root, directory) is not None
    except CkptdError:  # a link, or not to be read
        is_ours = False
    always = (PARTIAL_MARKER, MADE_NOTE, COMPRESSING)
    return (*always, STATE_FILE) if is_ours else always


def _why_not_the_link(root: Root, path: str, target: str) -> str:
    """Return why a name is not the link that was published, as a sentence; empty if it is."""
    subject = f"symbolic link {root.absolute(path)}"
    try:
        if root.read_link(path) is None:
            return f"{subject}: is no link any more"
        return "" if resolve_link(root, path) == target else f"{subject}: leads elsewhere"
    except CkptdError as error:
        return str(error)


def names_to_remove(hashed: HashedDirectory) -> set[str]:
    """Return the names that :func:`remove` may take away, relative to the root.

    Where an empty directory should be, that is what stands there instead.
    """
    bare = (each.path for each in bare_names_of(hashed.directory, hashed.manifest))
    return {*_files_of(hashed), *bare}


def has_any(hashed: HashedDirectory, names: set[str]) -> bool:
    """Return whether a place has files or links of some names, or units that lie there."""
    bare = bare_names_of(hashed.directory, hashed.manifest)
    links = (each.path for each in bare if each.target is not None)
    return not names.isdisjoint((*_files_of(hashed), *links, *hashed.files.links().values()))


def _files_of(hashed: HashedDirectory) -> Iterator[str]:
    units = range(len(hashed.manifest.units))
    return (inside(hashed.directory, _path(hashed, unit)) for unit in units)


def remove(
    root: Root,
    hashed: HashedDirectory,
    examined: Removable,
    *,
    with_foreign: bool,
    is_directory_kept: bool = False,
) -> Removed:
    """Remove the files of a place, and the directories that are empty then.

    Args:
        root: Where the place lies.
        hashed: The place; nobody may serve it any more.
        examined: What stands there.
        with_foreign: Also files of units that are not what was published.
        is_directory_kept: Its directory has another version as well: files alone go.

    Raises:
        StorageError: The system refused; part of it may be gone.
    """
    doomed: dict[int, Fingerprint | None] = dict(examined.own)
    if with_foreign:
        doomed |= dict.fromkeys(examined.foreign)
    files = size_bytes = 0
    kept: list[str] = []
    unlinked: set[int] = set()
    """Files that lost one of several names here, which their ctime shows."""
    paths = {unit: inside(hashed.directory, _path(hashed, unit)) for unit in doomed}
    with Names(root) as names:
        other_forms = OtherForms(names, hashed)
        for unit in sorted(doomed, key=paths.__getitem__):
            facts = names.stat(paths[unit])
            if facts is None:
                continue
            is_foreign = unit in examined.foreign
            expected = doomed[unit]
            if expected and expected.inode in unlinked:
                expected = expected._replace(ctime_ns=facts.st_ctime_ns)
            if not _is_doomed(facts, expected, is_foreign=is_foreign):
                kept.append(_path(hashed, unit))
                continue
            names.remove_file(paths[unit])
            if facts.st_nlink > 1:
                unlinked.add(facts.st_ino)
            files += 1
            size_bytes += facts.st_size if stat.S_ISREG(facts.st_mode) else 0
            if stat.S_ISREG(facts.st_mode):
                size_bytes += other_forms.remove(unit, facts.st_mtime_ns)
        files += _remove_bare_names(names, hashed, examined, kept, with_foreign=with_foreign)
    is_gone = not is_directory_kept and _remove_directories(root, hashed)
    return Removed(files, size_bytes, tuple(kept), is_gone)


class OtherForms:
    """Removes what compressing left beside the files of units, compressed or as they were.

    It left off before it was recorded that a unit is compressed, or before the file went that had
    it as it was. What it makes has the times of that file, so it is known by them.

    Args:
        names: Those of the root.
        hashed: The place.
    """

    def __init__(self, names: Names, hashed: HashedDirectory) -> None:
        self._names = names
        self._hashed = hashed
        paths = (unit.path for unit in hashed.manifest.units)
        self._units = frozenset(filter(may_be_compressed, paths))

    def remove(self, unit: int, mtime_ns: int) -> int:
        """Remove the other form of a unit, if there is one; return how long it was.

        Args:
            unit: Which unit; its file here is known.
            mtime_ns: When that was modified.

        Raises:
            StorageError: The system refused.
        """
        of_unit = self._hashed.manifest.units[unit]
        other, plain_bytes = compressed(of_unit.path), None
        if self._hashed.files.is_compressed(unit):
            other, plain_bytes = of_unit.path, of_unit.size_bytes
        elif of_unit.size_bytes < COMPRESSED_UNIT_BYTES_MIN or other in self._units:
            return 0
        path = inside(self._hashed.directory, other)
        found = self._names.stat(path)
        if found is None or not stat.S_ISREG(found.st_mode) or found.st_mtime_ns != mtime_ns:
            return 0
        if plain_bytes not in {None, found.st_size}:
            return 0
        self._names.remove_file(path)
        return found.st_size


def _remove_bare_names(
    names: Names,
    hashed: HashedDirectory,
    examined: Removable,
    kept: list[str],
    *,
    with_foreign: bool,
) -> int:
    """Remove links that are still what was published, and what stands there instead if asked for.

    Returns:
        How many names were removed; those that changed since are among ``kept`` then.
    """
    targets = {link.path: link.target for link in hashed.manifest.links}
    count = 0
    for name in (*examined.links, *(examined.foreign_names if with_foreign else ())):
        path = inside(hashed.directory, name)
        facts = names.stat(path)
        if facts is None:
            continue
        if name in examined.foreign_names:
            is_doomed = _is_doomed(facts, None, is_foreign=True)
        else:
            is_doomed = names.read_link(path) == targets[name]
        if is_doomed:
            names.remove_file(path)
            count += 1
        else:
            kept.append(name)
    return count


def _is_doomed(facts: os.stat_result, expected: Fingerprint | None, *, is_foreign: bool) -> bool:
    """Return whether a name may be removed: it is still what was examined."""
    if is_foreign:
        return stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode)
    if expected is None:
        return stat.S_ISLNK(facts.st_mode)
    same = fingerprint_of(facts)._replace(device=expected.device) == expected
    return stat.S_ISREG(facts.st_mode) and same


def _remove_directories(root: Root, hashed: HashedDirectory) -> bool:
    """Remove what ckptd wrote beside a version that lacks units, and directories that are empty.

    Returns:
        Whether the place's own directory is gone.
    """
    found: set[str] = set()
    manifest = hashed.manifest
    paths = chain(
        (unit.path for unit in manifest.units),
        (link.path for link in manifest.links),
        (f"{directory}/" for directory in manifest.directories),
    )
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory and directory not in found:
            found.add(directory)
            directory = directory.rpartition("/")[0]
    with Names(root) as names:
        for name in _notes(root, hashed.directory):
            marker = inside(hashed.directory, name)
            facts = names.stat(marker)
            if facts is not None and stat.S_ISREG(facts.st_mode):
                names.remove_file(marker)
        for directory in sorted(found, reverse=True):  # what is inside of one comes before it
            names.remove_empty(inside(hashed.directory, directory))
        return bool(hashed.directory) and names.remove_empty(hashed.directory)


def _path(hashed: HashedDirectory, unit: int) -> str:
    path = hashed.manifest.units[unit].path
    return compressed(path) if hashed.files.is_compressed(unit) else path
