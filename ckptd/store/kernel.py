"""The kernel's refusals in ckptd's words, and the two calls Python does not offer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from typing import Final

from ckptd.errors import CkptdError, NotFound, OutOfSpace, StorageError

_RENAME_NOREPLACE: Final = 1
"""From <linux/fs.h>."""

_libc: Final = ctypes.CDLL(None, use_errno=True)

_PROBLEMS: Final = {
    errno.EACCES: ("may not be accessed by the daemon", "Give its user access."),
    errno.EPERM: ("may not be accessed by the daemon", "Give its user access."),
    errno.EROFS: ("is on a read-only file system", "Use a root that can be written."),
    errno.ENOTDIR: ("is a symbolic link or no directory", "Name directories without links."),
    errno.ELOOP: ("is a symbolic link", "Name the file itself."),
    errno.EXDEV: ("is on another file system than its root", "Make that mount a root."),
    errno.EIO: ("could not be read or written: the disk reports an error", "Check the disk."),
}


def storage_error(subject: str, error: OSError) -> CkptdError:
    """Say in ckptd's words what the operating system refused."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return OutOfSpace(subject, "there is no room left", "Make room and try again.")
        case errno.ENOENT:
            return NotFound(subject, "does not exist")
        case code if code in _PROBLEMS:
            return StorageError(subject, *_PROBLEMS[code])
        case _:
            return StorageError(subject, error.strerror or str(error))


@contextlib.contextmanager
def mapping_os_errors(subject: str) -> Iterator[None]:
    """Turn each ``OSError`` inside into an error that names ``subject``.

    Raises:
        OutOfSpace: The disk or the quota is full.
        NotFound: There is no such file or directory.
        StorageError: Anything else.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(subject, error) from error


def sync_file_system(fd: int) -> None:
    """Make everything written to the file system of ``fd`` durable: syncfs(2).

    Raises:
        OSError: The disk refused, also for something written earlier.
    """
    if _libc.syncfs(fd) != 0:
        raise _last_error()


def rename_noreplace(
    source_parent: int, source_name: str, target_parent: int, target_name: str
) -> None:
    """Rename, each name in its directory, but never onto something: renameat2(2).

    Raises:
        FileExistsError: The target exists.
        OSError: Refused for another reason.
    """
    result = _libc.renameat2(
        source_parent,
        os.fsencode(source_name),
        target_parent,
        os.fsencode(target_name),
        _RENAME_NOREPLACE,
    )
    if result == 0:
        return
    refusal = _last_error()
    if refusal.errno != errno.EINVAL:
        raise refusal
    # NFS and some FUSE file systems know no flags. A directory then replaces at most an
    # empty one made since the look; anything else is refused by rename(2) itself.
    with contextlib.suppress(FileNotFoundError):
        os.stat(target_name, dir_fd=target_parent, follow_symlinks=False)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    found = os.stat(source_name, dir_fd=source_parent, follow_symlinks=False)
    if not stat.S_ISDIR(found.st_mode):
        raise refusal
    os.rename(source_name, target_name, src_dir_fd=source_parent, dst_dir_fd=target_parent)


def _last_error() -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))
