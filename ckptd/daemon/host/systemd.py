"""What is reported to the service manager: ``sd_notify(3)`` without the library."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from array import array
from collections.abc import Mapping, Sequence
from typing import Final

_KEPT_S: Final = 1.0
"""So long a full queue of the manager is waited for: it has room for ten messages, or a few more,
and a job passes files by the hundred. One that is lost is off offer after a restart."""
STATUS_BYTES_MAX: Final = 256
"""``systemctl status`` shows one line."""

_MICROSECOND_NS: Final = 1000


class Notifier:
    """Tells the service manager how the daemon is; does nothing where there is none.

    A message is one datagram and never waits. One that cannot be sent is dropped: the daemon
    is no worse for it, and a manager that misses ``READY=1`` acts by itself.
    """

    def __init__(self, path: str = "", *, watchdog_ns: int = 0) -> None:
        self._path = path
        self.watchdog_ns = watchdog_ns
        """Longest time between two signs of life that the manager accepts; 0: it does not care."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Notifier:
        """Read ``NOTIFY_SOCKET`` (a path, or ``@name``) and the variables of the watchdog."""
        path = environ.get("NOTIFY_SOCKET", "")
        if not path.startswith(("/", "@")):
            return cls()
        return cls(path, watchdog_ns=_watchdog_ns(environ))

    def ready(self) -> None:
        """The data socket listens and the holdings are loaded."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in one line what the daemon is doing."""
        line = " ".join(text.split()).encode()[:STATUS_BYTES_MAX].decode(errors="ignore")
        self._send(f"STATUS={line}")

    def reloading(self) -> None:
        """The configuration is being read again; :meth:`ready` says that this is over."""
        now_us = time.monotonic_ns() // _MICROSECOND_NS
        self._send(f"RELOADING=1\nMONOTONIC_USEC={now_us}")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._send("WATCHDOG=1")

    def extend_timeout(self, duration_ns: int) -> None:
        """Ask for more time to start or to stop: so much from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={duration_ns // _MICROSECOND_NS}")

    def stopping(self) -> None:
        """The daemon begins to shut down."""
        self._send("STOPPING=1")

    def keep_open(self, fd: int, name: str) -> None:
        """Let the manager keep a descriptor for the next life, if its unit permits that. Blocks."""
        self._send(f"FDSTORE=1\nFDNAME={name}", (fd,), wait_s=_KEPT_S)

    def let_close(self, name: str) -> None:
        """Let the manager close what it keeps under a name. Blocks."""
        self._send(f"FDSTOREREMOVE=1\nFDNAME={name}", wait_s=_KEPT_S)

    def _send(self, message: str, descriptors: Sequence[int] = (), *, wait_s: float = 0.0) -> None:
        if not self._path:
            return
        # A leading NUL is the abstract name space of unix(7).
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager,
        ):
            manager.settimeout(wait_s)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))]
            manager.sendmsg([message.encode()], rights if descriptors else [], 0, address)


def keeps_descriptors(environ: Mapping[str, str]) -> bool:
    """Return whether the manager says that it keeps descriptors (systemd 254 and later)."""
    return environ.get("FDSTORE", "0") not in {"", "0"}


def _watchdog_ns(environ: Mapping[str, str]) -> int:
    """Return the interval of ``sd_watchdog_enabled(3)``; 0 if it is meant for another process."""
    interval = environ.get("WATCHDOG_USEC", "")
    if not interval.isdecimal() or environ.get("WATCHDOG_PID", str(os.getpid())) != str(
        os.getpid()
    ):
        return 0
    return int(interval) * _MICROSECOND_NS
