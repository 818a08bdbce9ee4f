"""Names of a root, found one after another."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Self, TypeVar

from ckptd.errors import NotFound, OutsideRoots
from ckptd.store.files import confined
from ckptd.store.files.kernel import mapping_os_errors, storage_error
from ckptd.store.files.roots import Root

_T = TypeVar("_T")


class Names:
    """Finds names of a root one after another, keeping the last one's directory open.

    Names in order share directories, and walking to one costs ten times what using it does.
    For one thread, and only while the directories are not moved.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._directory = ""
        self._fd: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def find(self, relative: str) -> tuple[int, str]:
        """Return a descriptor of the directory a name lies in, good until the next call.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: The directory does not exist.
            StorageError: A component is a link or no directory, or the system refused.
        """
        directory, _, name = relative.rpartition("/")
        if not name or relative.startswith("/"):
            raise OutsideRoots(f"path {relative[:200]!r}", "is no name below a root")
        fd = self._fd
        if fd is None or directory != self._directory:
            fd = self._root.open_directory(directory)
            self.__exit__()
            self._fd, self._directory = fd, directory
        return fd, name

    def open_file(self, relative: str, flags: int, mode: int = 0o644) -> int:
        """Open a regular file, as :meth:`Root.open_file` does, or lend one that its owner passed.

        Such a one shares its position with others: read with offsets.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: It does not exist.
            StorageError: Not a regular file, or the system refused.
        """
        parent, name = self.find(relative)
        subject = self._root.absolute(relative)
        try:
            try:
                return confined.open_file(parent, name, flags, mode, subject=subject)
            except PermissionError:
                passed = self._root.open_passed(parent, name, flags)
                if passed is None:
                    raise
                return passed
        except OSError as error:
            raise storage_error(subject, error) from error

    def may_read(self, relative: str) -> bool:
        """Return whether this process may open a file by itself, or if there is none.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: The directory does not exist.
            StorageError: A component is a link or no directory, or the system refused.
        """
        return confined.may_read(*self.find(relative))

    def create_file(self, relative: str, mode: int) -> int | None:
        """Create a file and open it for writing; ``None`` if the name is taken.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: The directory does not exist.
            StorageError: A component is a link or no directory, or the system refused.
        """
        parent, name = self.find(relative)
        try:
            return confined.create_file(parent, name, mode)
        except FileExistsError:
            return None
        except OSError as error:
            raise storage_error(self._root.absolute(relative), error) from error

    def stat(self, relative: str) -> os.stat_result | None:
        """Return what ``lstat`` says, as :meth:`Root.stat` does; ``None``: there is no such file.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: A component is a link or no directory, or the system refused.
        """
        return self._ask(relative, confined.look)

    def read_link(self, relative: str) -> str | None:
        """Return where a symbolic link leads to; ``None`` if there is none.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: A component is a link or no directory, or the system refused.
        """
        return self._ask(relative, confined.read_link)

    def _ask(self, relative: str, ask: Callable[[int, str], _T]) -> _T | None:
        """Ask about a name; ``None``: there is no such name, or its directory is none."""
        try:
            return ask(*self.find(relative))
        except (NotFound, FileNotFoundError):
            return None
        except OSError as error:
            raise storage_error(self._root.absolute(relative), error) from error

    def make_link(self, relative: str, target: str) -> None:
        """Make a symbolic link where there is nothing, or that very link.

        Raises:
            OutsideRoots: The path is not plain, or the target is absolute.
            NotFound: The directory does not exist.
            StorageError: Something else is there, or the system refused.
        """
        parent, name = self.find(relative)
        with mapping_os_errors(self._root.absolute(relative)):
            try:
                confined.make_link(parent, name, target)
            except FileExistsError:
                if confined.read_link(parent, name) != target:
                    raise

    def remove_file(self, relative: str) -> None:
        """Remove a file or a link. Absent is fine.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: It is a directory, or the system refused.
        """
        try:
            parent, name = self.find(relative)
            confined.remove_file(parent, name)
        except NotFound:
            return
        except OSError as error:
            raise storage_error(self._root.absolute(relative), error) from error

    def remove_empty(self, relative: str) -> bool:
        """Remove a directory if it is empty.

        Returns:
            Whether there is none any more.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: A component is a link or no directory, or the system refused.
        """
        try:
            parent, name = self.find(relative)
            confined.remove_directory(parent, name)
        except (NotFound, FileNotFoundError):
            return True
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EBUSY}:
                return False
            raise storage_error(self._root.absolute(relative), error) from error
        return True
