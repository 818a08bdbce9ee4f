"""Symbolic links and empty directories of a directory that is published, where they are kept.

A link that leads to a name of the version, by itself or through others that do, is kept as a link.
Every other one is followed, as all are where links are not kept. A directory counts as empty if
nothing of the version is in it: a log that appears there makes no other version of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from ckptd.errors import InvalidManifest, UsageError
from ckptd.limits import MANIFEST_DIRECTORIES_MAX, MANIFEST_LINKS_MAX, MANIFEST_UNITS_MAX
from ckptd.model.bare_names import (
    Destination,
    Surroundings,
    SymbolicLink,
    check_walk,
    destinations,
)
from ckptd.model.unit_paths import directories_of
from ckptd.store.files.layout import inside, is_own
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Places

_NAMES_MAX: Final = 2 * MANIFEST_UNITS_MAX
"""They are all in memory at once: as many files as a version may have, and directories for each."""


@dataclass(frozen=True, slots=True)
class InnerNames:
    """What is kept as it is.

    Attributes:
        links: Symbolic links, by path.
        directories: Empty directories.
        also_called: The paths of links that lead to a file, by its path; they name it to patterns.
    """

    links: tuple[SymbolicLink, ...] = ()
    directories: tuple[str, ...] = ()
    also_called: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def link_paths(self) -> frozenset[str]:
        """The paths of the links."""
        return frozenset(link.path for link in self.links)

    def names_of_files(self) -> Iterator[str]:
        """Yield the names that links give to files."""
        return chain.from_iterable(self.also_called.values())

    def places(self, places: Places) -> Places:
        """Return where files lie, with the names that links give them.

        Args:
            places: Where each file lies below the root.
        """
        called = {
            name: places.of(path) for path, names in self.also_called.items() for name in names
        }
        return places._replace(elsewhere=places.elsewhere | called)


NO_INNER_NAMES = InnerNames()


def inner_names(root: Root, relative: str, is_excluded: Callable[[str], bool]) -> InnerNames:
    """Find the links and empty directories of a version.

    Args:
        root: Where the directory lies.
        relative: Its path below the root.
        is_excluded: Says of the path of a file or link whether it is left out, and of one with
            ``/`` at its end whether that directory is.

    Raises:
        UsageError: There are too many, or whoever follows the links would never come to an end.
        NotFound: There is no such directory.
        StorageError: The file system refused.
    """
    files: set[str] = set()
    directories: list[str] = []
    targets: dict[str, str] = {}
    subject = f"directory {root.absolute(relative)}"
    for found in root.walk(relative, with_directories=True):
        if is_own(found.path):
            continue
        if found.is_directory:
            if not (is_excluded(found.path) or is_excluded(f"{found.path}/")):
                directories.append(found.path)
        elif is_excluded(found.path):
            continue
        elif found.is_symlink:
            targets[found.path] = root.read_link(inside(relative, found.path)) or ""
        else:
            files.add(found.path)
        _check_count(subject, "names", len(files) + len(targets) + len(directories), _NAMES_MAX)
    used = set(directories_of((*files, *targets, *directories)))
    empty = tuple(sorted(set(directories) - used))
    kept = _kept(files, targets, empty)
    _check_count(subject, "links", len(kept), MANIFEST_LINKS_MAX)
    _check_count(subject, "empty directories", len(empty), MANIFEST_DIRECTORIES_MAX)
    try:
        check_walk({path: each.path for path, each in kept.items() if each.path not in files})
    except InvalidManifest as error:
        raise UsageError(
            subject,
            f"cannot be published with its links: it {error.problem}",
            "Leave that link out with --exclude, or publish without --links.",
        ) from error
    also_called: dict[str, list[str]] = {}
    for path, destination in kept.items():
        also_called.setdefault(destination.path, []).append(path)
    return InnerNames(
        tuple(SymbolicLink(path, targets[path]) for path in sorted(kept)),
        empty,
        {path: tuple(names) for path, names in also_called.items() if path in files},
    )


def _check_count(subject: str, kind: str, count: int, count_max: int) -> None:
    if count > count_max:
        raise UsageError(
            subject,
            f"has more than {count_max} {kind}",
            "Leave some out with --exclude, or publish without --links.",
        )


def _kept(files: set[str], targets: dict[str, str], empty: Iterable[str]) -> dict[str, Destination]:
    """Return the links that lead to a name of the version."""
    found = destinations(targets)
    inner = {path: each for path, each in found.items() if isinstance(each, Destination)}
    around = Surroundings(frozenset(each.path for each in inner.values()))
    for path in files:
        around.see(path)
    for path in targets:
        around.see(path, is_link=path in inner)
    for path in empty:
        around.see(path, is_directory=True)
    kept = {path: each for path, each in inner.items() if not around.problem(each)}
    # What is followed is a file by then: links that lead to it stay.
    files |= targets.keys() - kept.keys()
    return kept
