"""The kernel's refusals in ckptd's words, and calls that Python does not offer."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import struct
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from ckptd.errors import CkptdError, NotFound, OutOfSpace, StorageError, shortage_of

_libc: Final = ctypes.CDLL(None, use_errno=True)

TMPFS_MAGIC: Final = 0x01021994
"""What statfs(2) calls a tmpfs; it says so in the first word."""
OVERLAY_MAGIC: Final = 0x794C7630
"""Likewise of an overlay."""
LOCAL_FILE_SYSTEMS: Final = frozenset(
    {
        TMPFS_MAGIC,
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # Btrfs
        0xF2F52010,  # F2FS
        0x2FC12FC1,  # ZFS
        0xCA451A4E,  # bcachefs
    }
)
"""Likewise of those that no other machine writes to. Not overlays, whose layers may be on any
other."""
_STATX_BYTES: Final = 256
_STATX_HEAD: Final = struct.Struct("=IIIHxxQQ")
_STATX_HEAD_AT: Final = 16
_STATX_DEVICE: Final = struct.Struct("=II")
_STATX_DEVICE_AT: Final = 136
"""``struct statx`` of <linux/stat.h>: number of names, owner, group, mode, inode, size; device."""
_AT_EMPTY_PATH: Final = 0x1000
_AT_STATX_DONT_SYNC: Final = 0x4000
_STATX_BASIC_STATS: Final = 0x7FF
"""From <linux/fcntl.h> and <linux/stat.h>."""
_FICLONERANGE: Final = 0x4020940D
_CLONE_RANGE: Final = struct.Struct("=qQQQ")
"""``struct file_clone_range`` of <linux/fs.h>: source, where in it, how much, where it goes."""
_IOPRIO_SET: Final[Mapping[str, int]] = {"x86_64": 251, "aarch64": 30}
"""Numbers of ioprio_set(2), which the C library does not have, by machine."""
_THIS_THREAD: Final = (1, 0)
"""``IOPRIO_WHO_PROCESS`` of <linux/ioprio.h>, and who asks."""
_IDLE: Final = 3 << 13
"""``IOPRIO_CLASS_IDLE`` where classes stand."""
_STATFS_BYTES: Final = 256
"""More than any kernel's answer."""

_PROBLEMS: Final = {
    errno.EACCES: ("may not be accessed by the daemon", "Give its user access."),
    errno.EPERM: ("may not be accessed by the daemon", "Give its user access."),
    errno.EROFS: (
        "is on a read-only file system",
        "Mount it for writing, restart ckptd if it is so by now, or use another root.",
    ),
    errno.ENOTDIR: ("is a symbolic link or no directory", "Name directories without links."),
    errno.ELOOP: ("is a symbolic link", "Name the file itself."),
    errno.EXDEV: ("is on another file system than its root", "Make that mount a root."),
    errno.ENAMETOOLONG: ("has a name that is too long for its file system", "Use shorter names."),
    errno.EIO: ("could not be read or written: the disk reports an error", "Check the disk."),
}


def storage_error(subject: str, error: OSError) -> CkptdError:
    """Say in ckptd's words what the operating system refused."""
    shortage = shortage_of(error, subject)
    if shortage is not None:
        return shortage
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
        Shortage: This node has no descriptor or memory left for it.
        NotFound: There is no such file or directory.
        StorageError: Anything else.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(subject, error) from error


def set_modified(fd: int, mtime_ns: int) -> None:
    """Say when what is open was modified; it counts as read then, too.

    Raises:
        OSError: Refused.
    """
    os.utime(fd, ns=(mtime_ns, mtime_ns))


def sync_file(fd: int) -> None:
    """Make a file or directory durable: fsync(2).

    Raises:
        OSError: The disk refused, also for something written earlier.
    """
    with _judging_sync():
        os.fsync(fd)


def sync_data(fd: int) -> None:
    """Make the content of a file durable: fdatasync(2).

    Raises:
        OSError: The disk refused, also for something written earlier.
    """
    with _judging_sync():
        os.fdatasync(fd)


def sync_file_system(fd: int) -> None:
    """Make everything written to the file system of ``fd`` durable: syncfs(2).

    Raises:
        OSError: The disk refused, also for something written earlier.
    """
    with _judging_sync():
        if _libc.syncfs(fd) != 0:
            raise last_error()


@contextlib.contextmanager
def _judging_sync() -> Iterator[None]:
    """Take a failed sync for no shortage that passes: bytes may be lost by then."""
    try:
        yield
    except OSError as error:
        if shortage_of(error) is None:
            raise
        raise OSError(errno.EIO, f"cannot be made durable: {error.strerror}") from error


def reserve(fd: int, size_bytes: int, offset: int = 0) -> bool:
    """Reserve room: fallocate(2); ``False`` where that is unknown, or is memory.

    ``os.posix_fallocate`` would write one byte to each page where the file system does not know
    it. A tmpfs would make all pages at once, in this one thread, which all lanes wait for.

    Args:
        fd: The file; it becomes as long as needed.
        size_bytes: How much.
        offset: Where in it.

    Raises:
        OSError: No room, or refused.
    """
    if is_memory(fd):
        return False
    where = ctypes.c_longlong(offset), ctypes.c_longlong(size_bytes)
    while _libc.fallocate(fd, 0, *where) != 0:
        code = ctypes.get_errno()
        if code == errno.EOPNOTSUPP:
            return False
        if code != errno.EINTR:
            raise last_error()
    return True


def is_memory(fd: int) -> bool:
    """Return whether a file lies on a tmpfs.

    Raises:
        OSError: The kernel does not say.
    """
    return file_system_type(fd) == TMPFS_MAGIC


def file_system_type(fd: int) -> int:
    """Return the number that statfs(2) gives the kind of file system that a file lies on.

    Raises:
        OSError: The kernel does not say.
    """
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    if _libc.fstatfs(fd, answer) != 0:
        raise last_error()
    return ctypes.c_long.from_buffer(answer).value


class Known(NamedTuple):
    """What the kernel knows of an open file without asking its file system.

    Attributes:
        device: Number of its file system.
        inode: Its number there.
        mode: Its kind and permissions.
        names: How many it has.
        size_bytes: Its length.
    """

    device: int
    inode: int
    mode: int
    names: int
    size_bytes: int


def known_of(fd: int) -> Known:
    """Return what is known of an open file, whoever serves its file system: statx(2).

    Of a FUSE file ``fstat`` may wait for ever: a process answers it.

    Raises:
        OSError: The kernel does not say.
    """
    answer = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_EMPTY_PATH | _AT_STATX_DONT_SYNC
    if _libc.statx(fd, b"", flags, _STATX_BASIC_STATS, answer) != 0:
        raise last_error()
    names, _, _, mode, inode, size_bytes = _STATX_HEAD.unpack_from(answer, _STATX_HEAD_AT)
    device = os.makedev(*_STATX_DEVICE.unpack_from(answer, _STATX_DEVICE_AT))
    return Known(device, inode, mode, names, size_bytes)


def is_open_for_writing(fd: int) -> bool:
    """Return whether somebody has a file open for writing, or mapped so; ``False`` if not known.

    The kernel gives no read lease on such a file: fcntl(2), ``F_SETLEASE``. It gives one only on
    files of this process's user, unless that may take leases on all, and not on every file system.
    The lease is given back at once; whoever opens the file just then waits for that.

    Args:
        fd: The file, opened for reading only.
    """
    try:
        # The signal for whoever waits is ignored by default; the usual one would end the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def last_error() -> OSError:
    """Return what the last call through ctypes in this thread was refused with."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def read_idle() -> str:
    """Have disks serve this thread, and all that it starts, after everybody else: ioprio_set(2).

    Whether that counts is up to the scheduler of each disk.

    Returns:
        Why it cannot be; empty: it is so.
    """
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is None:
        return "is not known on this kind of machine"
    if _libc.syscall(number, *_THIS_THREAD, _IDLE) != 0:
        return f"is refused: {last_error().strerror}"
    return ""


def set_direct(fd: int, *, is_direct: bool) -> None:
    """Have a descriptor bypass the page cache, or not: O_DIRECT of open(2).

    Raises:
        OSError: The file system does not do that.
    """
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    wanted = flags | os.O_DIRECT if is_direct else flags & ~os.O_DIRECT
    if wanted != flags:
        fcntl.fcntl(fd, fcntl.F_SETFL, wanted)


def drop_cached(fd: int, offset: int = 0, size_bytes: int = 0) -> None:
    """Drop a file from the page cache, or a part of it, except pages that are in use.

    Args:
        fd: The file.
        offset: Where the part begins.
        size_bytes: Its length; 0: up to the end.

    Raises:
        OSError: The file system refused.
    """
    os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_DONTNEED)


def share_extents(source: int, offset: int, size_bytes: int, target: int, at: int) -> None:
    """Let a file have a part of another one without copying it: ioctl_ficlonerange(2).

    Args:
        source: The file that has it.
        offset: Where in it.
        size_bytes: How much.
        target: The file that gets it.
        at: Where.

    Raises:
        OSError: The file system does not do that, or not with this part.
    """
    fcntl.ioctl(target, _FICLONERANGE, _CLONE_RANGE.pack(source, offset, size_bytes, at))
