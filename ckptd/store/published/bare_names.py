"""Whether links and empty directories of a version stand at a place as its manifest says.

A link is its text, and an empty directory is one in which nothing of the version is; so a look
decides, and nothing has to be recorded. All calls block.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ckptd.errors import CkptdError
from ckptd.model.manifest import Manifest
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root


class BareName(NamedTuple):
    """A link or an empty directory, as it should be at a place.

    Attributes:
        name: Its path, relative to the version's directory.
        path: Relative to the root.
        target: Where a link leads to; ``None``: it is a directory.
    """

    name: str
    path: str
    target: str | None


class WrongName(NamedTuple):
    """A link or an empty directory that is not as it should be.

    Attributes:
        expected: What should be there.
        why: What is wrong, a sentence for people.
        facts: What is there; ``None``: nothing, or it cannot be seen.
    """

    expected: BareName
    why: str
    facts: os.stat_result | None


def bare_names_of(directory: str, manifest: Manifest) -> Iterator[BareName]:
    """Yield the links of a version, then its empty directories.

    Args:
        directory: Where the version stands, relative to the root.
        manifest: What it consists of.
    """
    for link in manifest.links:
        yield BareName(link.path, inside(directory, link.path), link.target)
    for path in manifest.directories:
        yield BareName(path, inside(directory, path), None)


def wrong_names(root: Root, bare_names: Iterable[BareName]) -> dict[str, WrongName]:
    """Look at the bare names of a version at a place.

    Args:
        root: Where it lies.
        bare_names: What should be there.

    Returns:
        Those that are not as they should be, by their names.

    Cost: one ``stat`` for each, and for each link one ``readlink``.
    """
    found: dict[str, WrongName] = {}
    with Names(root) as names:
        for expected in bare_names:
            facts: os.stat_result | None = None
            try:
                facts = names.stat(expected.path)
                why = _difference(names, expected, facts)
            except CkptdError as error:
                why = error.problem
            if why:
                kind = "directory" if expected.target is None else "symbolic link"
                sentence = f"{kind} {root.absolute(expected.path)}: {why}"
                found[expected.name] = WrongName(expected, sentence, facts)
    return found


def _difference(names: Names, expected: BareName, facts: os.stat_result | None) -> str:
    if facts is None:
        return "was removed"
    if expected.target is None:
        return "" if stat.S_ISDIR(facts.st_mode) else "is no directory any more"
    if not stat.S_ISLNK(facts.st_mode):
        return "is no link any more"
    target = names.read_link(expected.path)
    return "" if target == expected.target else f"leads to {target!r}, not {expected.target!r}"
