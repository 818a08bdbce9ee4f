"""Descriptors beside the bytes of a unix socket: ``SCM_RIGHTS`` of ``unix(7)``, for both ends.

Whoever receives owns what came, whatever came; so it is taken note of before anything else is
looked at, and closed unless it is exactly what was expected. What does not fit into the room for
it the kernel drops and says so (``MSG_CTRUNC``), but what did fit is there.
"""

from __future__ import annotations

import os
import socket
import threading
from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Self

from ckptd.errors import CkptdError, Shortage

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

DESCRIPTORS_MAX: Final = 253
"""In one message: ``SCM_MAX_FD`` of the kernel."""

_CLOSING_MAX: Final = 300
"""Descriptors that are being closed at once: more than one message has."""

ROOM: Final = socket.CMSG_SPACE(DESCRIPTORS_MAX * array("i").itemsize)
"""For all that may come with one message: then only a full table of descriptors cuts something."""


def descriptors_in(ancillary: Iterable[tuple[int, int, bytes]]) -> list[int]:
    """Return the descriptors that came with bytes."""
    found = array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) // found.itemsize * found.itemsize])
    return list(found)


def close_all(descriptors: Iterable[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in descriptors:
        os.close(fd)


class Closing:
    """Closes descriptors that nobody vouches for: each in a thread of its own.

    Closing one of a FUSE file asks the process that serves it, which may never answer.
    """

    def __init__(self) -> None:
        self._under_way = 0
        self._lock = threading.Lock()

    @property
    def is_stuck(self) -> bool:
        """Too many do not close: no more are to be taken."""
        return self._under_way >= _CLOSING_MAX

    def close(self, descriptors: Iterable[int]) -> None:
        """Close some; returns at once."""
        for fd in descriptors:
            with self._lock:
                self._under_way += 1
            threading.Thread(target=self._close, args=(fd,), name="closing", daemon=True).start()

    def _close(self, fd: int) -> None:
        try:
            os.close(fd)
        finally:
            with self._lock:
                self._under_way -= 1


def cut_short() -> Shortage:
    """Return the error that not all descriptors of a message found room in this process."""
    return Shortage(
        "descriptors that were handed over",
        "this process has no file descriptor left for them",
        "Raise its limit: 'ulimit -n', LimitNOFILE in a unit.",
    )


class DescriptorSocket(socket.socket):
    """A unix socket that keeps the descriptors that come with the bytes it reads."""

    def __init__(self) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._came: list[int] = []
        self._is_cut = False

    def recv_into(self, buffer: WriteableBuffer, nbytes: int = 0, flags: int = 0) -> int:
        """Receive bytes, as ever, and keep what comes with them."""
        room = memoryview(buffer).cast("B")
        size, ancillary, said, _ = self.recvmsg_into(
            [room[:nbytes] if nbytes else room], ROOM, flags | socket.MSG_CMSG_CLOEXEC
        )
        self._came += descriptors_in(ancillary)
        self._is_cut |= bool(said & socket.MSG_CTRUNC)
        return size

    def take(self) -> int:
        """Return the one descriptor that has come; the caller closes it.

        Raises:
            Shortage: There was no room for it in this process.
            CkptdError: None has come, or several.
        """
        if self._is_cut:
            raise cut_short()
        if len(self._came) != 1:
            raise CkptdError(
                "control socket",
                f"gave {len(self._came)} descriptors where there is one",
                "Use the ckptctl of the same version as the daemon.",
            )
        return self._came.pop()

    def discard(self) -> None:
        """Close what has come and was not taken."""
        came, self._came = self._came, []
        close_all(came)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()
        self.close()
