"""Who is at the other end of a unix socket: ``SO_PEERCRED`` and ``SO_PEERGROUPS``.

The kernel notes both when a process connects, so a caller cannot choose them, and a group that
a user was added to counts from the next login. Only :func:`user_name` may
ask a directory service.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import pwd
import socket
import struct
from typing import Final

from ckptd.control.roles import Caller

_CREDENTIALS: Final = struct.Struct("iII")
"""``struct ucred`` of ``unix(7)``: process, user, group."""

_SO_PEERGROUPS: Final = 59
"""From ``asm-generic/socket.h``; Python 3.11 has no name for it."""

_GROUP: Final = struct.Struct("I")

_NAME_S: Final = 1.0
_NAMES_MAX: Final = 256

_libc: Final = ctypes.CDLL(None, use_errno=True)


def caller_at(connected: socket.socket) -> Caller:
    """Return who connected.

    Raises:
        OSError: The kernel does not say.
    """
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return Caller(uid, frozenset({gid, *_groups(connected.fileno())}))


def user_name(uid: int) -> str:
    """Return the name of a user, empty if there is none; may ask a directory service."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return ""


class UserNames:
    """Names of users: each is looked up once, and no order waits long for a directory service."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    async def of(self, uid: int) -> str:
        """Return the name of a user; empty if there is none, or it does not come in time."""
        name = self._known.get(uid)
        if name is not None:
            return name
        try:
            async with asyncio.timeout(_NAME_S):
                name = await asyncio.to_thread(user_name, uid)
        except TimeoutError:
            name = ""
        if len(self._known) >= _NAMES_MAX:
            self._known.clear()
        self._known[uid] = name
        return name


def _groups(fd: int) -> tuple[int, ...]:
    # Not with Python's getsockopt(): it takes 1024 bytes at most, and some users are in more than
    # 256 groups.
    length = ctypes.c_uint32(0)
    groups = ctypes.create_string_buffer(0)
    while _getsockopt(fd, groups, length) == errno.ERANGE:
        groups = ctypes.create_string_buffer(length.value)  # what the kernel asked for
    return tuple(gid for (gid,) in _GROUP.iter_unpack(groups.raw[: length.value]))


def _getsockopt(fd: int, value: ctypes.Array[ctypes.c_char], length: ctypes.c_uint32) -> int:
    """Fill ``value``; return 0 or ``ERANGE``."""
    length.value = len(value)
    if _libc.getsockopt(fd, socket.SOL_SOCKET, _SO_PEERGROUPS, value, ctypes.byref(length)) == 0:
        return 0
    number = ctypes.get_errno()
    if number != errno.ERANGE:
        raise OSError(number, os.strerror(number))
    return number
