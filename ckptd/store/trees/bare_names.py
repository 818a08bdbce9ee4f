"""Makes the links and empty directories of a version: in staging, and where it stands already.

In staging they come last, when all units are written and hashed; so nothing is ever written where a
link could lead. Whatever is opened is opened without following links all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from ckptd.errors import Conflict
from ckptd.model.manifest import Manifest
from ckptd.model.unit_paths import directories_of
from ckptd.store.files import confined
from ckptd.store.files.kernel import sync_file
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.bare_names import BareName, WrongName, wrong_names
from ckptd.store.trees.directories import as_directory
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.replacing import keep_aside


def make_bare_names(tree: Root, manifest: Manifest) -> None:
    """Make the links and empty directories of a version in its staging directory.

    Not durable until their directories are synced. May be called again.

    Raises:
        StorageError: Something else is there, or the system refused.
    """
    bare = (f"{directory}/" for directory in manifest.directories)
    for path in directories_of((*(link.path for link in manifest.links), *bare)):
        parent, _, name = path.rpartition("/")
        with as_directory(tree, parent) as fd:
            confined.make_directory(fd, name)
    with Names(tree) as names:
        for link in manifest.links:
            names.make_link(link.path, link.target)


class BareNamesRepair:
    """Puts links and empty directories right where a version stands.

    Args:
        root: Where that is.
        wrong: What is not as it should be, by its name.
        kept_in: The directory, relative to the root, for what somebody put in their places.
    """

    def __init__(self, root: Root, wrong: Mapping[str, WrongName], kept_in: str) -> None:
        self._root = root
        self._wrong = wrong
        self._kept_in = kept_in

    def paths(self) -> Iterator[str]:
        """Yield them relative to the root; a directory that is missing as if a file were in it."""
        for wrong in self._wrong.values():
            is_missing = wrong.expected.target is None and wrong.facts is None
            yield f"{wrong.expected.path}/" if is_missing else wrong.expected.path

    def put_right(self, finishing: Finishing) -> None:
        """Put all of them right, durably; the directories that are missing were made before.

        May be called again after it failed: what is right by then is only made durable.

        Args:
            finishing: What a directory gets that takes the place of something else.

        Raises:
            Conflict: A name changed since it was looked at. Those before it are put right.
            StorageError: The system refused.
        """
        left = wrong_names(self._root, (wrong.expected for wrong in self._wrong.values()))
        for name, wrong in self._wrong.items():
            expected = wrong.expected
            if wrong.facts is not None and name in left:
                self._keep(name, expected, wrong.facts)
            if expected.target is not None:
                self._make_link(expected, expected.target, is_made=name not in left)
            elif wrong.facts is not None:
                os.close(self._root.open_directory(expected.path, create=True))
                with as_directory(self._root, expected.path) as fd:
                    finishing.give(fd, finishing.of_directory(name))
                    sync_file(fd)

    def _make_link(self, expected: BareName, target: str, *, is_made: bool) -> None:
        """Make a link where there is nothing, durably."""
        with self._root.parent(expected.path) as new:
            try:
                if not is_made:
                    confined.make_link(*new, target)
            except FileExistsError as error:
                raise _changed(self._root, expected) from error
            sync_file(new[0])

    def _keep(self, name: str, expected: BareName, then: os.stat_result) -> None:
        facts = self._root.stat(expected.path)
        if facts is None:
            return
        is_same = os.path.samestat(facts, then) and stat.S_IFMT(facts.st_mode) == stat.S_IFMT(
            then.st_mode
        )
        if not is_same or facts.st_ctime_ns != then.st_ctime_ns:
            raise _changed(self._root, expected)
        keep_aside(self._root, expected.path, inside(self._kept_in, name), facts)


def _changed(root: Root, expected: BareName) -> Conflict:
    return Conflict(
        f"name {root.absolute(expected.path)}",
        "changed while the version was put right",
        "Recover again when nobody writes there.",
    )
