"""Marks the urgency of a connection for the kernel and the network.

Marks are advice: a network that knows them treats bodies by their class, others ignore them. The
limit on unsent bytes is for this node: bytes in the send buffer cannot give way any more.
"""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress
from typing import Final

from ckptd.limits import KIB, MS, SECOND
from ckptd.model.words import Urgency

DSCP: Final = {
    Urgency.CRITICAL: 18,  # AF21, low-latency data: RFC 4594
    Urgency.NORMAL: 0,
    Urgency.DEFERRED: 8,  # CS1, for what can wait: RFC 3662
    Urgency.BACKGROUND: 1,  # LE, lower effort: RFC 8622
}
"""Code points by class."""

_UNSENT_BYTES_MAX: Final = {
    Urgency.CRITICAL: 0,
    Urgency.NORMAL: 1024 * KIB,
    Urgency.DEFERRED: 128 * KIB,
    Urgency.BACKGROUND: 128 * KIB,
}
"""At 100 Mbit/s 128 KiB are 10 ms. 0: as the system is set, without a limit."""

_SO_MAX_PACING_RATE: Final = 47
"""``asm-generic/socket.h``; Python has no name for it."""
_UNPACED_BYTES_PER_S: Final = 2**32 - 1
_PACED_BYTES_PER_S_MAX: Final = 128 * KIB * KIB
"""Faster, the kernel's timers cost more than a piece that leaves in a bunch."""
_PACING_SHARE: Final = 1.25
"""The shaper decides how much; the kernel only spreads each piece."""

_AHEAD_NS: Final = 10 * MS
_WINDOW_SEGMENTS_MIN: Final = 2
"""With less TCP waits for time-outs: segments of loopback have 64 KiB."""
_WINDOW_BYTES_DEFAULT: Final = 128 * KIB
"""Where the kernel begins by itself."""
_WINDOW_BYTES_MAX: Final = 4096 * KIB
"""A limit above 400 MiB/s needs no bound: it is not far from what comes without one."""
_SO_BUF_LOCK: Final = 72
"""``asm-generic/socket.h``, since Linux 5.13; 0: the kernel may change buffers as it likes."""
_RTT_OFFSET_BYTES: Final = 68
"""Of ``tcpi_rtt`` in ``struct tcp_info``, in microseconds."""


def mark(connected: socket.socket, urgency: Urgency) -> None:
    """Mark what this end sends from now on with its class, and limit the unsent bytes."""
    # The two lower bits are not ours: the kernel keeps those of ECN by itself.
    field = DSCP[urgency] << 2
    with suppress(OSError):  # also of an IPv6 socket: it may carry IPv4
        connected.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, field)
    if connected.family is socket.AF_INET6:
        connected.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, field)
    unsent_bytes = _UNSENT_BYTES_MAX[urgency]
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, unsent_bytes)


def pace_sending(connected: socket.socket, rate_bytes_per_s: int | None) -> None:
    """Let the kernel spread what is sent; ``None``: send as fast as it can."""
    paced = _UNPACED_BYTES_PER_S
    if rate_bytes_per_s is not None and rate_bytes_per_s <= _PACED_BYTES_PER_S_MAX:
        paced = int(rate_bytes_per_s * _PACING_SHARE)
    option = struct.pack("I", paced)  # Python takes signed numbers only
    connected.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, option)


def bound_window(connected: socket.socket, rate_bytes_per_s: int | None) -> None:
    """Bound the receive window to what arrives while this end waits for its next grant.

    Without it, a limit of 1 MiB/s would let 6 MiB come in a burst whenever the buffer was read
    empty. ``None``: the kernel chooses again.
    """
    window_bytes = _WINDOW_BYTES_MAX
    if rate_bytes_per_s is not None:
        info = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET_BYTES + 4)
        rtt_us = int.from_bytes(info[_RTT_OFFSET_BYTES:], sys.byteorder)
        ahead_ns = _AHEAD_NS + 2 * rtt_us * 1000
        segment_bytes = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        window_bytes = max(
            rate_bytes_per_s * ahead_ns // SECOND, _WINDOW_SEGMENTS_MIN * segment_bytes
        )
    if window_bytes < _WINDOW_BYTES_MAX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    else:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW_BYTES_DEFAULT)
        with suppress(OSError):  # an older kernel: this connection stays as it is
            connected.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
