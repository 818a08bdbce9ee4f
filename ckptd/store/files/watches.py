"""Watches: the kernel reports that something happened in a directory, inotify(7).

A report only says where to look. None comes of what other nodes do on a network file system, of
writes through a mapping, and of directories for which no watch could be had; so whoever reads
reports looks by itself as well, now and then.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from inotify_simple import INotify, flags, parse_events

from ckptd.errors import StorageError
from ckptd.limits import KIB
from ckptd.store.files.kernel import storage_error
from ckptd.store.files.roots import Root

WATCHES_MAX: Final = 32_768
"""Directories that one process watches; the kernel takes about 1 KiB for each, and has a limit for
all processes of a user together."""

_OF_ITSELF: Final = int(flags.DELETE_SELF | flags.MOVE_SELF)
_OF_FILES: Final = int(
    flags.MODIFY
    | flags.ATTRIB
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.EXCL_UNLINK
)
_ALWAYS: Final = int(flags.ONLYDIR | flags.MASK_ADD)
_QUIET: Final = int(flags.IGNORED)
"""What a watch says last; why it ends was said before."""

_READ_BYTES: Final = 32 * KIB
"""Some thousand reports; the kernel keeps 16,384."""

OVERFLOW: Final = -1
"""Stands for a watch where the kernel had too many reports and dropped some."""


class WatchReport(NamedTuple):
    """Something happened.

    Attributes:
        watch: In which directory; :data:`OVERFLOW` if that is not known.
        name: To which name in it; empty: to the directory itself.
    """

    watch: int
    name: str


class Watches:
    """Watches directories below roots, by their descriptors: no name leads elsewhere.

    :meth:`add` blocks for as long as the disk does; the other methods do not block. Any thread may
    use any of them, but not while it is closed.

    Raises:
        StorageError: The kernel has no more of them.
    """

    def __init__(self) -> None:
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            # EMFILE is also what the kernel says of too many instances of one user.
            remedy = "Raise LimitNOFILE in the unit, or fs.inotify.max_user_instances."
            problem = error.strerror or str(error)
            raise StorageError("inotify", problem, remedy) from error

    def close(self) -> None:
        """Watch no more."""
        self._inotify.close()

    def fileno(self) -> int:
        """Return a descriptor that can be read when there are reports."""
        return int(self._inotify.fileno())

    def add(self, root: Root, directory: str, *, with_files: bool) -> int:
        """Watch a directory that is below a root, or the root.

        Args:
            root: The root.
            directory: Path below it.
            with_files: Report what happens in it; otherwise only that it is moved or removed.

        Returns:
            The number of the watch; the same if that directory is watched already.

        Raises:
            NotFound: It does not exist.
            StorageError: The kernel refused: it is no directory, or there are too many watches.
        """
        subject = root.absolute(directory)
        fd = root.open_directory(directory)
        try:
            mask = _OF_ITSELF | _ALWAYS | (_OF_FILES if with_files else 0)
            return int(self._inotify.add_watch(f"/proc/self/fd/{fd}", mask))
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.ENOMEM}:
                raise StorageError(
                    subject,
                    "cannot be watched: the kernel's limit of watches is reached",
                    "Raise fs.inotify.max_user_watches.",
                ) from error
            raise storage_error(subject, error) from error
        finally:
            os.close(fd)

    def remove(self, watch: int) -> None:
        """Watch a directory no more; one that is gone is fine."""
        try:
            self._inotify.rm_watch(watch)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise

    def reports(self) -> Iterator[set[WatchReport]]:
        """Yield what happened since the last call, in pieces of a few milliseconds' work each."""
        while True:
            try:
                data = os.read(self._inotify.fileno(), _READ_BYTES)
            except BlockingIOError:
                return
            yield {
                WatchReport(event.wd, event.name)
                for event in parse_events(data)
                if not event.mask & _QUIET
            }
