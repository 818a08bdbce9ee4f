"""The link of a checkpoint: a name that always leads to the directory of its active version.

It is a symbolic link in a root, relative, so that it leads there as well where the root is mounted
elsewhere. Whoever follows it finds at every instant the version before or the one after: a new link
is made beside it under a name of ckptd's own and takes its place by one rename. What stands at the
name and is not the link that ckptd made there is never replaced: by ``RENAME_EXCHANGE`` what was
replaced is at hand, and goes back if it was something else.

All calls block; none belongs on the event loop.
"""

from __future__ import annotations

import errno
import posixpath
from collections.abc import Collection

from ckptd.errors import Conflict
from ckptd.store.files import confined
from ckptd.store.files.kernel import sync_file
from ckptd.store.files.layout import passing_link
from ckptd.store.files.roots import Root
from ckptd.store.staging.placing import make_parents
from ckptd.store.trees.ownership import Owner


def text_of(link: str, directory: str) -> str:
    """Return what a link says that leads to a directory; both relative to the root."""
    return posixpath.relpath(f"/{directory}", posixpath.dirname(f"/{link}"))


class CurrentLink:
    """One link.

    Args:
        root: Where it lies.
        path: Its path below the root.
    """

    def __init__(self, root: Root, path: str) -> None:
        self._root = root
        self._path = path
        self._subject = f"link {root.absolute(path)}"

    def look(self) -> str | None:
        """Return what the link says; ``None`` if there is nothing of that name.

        Raises:
            Conflict: There is something else.
            StorageError: The system refused.
        """
        if self._root.stat(self._path) is None:
            return None
        said = self._root.read_link(self._path)
        if said is None:
            raise self._foreign("is no link")
        return said

    def check(self, ours: Collection[str]) -> str | None:
        """Return what the link says, as :meth:`look` does; it has to be one that ckptd made.

        Args:
            ours: What such a link may say.

        Raises:
            Conflict: There is something else.
            StorageError: The system refused.
        """
        said = self.look()
        if said is not None and said not in ours:
            raise self._foreign(f"leads to {said[:200]!r}, which is not what ckptd made it for")
        return said

    def prepare(self, text: str, ours: Collection[str], owner: Owner | None) -> None:
        """Do what takes time: make the directories, and the new link under its passing name.

        Args:
            text: What the link is to say.
            ours: What one may say that an interrupted swap has left.
            owner: Whose directories become that are made for it.

        Raises:
            Conflict: What was left is not ckptd's.
            StorageError: The system refused.
        """
        make_parents(self._root, self._path, owner)
        self.clean({*ours, text})
        with self._root.parent(self._path) as (fd, name):
            confined.make_link(fd, passing_link(name), text)
            sync_file(fd)

    def swap(self, before: str | None) -> None:
        """Let the link that was prepared take its place. Not durable until :meth:`sync`.

        Args:
            before: What stands there says; ``None``: there is nothing.

        Raises:
            Conflict: By now something else is there, and stays.
            StorageError: The system refused.
        """
        with self._root.parent(self._path) as (fd, name):
            if before is None:
                self._put(fd, name)
            else:
                self._replace(fd, name, before)

    def _put(self, fd: int, name: str) -> None:
        """Make the link where there is none: that call replaces nothing on any file system."""
        text = confined.read_link(fd, passing_link(name))
        assert text is not None, "it was prepared"
        try:
            confined.make_link(fd, name, text)
        except FileExistsError as error:
            raise self._foreign("appeared meanwhile") from error
        finally:
            confined.remove_file(fd, passing_link(name))

    def _replace(self, fd: int, name: str, before: str) -> None:
        """Put the link where another one is, which is that one still."""
        passing = passing_link(name)
        try:
            is_exchanged = confined.exchange(fd, passing, name)
        except FileNotFoundError as error:
            confined.remove_file(fd, passing)
            raise self._foreign("was removed meanwhile") from error
        if is_exchanged:
            is_ours = confined.read_link(fd, passing) == before
            if not is_ours:
                confined.exchange(fd, passing, name)
        else:
            is_ours = confined.read_link(fd, name) == before
            if is_ours:
                confined.rename_replacing(fd, passing, fd, name)
        confined.remove_file(fd, passing)
        if not is_ours:
            raise self._foreign("was replaced meanwhile")

    def take_away(self, before: str) -> None:
        """Remove the link. Not durable until :meth:`sync`.

        Args:
            before: What it says.

        Raises:
            Conflict: Something else is there, and stays.
            StorageError: The system refused.
        """
        self.clean({before})
        with self._root.parent(self._path) as (fd, name):
            passing = passing_link(name)
            try:
                confined.rename_noreplace(fd, name, fd, passing)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
                passing = name  # NFS, some FUSE file systems
            if confined.read_link(fd, passing) != before:
                if passing != name:
                    confined.rename_noreplace(fd, passing, fd, name)
                raise self._foreign("was replaced meanwhile")
            confined.remove_file(fd, passing)

    def sync(self) -> None:
        """Make durable what stands at the name.

        Raises:
            StorageError: The disk refused.
        """
        with self._root.parent(self._path) as (fd, _):
            sync_file(fd)

    def clean(self, ours: Collection[str]) -> None:
        """Remove what an interrupted swap has left.

        Args:
            ours: What such a link may say.

        Raises:
            Conflict: What has the passing name is something else, and stays.
            StorageError: The system refused.
        """
        directory, _, name = self._path.rpartition("/")
        left = CurrentLink(
            self._root, f"{directory}/{passing_link(name)}" if directory else passing_link(name)
        )
        if left.check(ours) is not None:
            with self._root.parent(self._path) as (fd, _):
                confined.remove_file(fd, passing_link(name))

    def _foreign(self, problem: str) -> Conflict:
        return Conflict(
            self._subject,
            f"{problem}, and is not replaced",
            "Remove it, or name another link in [recovery] current, and activate again.",
        )
