"""How a directory that is open is mounted for this process, and when it was made.

A service manager hides and shuts directories by mounts that only the service sees: the file system
takes writes, and this way to it does not. That says another thing than a disk that takes none.
Every call takes a descriptor; what the kernel says of mounts is read below /proc.
"""

from __future__ import annotations

import ctypes
import os
import struct
import time
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)

_EMPTY_PATH: Final = 0x1000
"""``AT_EMPTY_PATH``: <fcntl.h>."""
_BTIME: Final = 0x800
_STATX_BYTES: Final = 256
_BTIME_AT: Final = 80
"""``STATX_BTIME``, the length of ``struct statx`` and where in it that is: <linux/stat.h>."""
_MASK: Final = struct.Struct("I")
_TIMESTAMP: Final = struct.Struct("qI")
_STARTED: Final = 19
"""``starttime`` among the fields of /proc/PID/stat that follow the name: proc(5)."""


class Mount(NamedTuple):
    """The options of a mount; empty where /proc is hidden.

    Attributes:
        here: Of this way to the file system.
        of_file_system: Of the file system, however one comes to it.
    """

    here: tuple[str, ...] = ()
    of_file_system: tuple[str, ...] = ()

    @property
    def is_shut(self) -> bool:
        """Whether this process alone may not write there, while the file system takes writes."""
        return "ro" in self.here and "rw" in self.of_file_system


def mount_of(fd: int) -> Mount:
    """Return how the file system below a descriptor is mounted."""
    try:
        with open(f"/proc/thread-self/fdinfo/{fd}", encoding="ascii") as file:
            (mount,) = (line.split()[1] for line in file if line.startswith("mnt_id:"))
        with open("/proc/thread-self/mountinfo", encoding="utf-8", errors="replace") as file:
            (fields,) = (line.split() for line in file if line.split()[0] == mount)
    except (OSError, ValueError):
        return Mount()
    return Mount(tuple(fields[5].split(",")), tuple(fields[-1].split(",")))


def was_made_while_this_process_started(fd: int) -> bool:
    """Return whether a directory is younger than this process.

    By dates of the file system, so ``False`` where it has none, or a clock was set: it is only
    said of what surely is so.
    """
    made_s, process_age_s = _made_s(fd), _process_age_s()
    if made_s is None or process_age_s is None:
        return False
    return 0 <= time.time() - made_s <= process_age_s  # noqa: TID251  as the file system's dates


def _made_s(fd: int) -> float | None:
    """Return when a file was made, in Unix time; ``None`` if that is not known."""
    try:
        statx = _libc.statx
    except AttributeError:
        return None  # an old C library
    buffer = ctypes.create_string_buffer(_STATX_BYTES)
    if statx(fd, b"", _EMPTY_PATH, _BTIME, buffer) != 0:
        return None
    (mask,) = _MASK.unpack_from(buffer)
    seconds, nanoseconds = _TIMESTAMP.unpack_from(buffer, _BTIME_AT)
    return seconds + nanoseconds / 1e9 if mask & _BTIME else None


def _process_age_s() -> float | None:
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            started = int(file.read().rpartition(")")[2].split()[_STARTED])
    except (OSError, ValueError, IndexError):
        return None
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started / os.sysconf("SC_CLK_TCK")
