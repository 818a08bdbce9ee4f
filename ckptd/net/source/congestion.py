"""With which congestion control of TCP this node sends: set where it listens, and inherited.

bbr spreads what is sent with timers. Over a path of a few hundred microseconds they fire so often
that sources take twice the processor time, and a recovery that fills this machine is slower. So
``auto`` takes cubic below 2 ms, and over longer paths, where bbr is better, the system's.

Used by the listener, on the event loop; ``doctor`` asks what was paced.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import reduce
from typing import Final, NamedTuple
from weakref import WeakKeyDictionary

from ckptd.limits import MIB

SYSTEM: Final = "system"
"""What this machine is set to: ``net.ipv4.tcp_congestion_control``."""
AUTO: Final = "auto"
"""The system's, unless that paces and the path is short."""

SHORT_RTT_US: Final = 2000
"""Machines of one data centre reach each other in a tenth of that, other sites hardly ever."""

_SHORT: Final = ("cubic", "reno")
"""Taken over short paths, the first that may be. Where bbr is the default of the kernel itself only
root may set cubic. Over loopback both are equally fast."""
_PACING: Final = "bbr"
"""How the names of those begin that pace with timers: bbr, and its later versions."""

_AVAILABLE: Final = "/proc/sys/net/ipv4/tcp_available_congestion_control"
_NAMES_BYTES_MAX: Final = 4096
_NAME_BYTES: Final = 16
"""``TCP_CA_NAME_MAX`` of <net/tcp.h>."""

_ACKED_OFFSET_BYTES: Final = 120
"""Of ``tcpi_bytes_acked`` in ``struct tcp_info``: <linux/tcp.h>."""
_MIN_RTT_OFFSET_BYTES: Final = 148
"""Of ``tcpi_min_rtt``, in microseconds; since Linux 4.6."""
_UNKNOWN_RTT_US: Final = 2**32 - 1

_MUCH_BYTES: Final = 16 * MIB
"""Over a connection that sent less, nobody would notice the timers."""


class PacedSending(NamedTuple):
    """What was sent over short paths while timers paced it.

    Attributes:
        control: The congestion control that did; empty if there is none.
        connections: Over how many connections.
        size_bytes: How much.
        rtt_us_max: The longest of their round trips.
    """

    control: str = ""
    connections: int = 0
    size_bytes: int = 0
    rtt_us_max: int = 0


class Congestion:
    """Sets the congestion control of sockets that listen, and of connections that they accept.

    Args:
        wanted: ``SYSTEM``, ``AUTO`` or a name; one that ``obstacle_to`` has nothing against.
    """

    def __init__(self, wanted: str = SYSTEM) -> None:
        self._wanted = wanted
        self._systems: WeakKeyDictionary[socket.socket, str] = WeakKeyDictionary()
        self._system = ""
        self._short = ""
        self._paced = PacedSending()

    @property
    def is_auto(self) -> bool:
        """Whether the round trip decides, where that makes a difference."""
        return self._wanted == AUTO

    def __str__(self) -> str:
        if self._short:
            return (
                f"{self._short} below {SHORT_RTT_US // 1000} ms of round trip, else {self._system}"
            )
        return self._system if self._wanted in {SYSTEM, AUTO} else self._wanted

    def listen(self, listening: socket.socket) -> None:
        """Set what connections inherit from now on.

        Args:
            listening: Has what the system gave it, or the unit of its socket.
        """
        self._systems[listening] = self._system = control_of(listening)
        self._apply(listening)

    def change(self, wanted: str) -> None:
        """Let connections that are accepted from now on have another one."""
        self._wanted, self._paced = wanted, PacedSending()
        for listening in list(self._systems):
            self._apply(listening)

    def settle(self, connection: socket.socket) -> None:
        """Choose for a connection that was accepted, by its round trip; before anything is sent."""
        if not self._short or control_of(connection) != self._short:
            return  # a route of this machine can have its own, which stays
        if not _is_short(min_rtt_us(connection)):
            _set(connection, self._system)

    def note(self, connection: socket.socket) -> None:
        """Remember of a connection that ends whether timers paced it without need."""
        self._paced = _joined(self._paced, _paced_on(connection))

    def paced(self, connections: Iterable[socket.socket]) -> PacedSending:
        """Return what was paced without need since the last change.

        Nothing where the round trip decides: it was longer when the connection began.

        Args:
            connections: Those that are open; the others were noted.
        """
        if self._short:
            return PacedSending()
        return reduce(_joined, map(_paced_on, connections), self._paced)

    def _apply(self, listening: socket.socket) -> None:
        system, self._short = self._systems[listening], ""
        control = self._wanted
        if self._wanted in {SYSTEM, AUTO}:
            control = system
            if self._wanted == AUTO and system.startswith(_PACING):
                self._short = short_control()
                control = self._short or system
        if control != control_of(listening):
            _set(listening, control)


def control_of(connection: socket.socket) -> str:
    """Return the congestion control of a socket; empty if it is none of TCP."""
    try:
        name = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _NAME_BYTES)
    except OSError:
        return ""
    return name.split(b"\0")[0].decode(errors="replace")


def min_rtt_us(connection: socket.socket) -> int | None:
    """Return the shortest round trip that was measured lately, in µs; ``None``: there is none."""
    info = _tcp_info(connection)
    rtt_us = int.from_bytes(info[_MIN_RTT_OFFSET_BYTES : _MIN_RTT_OFFSET_BYTES + 4], sys.byteorder)
    is_known = len(info) >= _MIN_RTT_OFFSET_BYTES + 4 and rtt_us != _UNKNOWN_RTT_US
    return rtt_us if is_known else None


def obstacle_to(wanted: str) -> str:
    """Say why this process, as this user, cannot send with a congestion control.

    Args:
        wanted: ``SYSTEM``, ``AUTO`` or a name.

    Returns:
        The reason, with those that it may set; empty if there is none.
    """
    code = 0 if wanted in {SYSTEM, AUTO} else _refusal_of(wanted)
    if not code:
        return ""
    why = {
        errno.EPERM: "this user may not set it",
        errno.ENOENT: "this kernel does not know it, or has not loaded its module",
    }.get(code, os.strerror(code))
    return f"{why}; it may set {', '.join(permitted_controls()) or 'none'}"


def permitted_controls() -> tuple[str, ...]:
    """Return what this user may set, of what is loaded; nothing where the kernel does not say."""
    try:
        with open(_AVAILABLE, encoding="ascii", errors="replace") as file:
            available = file.read(_NAMES_BYTES_MAX).split()
    except OSError:
        return ()
    return tuple(name for name in sorted(available) if not _refusal_of(name))


def short_control() -> str:
    """Return what ``AUTO`` takes over short paths; empty if this user may set none of them."""
    return next((name for name in _SHORT if not _refusal_of(name)), "")


def _refusal_of(name: str) -> int:
    """Return with what number the kernel refuses a congestion control; 0: it takes it.

    It also refuses one that it could not be asked about, for lack of a descriptor.
    """
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())
    except OSError as error:
        return error.errno or errno.EINVAL
    return 0


def _set(connection: socket.socket, name: str) -> None:
    with suppress(OSError):  # no longer permitted, or gone: what it has stays
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name.encode())


def _tcp_info(connection: socket.socket) -> bytes:
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _MIN_RTT_OFFSET_BYTES + 4)
    except OSError:
        return b""


def _is_short(rtt_us: int | None) -> bool:
    return rtt_us is not None and rtt_us < SHORT_RTT_US


def _paced_on(connection: socket.socket) -> PacedSending:
    info, control = _tcp_info(connection), control_of(connection)
    acked = info[_ACKED_OFFSET_BYTES : _ACKED_OFFSET_BYTES + 8]
    size_bytes, rtt_us = int.from_bytes(acked, sys.byteorder), min_rtt_us(connection)
    is_paced = control.startswith(_PACING) and _is_short(rtt_us) and size_bytes >= _MUCH_BYTES
    return PacedSending(control, 1, size_bytes, rtt_us or 0) if is_paced else PacedSending()


def _joined(one: PacedSending, other: PacedSending) -> PacedSending:
    return PacedSending(
        other.control or one.control,
        one.connections + other.connections,
        one.size_bytes + other.size_bytes,
        max(one.rtt_us_max, other.rtt_us_max),
    )
