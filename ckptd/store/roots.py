"""Roots: the only place that turns names into files.

A root is a configured directory, held open. Every path is relative to it and is walked
component by component through directory descriptors that never follow a symbolic link, so
that no name and nothing planted in a directory leads out of the root. Names are checked
first: the kernel ignores the directory descriptor when a name is absolute.

All calls block; none belongs on the event loop. A root may be used from several threads.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Self

from ckptd.errors import (
    Conflict,
    NotFound,
    OutsideRoots,
    StorageError,
    UsageError,
)
from ckptd.store.kernel import (
    mapping_os_errors,
    rename_noreplace,
    storage_error,
    sync_file_system,
)

__all__ = ["FoundFile", "Names", "Root", "Roots", "check_relative", "mapping_os_errors"]

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def check_relative(relative: str) -> tuple[str, ...]:
    """Split a path below a root into its components; ``""`` has none.

    Raises:
        OutsideRoots: Absolute, an empty, ``.`` or ``..`` component, NUL, or not encodable.
    """
    if not relative:
        return ()
    components = tuple(relative.split("/"))
    try:
        encoded = os.fsencode(relative)
    except UnicodeEncodeError as error:
        raise _outside(relative) from error
    if b"\0" in encoded or any(component in {"", ".", ".."} for component in components):
        raise _outside(relative)
    return components


def _outside(relative: str) -> OutsideRoots:
    return OutsideRoots(f"path {relative[:200]!r}", "is not a plain path below a root")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below a directory.

    Attributes:
        path: Relative to the directory that was walked.
        is_symlink: A symbolic link and not a regular file.
        size_bytes: Its length; of a link: of the link itself.
    """

    path: str
    is_symlink: bool
    size_bytes: int


class Root:
    """One configured directory.

    Attributes:
        name: What the configuration calls it.
        path: Absolute, normalised, links in it not resolved.
        real_path: The same with links resolved.
        device: Number of its file system (``st_dev``).
    """

    def __init__(self, name: str, path: str, fd: int) -> None:
        self.name = name
        self.path = path
        self.real_path = os.path.realpath(path)
        self.device = os.fstat(fd).st_dev
        self._fd = fd

    @classmethod
    def open(cls, name: str, path: str) -> Root:
        """Open a directory as a root. A symbolic link is followed here and nowhere else.

        Raises:
            StorageError: Missing, not a directory, or not accessible.
        """
        subject = f"root {name!r} at {path}"
        path = _normalised(path)
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise StorageError(
                subject, "does not exist", "Create it or mount its disk, then start again."
            ) from error
        except NotADirectoryError as error:
            raise StorageError(
                subject, "is no directory", "Configure a directory as root."
            ) from error
        except OSError as error:
            raise storage_error(subject, error) from error
        return cls(name, path, fd)

    def close(self) -> None:
        """Give the descriptor back. No call may be under way or follow."""
        os.close(self._fd)

    def absolute(self, relative: str) -> str:
        """Return the path that a person would write, for messages."""
        return f"{self.path.rstrip('/')}/{relative}" if relative else self.path

    def open_directory(self, relative: str, *, create: bool = False) -> int:
        """Open a directory; ``""`` is the root itself.

        Args:
            relative: Path below the root.
            create: Make directories that are missing, durably.

        Returns:
            A descriptor, which the caller closes.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: It does not exist and ``create`` is not set.
            StorageError: A component is a link or no directory, or the system refused.
        """
        components = check_relative(relative)
        with mapping_os_errors(self.absolute(relative)):
            fd = os.dup(self._fd)
            for component in components:
                try:
                    if create:
                        _make_directory(component, fd)
                    inner = os.open(component, _DIRECTORY, dir_fd=fd)
                finally:
                    os.close(fd)
                fd = inner
            return fd

    def open_file(self, relative: str, flags: int, mode: int = 0o644) -> int:
        """Open a regular file whose directory exists.

        Args:
            relative: Path below the root.
            flags: As for ``os.open``; links are not followed and the open does not block.
            mode: Permissions if it is created.

        Returns:
            A descriptor, which the caller closes.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: It does not exist.
            StorageError: Not a regular file, or the system refused.
        """
        with Names(self) as names:
            return names.open_file(relative, flags, mode)

    def stat(self, relative: str) -> os.stat_result | None:
        """Return what ``lstat`` says; ``None`` if there is nothing of that name.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: A parent is a link or no directory, or the system refused.
        """
        if not relative:
            return os.fstat(self._fd)
        with Names(self) as names:
            return names.stat(relative)

    def rename(self, source: str, target: str) -> None:
        """Give a file or directory another name, durably. Never replaces anything.

        Raises:
            OutsideRoots: A path is not plain.
            NotFound: There is no source, or no directory for the target.
            Conflict: The target exists.
            StorageError: The system refused.
        """
        subject = self.absolute(target)
        with (
            Names(self) as sources,
            Names(self) as targets,
        ):
            source_parent, source_name = sources.find(source)
            target_parent, target_name = targets.find(target)
            try:
                rename_noreplace(source_parent, source_name, target_parent, target_name)
            except (FileExistsError, IsADirectoryError) as error:
                raise Conflict(
                    subject, "exists already", "Remove it or choose another target."
                ) from error
            except OSError as error:
                raise storage_error(subject, error) from error
            with mapping_os_errors(subject):
                os.fsync(target_parent)
                os.fsync(source_parent)

    def remove_tree(self, relative: str) -> None:
        """Remove a file, a link, or a directory and all that is in it. Absent is fine.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: The system refused; part of it may be gone.
        """
        found = self.stat(relative)
        if found is None:
            return
        with Names(self) as names, mapping_os_errors(self.absolute(relative)):
            parent, name = names.find(relative)
            if stat.S_ISDIR(found.st_mode):
                # rmtree works through descriptors and does not enter links.
                shutil.rmtree(name, dir_fd=parent)
            else:
                os.unlink(name, dir_fd=parent)

    def walk(self, relative: str) -> Iterator[FoundFile]:
        """Yield every regular file and symbolic link below a directory, names in order.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: There is no such directory.
            StorageError: A FIFO, socket or device is among them, or the system refused.
        """
        pending = [""]
        while pending:
            inner = pending.pop()
            deeper: list[str] = []
            for name, facts in self._entries("/".join(filter(None, (relative, inner)))):
                path = f"{inner}/{name}" if inner else name
                kind = stat.S_IFMT(facts.st_mode)
                if kind == stat.S_IFDIR:
                    deeper.append(path)
                elif kind in {stat.S_IFREG, stat.S_IFLNK}:
                    yield FoundFile(path, kind == stat.S_IFLNK, facts.st_size)
                else:
                    raise StorageError(
                        self.absolute(f"{relative}/{path}" if relative else path),
                        "is a FIFO, a socket or a device",
                        "Remove it; only files can be published.",
                    )
            pending += reversed(deeper)

    def _entries(self, directory: str) -> list[tuple[str, os.stat_result]]:
        """Return the names in a directory in order, each with what ``lstat`` says."""
        fd = self.open_directory(directory)
        try:
            with mapping_os_errors(self.absolute(directory)), os.scandir(fd) as entries:
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
        finally:
            os.close(fd)
        return sorted(found, key=lambda entry: entry[0])

    def read_link(self, relative: str) -> str | None:
        """Return where a symbolic link leads to; ``None`` if it is something else.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: It does not exist.
            StorageError: A parent is a link or no directory, or the system refused.
        """
        with Names(self) as names, mapping_os_errors(self.absolute(relative)):
            parent, name = names.find(relative)
            try:
                return os.readlink(name, dir_fd=parent)
            except OSError as error:
                if error.errno == errno.EINVAL:
                    return None
                raise

    def below(self, path: str) -> str | None:
        """Return the part of an absolute path below this root; ``None`` if it is elsewhere.

        Only text is compared: with the root's path as configured and as resolved.
        """
        for prefix in (self.path, self.real_path):
            if path == prefix:
                return ""
            start = prefix if prefix.endswith("/") else f"{prefix}/"
            if path.startswith(start):
                return path[len(start) :]
        return None

    def free_bytes(self) -> int:
        """Return how many bytes an unprivileged process may still write."""
        with mapping_os_errors(self.path):
            facts = os.fstatvfs(self._fd)
        return facts.f_bavail * facts.f_frsize

    def sync(self) -> None:
        """Make everything written to the root's file system durable: syncfs(2).

        Raises:
            OutOfSpace: Delayed allocation found no room.
            StorageError: The disk refused; what was written cannot be trusted.
        """
        with mapping_os_errors(self.path):
            sync_file_system(self._fd)


class Names:
    """Finds names of a root one after another, keeping the last one's directory open.

    Names in order share directories, and walking to one costs ten times what using it does.
    For one thread, and for as long as directories stay where they are.
    """

    def __init__(self, root: Root) -> None:
        self._root = root
        self._directory = ""
        self._fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def find(self, relative: str) -> tuple[int, str]:
        """Return a descriptor of the directory a name lies in, good until the next call.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: The directory does not exist.
            StorageError: A component is a link or no directory, or the system refused.
        """
        if not check_relative(relative):
            raise _outside(relative)
        directory, _, name = relative.rpartition("/")
        if self._fd < 0 or directory != self._directory:
            fd = self._root.open_directory(directory)
            self.__exit__()
            self._fd, self._directory = fd, directory
        return self._fd, name

    def open_file(self, relative: str, flags: int, mode: int = 0o644) -> int:
        """Open a regular file: :meth:`Root.open_file`."""
        parent, name = self.find(relative)
        try:
            fd = os.open(name, flags | _FILE, mode, dir_fd=parent)
        except OSError as error:
            raise storage_error(self._root.absolute(relative), error) from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise StorageError(self._root.absolute(relative), "is no regular file")
        return fd

    def stat(self, relative: str) -> os.stat_result | None:
        """Return what ``lstat`` says: :meth:`Root.stat`."""
        try:
            parent, name = self.find(relative)
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except (NotFound, FileNotFoundError):
            return None
        except OSError as error:
            raise storage_error(self._root.absolute(relative), error) from error


class Roots:
    """The configured roots in their order."""

    def __init__(self, roots: Sequence[Root]) -> None:
        assert roots, "configuration asks for at least one root"
        self._roots = tuple(roots)
        self._by_name = {root.name: root for root in roots}

    def __iter__(self) -> Iterator[Root]:
        return iter(self._roots)

    def __getitem__(self, name: str) -> Root:
        """Return the root of that name.

        Raises:
            NotFound: It is not configured (any more).
        """
        try:
            return self._by_name[name]
        except KeyError as error:
            raise NotFound(
                f"root {name!r}", "is not configured", "Configure it again or remove its versions."
            ) from error

    def default(self) -> Root:
        """Return the root that is used when none is named: the first."""
        return self._roots[0]

    def locate(self, path: str) -> tuple[Root, str]:
        """Find the root an absolute path lies in; the innermost if several contain it.

        Only text is compared. A link below the root is noticed later, by the walk.

        Returns:
            The root and the path below it, ``""`` for the root itself.

        Raises:
            UsageError: The path is relative.
            OutsideRoots: It is in no root.
        """
        if not path.startswith("/"):
            raise UsageError(f"path {path[:200]!r}", "is relative", "Write it from / on.")
        normal = _normalised(path)
        within = [
            (root, below) for root in self._roots if (below := root.below(normal)) is not None
        ]
        if not within:
            roots = ", ".join(root.path for root in self._roots)
            raise OutsideRoots(
                f"path {path[:200]!r}", "is in no configured root", f"The roots are: {roots}."
            )
        root, relative = min(within, key=lambda place: len(place[1]))
        check_relative(relative)
        return root, relative


def _normalised(path: str) -> str:
    """Take out ``.``, ``..`` and doubled slashes; normpath keeps two leading ones."""
    return os.path.normpath("/" + path.lstrip("/"))


def _make_directory(name: str, parent: int) -> None:
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    os.fsync(parent)
