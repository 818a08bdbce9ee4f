"""Roots: the configured directories, held open, and everything that is done below them.

Every path is relative to a root and goes through :mod:`ckptd.store.files.confined`, so that no name
and nothing planted in a directory leads out of it.

All calls block; none belongs on the event loop. A root may be used from several threads.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.errors import Conflict, NotFound, OutsideRoots, StorageError, UsageError
from ckptd.limits import PATH_BYTES_MAX
from ckptd.store.files import confined
from ckptd.store.files.confined import check_relative
from ckptd.store.files.kernel import (
    is_memory,
    mapping_os_errors,
    storage_error,
    sync_file,
    sync_file_system,
)
from ckptd.store.files.layout import inside
from ckptd.store.files.mounts import mount_of, was_made_while_this_process_started
from ckptd.store.files.passed_files import PassedFiles
from ckptd.store.files.permission import writing_obstacle

_LOOKS_AT_ONCE: Final = 256
"""Names of a directory that is walked."""

SHUT: Final = "is read-only for ckptd alone, though its file system takes writes"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file below a directory.

    Attributes:
        path: Relative to the directory that was walked.
        is_symlink: A symbolic link and not a regular file.
        size_bytes: Its length; of a link: of the link itself.
        is_directory: It is a directory.
    """

    path: str
    is_symlink: bool
    size_bytes: int
    is_directory: bool = False


class Root:
    """One configured directory.

    Attributes:
        name: What the configuration calls it.
        path: Absolute, normalised, links in it not resolved.
        real_path: The same with links resolved.
        device: Number of its file system (``st_dev``).
        passed: Files that their owners opened, of this root and others.
    """

    def __init__(self, name: str, path: str, fd: int, *, real_path: str | None = None) -> None:
        self.name = name
        self.path = path
        self.real_path = path if real_path is None else real_path
        self.device = os.fstat(fd).st_dev
        self.passed = PassedFiles((self.device,))
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
            fd = confined.open_configured(path)
        except FileNotFoundError as error:
            raise StorageError(
                subject, "does not exist", "Create it or mount its disk, then start again."
            ) from error
        except NotADirectoryError as error:
            raise StorageError(
                subject, "is no directory", "Configure a directory as root."
            ) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                circle = "is a symbolic link that leads in a circle"
                raise StorageError(subject, circle, "Remove it or mend it.") from error
            raise storage_error(subject, error) from error
        return cls(name, path, fd, real_path=confined.resolved(path))

    def close(self) -> None:
        """Close the descriptor. No call may be running or follow."""
        os.close(self._fd)

    def absolute(self, relative: str) -> str:
        """Return the absolute path, for messages."""
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
            if create:
                return confined.make_directories(self._fd, components)
            return confined.open_directory(self._fd, components)

    @contextlib.contextmanager
    def parent(self, relative: str) -> Iterator[tuple[int, str]]:
        """Open the directory a name lies in for a while; what is refused inside names the path.

        Raises:
            CkptdError: See :meth:`open_directory` and :func:`mapping_os_errors`.
        """
        if not check_relative(relative):
            raise OutsideRoots(f"root {self.name!r}", "is no name below a root")
        directory, _, name = relative.rpartition("/")
        fd = self.open_directory(directory)
        try:
            with mapping_os_errors(self.absolute(relative)):
                yield fd, name
        finally:
            os.close(fd)

    def check_in_place(self) -> None:
        """Check that the root's path still leads to the directory that is open.

        What is written through the descriptor goes to the right file system even if it does
        not, but users would not find it there.

        Raises:
            StorageError: It leads elsewhere, or nowhere.
        """
        if not confined.leads_to(self.path, self._fd):
            raise StorageError(
                f"root {self.name!r} at {self.path}",
                "is not the directory any more that it was when ckptd started: "
                "unmounted, mounted over or replaced",
                "Put it back, or restart ckptd if it shall use what is there now.",
            )

    def open_file(self, relative: str, flags: int, mode: int = 0o644) -> int:
        """Open a regular file whose directory exists; by itself, whatever its owner passed.

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
        with self.parent(relative) as (fd, name):
            return confined.open_file(fd, name, flags, mode, subject=self.absolute(relative))

    def open_passed(self, parent: int, name: str, flags: int) -> int | None:
        """Open a file that this process may not open, if its owner passed it open.

        Args:
            parent: Descriptor of the directory it is in.
            name: Its name there.
            flags: What it is opened for: nobody passes a file for writing.

        Returns:
            A descriptor whose position others share; ``None`` if there is none of what stands
            there.

        Raises:
            OSError: There is no descriptor left, or the system refused.
        """
        if flags != os.O_RDONLY or not len(self.passed):
            return None
        return self.passed.lend(confined.look(parent, name))

    def stat(self, relative: str) -> os.stat_result | None:
        """Return what ``lstat`` says; ``None`` if there is nothing of that name.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: A parent is a link or no directory, or the system refused.
        """
        if not relative:
            return os.fstat(self._fd)
        try:
            with self.parent(relative) as (fd, name):
                return confined.look(fd, name)
        except NotFound:
            return None

    def rename(self, source: str, target: str) -> None:
        """Give a file or directory another name, durably. Never replaces anything.

        Raises:
            OutsideRoots: A path is not plain.
            NotFound: There is no source, or no directory for the target.
            Conflict: The target exists.
            StorageError: The system refused.
        """
        subject = self.absolute(target)
        with self.parent(source) as old, self.parent(target) as new:
            try:
                confined.rename_noreplace(*old, *new)
            except (FileExistsError, IsADirectoryError) as error:
                raise Conflict(
                    subject, "exists already", "Remove it or choose another target."
                ) from error
            except OSError as error:
                raise storage_error(subject, error) from error
            with mapping_os_errors(subject):
                sync_file(new[0])
                sync_file(old[0])

    def remove_tree(self, relative: str) -> None:
        """Remove a file, a link, or a directory and all that is in it. Absent is fine.

        Raises:
            OutsideRoots: The path is not plain.
            StorageError: The system refused; part of it may be gone.
        """
        try:
            with self.parent(relative) as (fd, name):
                confined.remove_tree(fd, name)
        except NotFound:
            return

    def walk(self, relative: str, *, with_directories: bool = False) -> Iterator[FoundFile]:
        """Yield every regular file and symbolic link below a directory, names in order.

        Args:
            relative: Path below the root.
            with_directories: Directories, too.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: There is no such directory.
            StorageError: A FIFO, socket or device is among them, or the system refused.
        """
        pending = [""]
        while pending:
            inner = pending.pop()
            deeper: list[str] = []
            for name, facts in self._entries(inside(relative, inner) if inner else relative):
                path = inside(inner, name)
                kind = stat.S_IFMT(facts.st_mode)
                if kind == stat.S_IFDIR:
                    deeper.append(path)
                    if with_directories:
                        yield FoundFile(path, is_symlink=False, size_bytes=0, is_directory=True)
                elif kind in {stat.S_IFREG, stat.S_IFLNK}:
                    yield FoundFile(path, kind == stat.S_IFLNK, facts.st_size)
                else:
                    raise no_file(self.absolute(inside(relative, path)))
            pending += reversed(deeper)

    def _entries(self, directory: str) -> Iterator[tuple[str, os.stat_result]]:
        """Yield the names in a directory with what ``lstat`` says of them, in order.

        Nothing is open meanwhile, and few of those facts are there at once: they take a kilobyte
        each, and there may be half a million.
        """
        names = self.names(directory)
        for start in range(0, len(names), _LOOKS_AT_ONCE):
            fd, found = self.open_directory(directory), []
            try:
                with mapping_os_errors(self.absolute(directory)):
                    for name in names[start : start + _LOOKS_AT_ONCE]:
                        with contextlib.suppress(FileNotFoundError):
                            found.append((name, confined.look(fd, name)))
            finally:
                os.close(fd)
            yield from found

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory, in order.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: There is no such directory.
            StorageError: The system refused.
        """
        fd = self.open_directory(directory)
        try:
            with mapping_os_errors(self.absolute(directory)):
                return confined.names(fd)
        finally:
            os.close(fd)

    def read_link(self, relative: str) -> str | None:
        """Return where a symbolic link leads to; ``None`` if it is something else.

        Raises:
            OutsideRoots: The path is not plain.
            NotFound: It does not exist.
            StorageError: A parent is a link or no directory, or the system refused.
        """
        with self.parent(relative) as (fd, name):
            return confined.read_link(fd, name)

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

    def closed_directory(self, relative: str) -> str | None:
        """Return the first directory on the way to one that this process may not use.

        Args:
            relative: Path below the root of the one that is meant: it is to be listed as well.

        Returns:
            Its path below the root; ``None`` if all can be used, or something else is in the way.

        Raises:
            OutsideRoots: The path is not plain.
        """
        components = check_relative(relative)
        try:
            count = confined.closed_directory(self._fd, components)
        except OSError:
            return None
        return None if count is None else "/".join(components[:count])

    def free_bytes(self) -> int:
        """Return how many bytes an unprivileged process may still write."""
        with mapping_os_errors(self.path):
            facts = os.fstatvfs(self._fd)
        return facts.f_bavail * facts.f_frsize

    def is_in_memory(self) -> bool:
        """Return whether what is written here takes memory: a tmpfs."""
        with mapping_os_errors(self.path):
            return is_memory(self._fd)

    def free_files(self) -> int | None:
        """Return how many files can still be made; ``None`` where they are not counted (btrfs)."""
        with mapping_os_errors(self.path):
            facts = os.fstatvfs(self._fd)
        return facts.f_favail if facts.f_files else None

    def size_bytes(self) -> int:
        """Return the size of the root's file system."""
        with mapping_os_errors(self.path):
            facts = os.fstatvfs(self._fd)
        return facts.f_blocks * facts.f_frsize

    def obstacle(self) -> str:
        """Return why other processes would not find what is written here; empty if they would.

        The root was opened when the daemon started; its path may lead elsewhere by now.
        """
        try:
            self.check_in_place()
            if confined.is_read_only(self._fd):
                return SHUT if mount_of(self._fd).is_shut else "its file system is read-only here"
            return writing_obstacle(self._fd)
        except StorageError as error:
            return error.problem
        except OSError as error:
            return f"its file system does not answer: {error.strerror or error}"

    def has_come_too_late(self) -> bool:
        """Return whether it is shut for this process, which surely is older than it."""
        return mount_of(self._fd).is_shut and was_made_while_this_process_started(self._fd)

    def sync(self) -> None:
        """Make everything written to the root's file system durable: syncfs(2).

        Raises:
            OutOfSpace: Delayed allocation found no room.
            StorageError: The disk refused; what was written cannot be trusted.
        """
        with mapping_os_errors(self.path):
            sync_file_system(self._fd)


class Roots:
    """The configured roots in their order.

    Attributes:
        passed: Files below them that their owners opened.
        for_copies: Name of the one in which copies stand; empty: none is for them.

    Args:
        roots: In their order.
        for_copies: As above.
    """

    def __init__(self, roots: Sequence[Root], for_copies: str = "") -> None:
        assert roots, "configuration asks for at least one root"
        self.for_copies = for_copies
        self._roots = tuple(roots)
        self._by_name = {root.name: root for root in roots}
        self.passed = PassedFiles({root.device for root in roots})
        for root in roots:
            root.passed = self.passed

    def __iter__(self) -> Iterator[Root]:
        return iter(self._roots)

    def __contains__(self, name: str) -> bool:
        """Return whether a root of that name is configured."""
        return name in self._by_name

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

    def absolute(self, name: str, relative: str) -> str:
        """Return an absolute path, for people; without the root's if that is not configured."""
        root = self._by_name.get(name)
        return f"{name}:{relative}" if root is None else root.absolute(relative)

    def default(self) -> Root:
        """Return the root that is used when none is named: the first."""
        return self._roots[0]

    def is_for_copies(self, path: str) -> bool:
        """Return whether an absolute path lies in the root for copies; none does if none is."""
        if not (self.for_copies and path):
            return False
        try:
            return self.locate(path)[0].name == self.for_copies
        except (UsageError, OutsideRoots):
            return False

    def locate(self, path: str) -> tuple[Root, str]:
        """Find the root an absolute path lies in; the innermost if several contain it.

        Only text is compared. A link below the root is noticed later, by the walk.

        Returns:
            The root and the path below it, ``""`` for the root itself.

        Raises:
            UsageError: The path is relative, too long, not UTF-8, or has control characters.
            OutsideRoots: It is in no root.
        """
        if not path.startswith("/"):
            raise UsageError(f"path {path[:200]!r}", "is relative", "Write it from / on.")
        _check_writable(path)
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


def no_file(path: str) -> StorageError:
    """Return the error that something cannot be published, whatever it is called."""
    return StorageError(
        path, "is a FIFO, a socket or a device", "Remove it; only files can be published."
    )


def _normalised(path: str) -> str:
    """Take out ``.``, ``..`` and doubled slashes; normpath keeps two leading ones."""
    return os.path.normpath("/" + path.lstrip("/"))


def _check_writable(path: str) -> None:
    """Check that a path can be written down: in a log line, a database, a document."""
    subject = f"path {path[:200]!r}"
    try:
        encoded = path.encode()
    except UnicodeEncodeError as error:
        raise UsageError(subject, "is not UTF-8", "Rename the directory.") from error
    if any(character < " " or character == "\x7f" for character in path):
        raise UsageError(subject, "has control characters", "Rename the directory.")
    if len(encoded) > PATH_BYTES_MAX:
        raise UsageError(subject, f"has more than {PATH_BYTES_MAX} bytes")
