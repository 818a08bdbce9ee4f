"""What of a directory this process may not read, and what its owner has to type.

A job is another user than the daemon, and what it writes is often its own alone: by its umask, or
because a program makes its files with mode 0600 whatever the umask (safetensors, all that goes
through a temporary file).
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from ckptd.errors import CkptdError, StorageError
from ckptd.store.files.names import Names
from ckptd.store.files.permission import entering_remedy, reading_remedy, user_name
from ckptd.store.files.roots import Root

_DENIED: Final = {errno.EACCES, errno.EPERM}


class _File(Protocol):
    @property
    def place(self) -> str:
        """Where it lies, relative to the root."""


_AFile = TypeVar("_AFile", bound=_File)


class UnitPath(NamedTuple):
    """The file of a unit.

    Attributes:
        place: Where it lies, relative to the root.
    """

    place: str


def closed_files(root: Root, files: Iterable[_AFile]) -> list[_AFile]:
    """Return the files that this process may not open by itself.

    Args:
        root: Where they lie.
        files: All of them.

    Raises:
        NotFound: A directory is gone.
        StorageError: The file system refused.

    Cost: 4 µs a file.
    """
    with Names(root) as names:
        return [file for file in files if not names.may_read(file.place)]


def check_readable(root: Root, directory: str, files: Iterable[_File]) -> None:
    """Check that this process may read some files, by itself or because their owner passed them.

    Args:
        root: Where they lie.
        directory: Of which directory they are, relative to the root.
        files: All of them.

    Raises:
        StorageError: It may not; says which, and what their owner has to type.
        NotFound: A directory is gone.
    """
    files = tuple(files)
    check_passed(root, directory, closed_files(root, files), len(files))


def check_passed(root: Root, directory: str, closed: Sequence[_File], count: int) -> None:
    """Check that the owners of files passed them.

    Args:
        root: Where they lie.
        directory: Of which directory they are, relative to the root.
        closed: Those that this process may not open by itself.
        count: How many files there are in all.

    Raises:
        StorageError: Some were not; says which, and what their owner has to type.
    """
    if places := not_passed(root, closed):
        raise unreadable(root, directory, places, count)


def not_passed(root: Root, closed: Iterable[_File]) -> list[str]:
    """Return where files are that nobody passed.

    Args:
        root: Where they lie.
        closed: Files that this process may not open by itself.

    Raises:
        StorageError: The file system refused.
    """
    return [file.place for file in closed if not _is_passed(root, file.place)]


def _is_passed(root: Root, place: str) -> bool:
    facts = root.stat(place) if len(root.passed) else None
    return facts is not None and root.passed.has(facts)


def unreadable(root: Root, directory: str, closed: list[str], count: int) -> StorageError:
    """Return the error that this process may not read some files of a directory.

    Args:
        root: Where it lies.
        directory: Its path relative to the root.
        closed: Those of the files, likewise; at least one.
        count: How many files there are in all.
    """
    facts = root.stat(closed[0])
    looks = f" (owner {facts.st_uid}, mode {facts.st_mode & 0o7777:04o})" if facts else ""
    which = f"file {root.absolute(closed[0])}"
    if len(closed) > 1:
        which = f"{len(closed)} of {count} files, {root.absolute(closed[0])} first"
    problem = f"user {user_name()} may not read it{looks}"
    return StorageError(which, problem, _remedy(root, directory))


@contextlib.contextmanager
def naming_closed_directories(root: Root) -> Iterator[None]:
    """Say of a directory that may not be used which one it is, and what its owner has to type.

    Raises:
        StorageError: Instead of one that only says that something below the root is closed.
    """
    try:
        yield
    except StorageError as error:
        cause = error.__cause__
        path = root.below(error.subject) if isinstance(cause, OSError) else None
        if path is None or not isinstance(cause, OSError) or cause.errno not in _DENIED:
            raise
        closed = _closed_directory(root, path)
        if closed is None:
            raise
        is_on_the_way = closed != path
        problem = f"user {user_name()} may not {'enter' if is_on_the_way else 'list'} it"
        remedy = entering_remedy(root.absolute(closed)) if is_on_the_way else _remedy(root, closed)
        subject = f"directory {root.absolute(closed)}"
        raise StorageError(subject, problem, remedy) from error


def _closed_directory(root: Root, path: str) -> str | None:
    try:
        return root.closed_directory(path)
    except CkptdError:
        return None


def _remedy(root: Root, directory: str) -> str:
    parent = directory.rpartition("/")[0]
    return reading_remedy(root.absolute(directory), root.absolute(parent or directory))
