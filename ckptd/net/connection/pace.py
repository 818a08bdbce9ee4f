"""How fast the other end of a connection takes what it is sent."""

from __future__ import annotations

import fcntl
import select
import socket
import termios
import time
from array import array
from collections.abc import Callable

from ckptd.limits import BODY_RATE_MIN_BYTES_PER_S, BODY_RATE_WINDOW_NS, MS, SECOND


class Pace:
    """Waits for room to send, and cuts off a receiver by how little it takes meanwhile.

    Only these waits count: a slow disk of this node is not the receiver's fault.

    Attributes:
        given_bytes: What the kernel was given to send; whoever sends adds to it.

    Args:
        connection: Connected, non-blocking.
        clock: Nanoseconds that go on.
    """

    def __init__(
        self, connection: socket.socket, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.given_bytes = 0
        self._clock = clock
        self._connection = connection
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)
        self._waited_ns = 0
        self._taken_bytes = 0

    @property
    def taken_bytes(self) -> int:
        """What the receiver has acknowledged of that."""
        try:
            return self.given_bytes - _queued_bytes(self._connection)
        except (OSError, ValueError):  # it is closed
            return self.given_bytes

    def wait(self) -> None:
        """Wait for room, at most until the receiver has to be judged; blocks.

        Raises:
            TimeoutError: While this node waited, the receiver took less than the minimum rate.
        """
        start_ns = self._clock()
        self._writable.poll(max((BODY_RATE_WINDOW_NS - self._waited_ns) // MS, 1))
        self._waited_ns += self._clock() - start_ns
        if self._waited_ns < BODY_RATE_WINDOW_NS:
            return
        taken_bytes = self.given_bytes - _queued_bytes(self._connection)
        rate = (taken_bytes - self._taken_bytes) * SECOND / self._waited_ns
        if rate < BODY_RATE_MIN_BYTES_PER_S:
            raise TimeoutError(f"the receiver takes {max(rate, 0):.0f} bytes/s")
        self._waited_ns, self._taken_bytes = 0, taken_bytes


def _queued_bytes(connection: socket.socket) -> int:
    """Return how much of what was sent is not acknowledged (``tcp(7)``, SIOCOUTQ).

    Room in the send buffer is reported only when a third of it is free, which says little of a
    slow receiver.
    """
    queued = array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, queued)
    return queued[0]
