"""Bare names: the symbolic links and empty directories of a version, which have no bytes.

Both are content of its manifest, each under a word of its own that the manifest requires of its
reader. A link leads to a name of the same version, by itself or by way of other links; so whatever
follows one stays in the version's directory, wherever that lies. None is a unit or has one below.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Final, NamedTuple

import msgspec

from ckptd.limits import (
    LINK_COMPONENTS_MAX,
    LINKS_FOLLOWED_MAX,
    LINKS_WALK_MAX,
    MANIFEST_DIRECTORIES_MAX,
    MANIFEST_LINKS_MAX,
    PATH_BYTES_MAX,
)
from ckptd.model.unit_paths import check_path, invalid

LINKS: Final = "links"
"""A manifest that has links requires it; also the name of their field."""
DIRECTORIES: Final = "directories"
"""A manifest that has empty directories requires it; also the name of their field."""

_OUT: Final = "leads out of the version"
_NOWHERE: Final = "leads to nothing in the version"
_CIRCLE: Final = "leads in a circle"


class SymbolicLink(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False
):
    """A symbolic link of a version.

    Attributes:
        path: Of the link, as that of a unit.
        target: Its text, relative to the directory of the link: ``..`` comes first if at all.
    """

    path: str
    target: str


class Destination(NamedTuple):
    """Where a link leads to.

    Attributes:
        path: Relative to the version's directory, free of links; ``""`` is that itself.
        followed: How many links the kernel follows on the way, this one included.
        is_directory: Its text says that it is one.
    """

    path: str
    followed: int
    is_directory: bool


class _Unfinished(Exception):
    """Where a link leads to depends on another one."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(slots=True)
class _Walk:
    """How far a link was followed."""

    pending: list[str]
    at: str
    followed: int = 1


def required_words(links: Sequence[SymbolicLink], directories: Sequence[str]) -> tuple[str, ...]:
    """Return what a manifest with some bare names requires of its reader, in order."""
    return (DIRECTORIES,) * bool(directories) + (LINKS,) * bool(links)


def destinations(links: Mapping[str, str]) -> dict[str, Destination | str]:
    """Return where each link of a version leads to, or why it leads nowhere, as words.

    Whether anything is there is another question. A link that leads nowhere counts as a file for
    those that lead to it.

    Args:
        links: The text of each, by its path.

    Cost: O(components of all of them).
    """
    found: dict[str, Destination | str] = {}
    for first in links:
        walks: dict[str, _Walk] = {}
        current: str | None = None if first in found else first
        while current is not None:
            try:
                if current not in walks:
                    walks[current] = _begin(current, links[current])
                found[current] = _go_on(walks[current], links, found, links[current])
            except _Unfinished as unfinished:
                if unfinished.path not in walks:
                    current = unfinished.path
                    continue
                found.update(dict.fromkeys(walks, _CIRCLE))  # it, or what it leads through
                walks.clear()
            except ValueError as error:
                found[current] = str(error)
            walks.pop(current, None)
            current = next(reversed(walks), None)
    return found


def _begin(path: str, target: str) -> _Walk:
    """Take the ``..`` that a target begins with; a ``ValueError`` says why it leads nowhere."""
    components = target.split("/")
    if not target or target.startswith("/"):
        raise ValueError(_OUT)
    if len(components) > LINK_COMPONENTS_MAX:
        raise ValueError(f"has a target of more than {LINK_COMPONENTS_MAX} components")
    components.reverse()
    at = path.rpartition("/")[0]
    while components and components[-1] in {"", ".", ".."}:
        if components.pop() == "..":
            if not at:
                raise ValueError(_OUT)
            at = at.rpartition("/")[0]
    if ".." in components:
        raise ValueError("has '..' behind a name in its target")
    return _Walk(components, at)


def _go_on(
    walk: _Walk, links: Mapping[str, str], found: Mapping[str, Destination | str], target: str
) -> Destination:
    """Follow a link to its end.

    Raises:
        _Unfinished: Another link has to be followed first.
        ValueError: It leads nowhere.
    """
    while walk.pending:
        component = walk.pending[-1]
        if component not in {"", "."}:
            path = f"{walk.at}/{component}" if walk.at else component
            if len(path) > PATH_BYTES_MAX:
                raise ValueError(_NOWHERE)
            if path in links:
                if path not in found:
                    raise _Unfinished(path)
                path = _through(walk, path, found[path])
            walk.at = path
        walk.pending.pop()
    is_directory = target.rpartition("/")[2] in {"", ".", ".."}
    return Destination(walk.at, walk.followed, is_directory)


def _through(walk: _Walk, path: str, inner: Destination | str) -> str:
    if isinstance(inner, str):
        if len(walk.pending) > 1 or inner == _CIRCLE:
            raise ValueError(inner)
        return path
    walk.followed += inner.followed
    if walk.followed > LINKS_FOLLOWED_MAX:
        raise ValueError(f"leads through more than {LINKS_FOLLOWED_MAX} links")
    return inner.path


@dataclass(slots=True)
class Surroundings:
    """Which of some paths a version has, found out while its names are seen one after another.

    Attributes:
        wanted: The paths.
        files: Those that are units.
        directories: Those that are directories.
    """

    wanted: frozenset[str]
    files: set[str] = field(default_factory=set)
    directories: set[str] = field(default_factory=lambda: {""})
    _latest: str = ""

    def see(self, path: str, *, is_directory: bool = False, is_link: bool = False) -> None:
        """Take note of a name; those in one directory best come one after another."""
        if path in self.wanted and not is_link:
            (self.directories if is_directory else self.files).add(path)
        above = path.rpartition("/")[0]
        if above == self._latest:
            return
        self._latest = above
        while above:
            if above in self.wanted:
                self.directories.add(above)
            above = above.rpartition("/")[0]

    def problem(self, found: Destination) -> str:
        """Return why a link leads to nothing, as words; empty if it leads to a name."""
        is_there = found.path in self.directories
        if not is_there and not found.is_directory:
            is_there = found.path in self.files
        return "" if is_there else _NOWHERE


class BareNamesCheck:
    """Checks the bare names of a manifest against each other, and against its units.

    Raises:
        InvalidManifest: There are too many, one is no path, they are out of order, or a link leads
            nowhere.
    """

    def __init__(self, links: Sequence[SymbolicLink], directories: Sequence[str]) -> None:
        if len(links) > MANIFEST_LINKS_MAX:
            raise invalid(f"has {len(links)} links, more than {MANIFEST_LINKS_MAX}")
        if len(directories) > MANIFEST_DIRECTORIES_MAX:
            raise invalid(
                f"has {len(directories)} empty directories, more than {MANIFEST_DIRECTORIES_MAX}"
            )
        _check_order(LINKS, [link.path for link in links])
        _check_order(DIRECTORIES, directories)
        for link in links:
            _check_target(link)
        self._links = frozenset(link.path for link in links)
        self._directories = frozenset(directories)
        self._found: dict[str, Destination] = {}
        for path, found in destinations({link.path: link.target for link in links}).items():
            if isinstance(found, str):
                raise _misled(path, found)
            self._found[path] = found
        self._surroundings = Surroundings(frozenset(each.path for each in self._found.values()))

    def see(self, path: str) -> None:
        """Take note of a name of the version: of a unit, a link or an empty directory."""
        self._surroundings.see(
            path, is_directory=path in self._directories, is_link=path in self._links
        )

    def finish(self) -> None:
        """Check that each link leads to one of the names.

        Raises:
            InvalidManifest: One does not, or whoever follows them would never end.
        """
        for path, found in self._found.items():
            if problem := self._surroundings.problem(found):
                raise _misled(path, problem)
        inside = self._surroundings.directories
        check_walk({path: each.path for path, each in self._found.items() if each.path in inside})


def check_walk(links: Mapping[str, str]) -> None:
    """Check that whoever goes through a version and follows its links comes to an end, and soon.

    Args:
        links: The directory that each leads to, by its path; only links to directories.

    Raises:
        InvalidManifest: A directory leads to itself, or there are very many ways through.
    """
    leads_to: dict[str, list[str]] = {"": []}
    for path, target in links.items():
        leads_to.setdefault(target, [])
        leads_to.setdefault(path.rpartition("/")[0], []).append(target)
    enclosing: list[str] = []
    for path in sorted(leads_to, key=lambda path: path.split("/") if path else []):
        while enclosing and enclosing[-1] and not path.startswith(f"{enclosing[-1]}/"):
            enclosing.pop()
        if enclosing:
            leads_to[enclosing[-1]].append(path)
        enclosing.append(path)
    ways: dict[str, int] = {}
    try:
        for path in TopologicalSorter(leads_to).static_order():
            ways[path] = 1 + sum(ways[inner] for inner in leads_to[path])
            if ways[path] > LINKS_WALK_MAX:
                raise invalid(f"has links that make more than {LINKS_WALK_MAX} directories of it")
    except CycleError as error:
        circle = {path for path in error.args[1] if isinstance(path, str)}
        named = [
            path
            for path, target in links.items()
            if target in circle and path.rpartition("/")[0] in circle
        ]
        raise _misled(min(named), _CIRCLE) from error


def _check_order(kind: str, paths: Iterable[str]) -> None:
    previous = ""
    for path in paths:
        check_path(path)
        if path <= previous:
            raise invalid(f"lists {path[:80]!r} twice or out of order among its {kind}")
        previous = path


def _check_target(link: SymbolicLink) -> None:
    try:
        size_bytes = len(link.target.encode())
    except UnicodeEncodeError as error:
        raise _misled(link.path, "has a target that is not UTF-8") from error
    if not 0 < size_bytes < PATH_BYTES_MAX:
        raise _misled(link.path, f"has a target of {size_bytes} bytes")
    if any(character < " " or character == "\x7f" for character in link.target):
        raise _misled(link.path, "has control characters in its target")


def _misled(path: str, problem: str) -> Exception:
    return invalid(f"has a link {path[:80]!r} that {problem}")
