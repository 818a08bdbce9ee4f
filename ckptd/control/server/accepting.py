"""Accepts connections of the control socket, also while the process has no descriptor left.

When descriptors run out an operator must still be able to ask why. So some are kept: each is given
up for one connection, and kept again when there is one. Left to the event loop a connection that
finds none would be accepted and closed, and its client would take the daemon for dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

from ckptd.limits import CONTROL_CLIENTS_MAX

_KEPT: Final = CONTROL_CLIENTS_MAX // 2
"""Descriptors that are kept: for some clients at once, and what their questions open."""
_BACKLOG: Final = 100
_ACCEPTS_MAX: Final = 16
"""Connections accepted in one go."""
_PAUSE_S: Final = 0.1
"""For how long nothing is accepted when not even a kept one is left."""
_NO_DESCRIPTOR: Final = frozenset({errno.EMFILE, errno.ENFILE})


class KeptDescriptors:
    """Descriptors that nobody else in this process can take."""

    def __init__(self, count: int = _KEPT) -> None:
        self._count = count
        self._source = os.eventfd(0, os.EFD_CLOEXEC)
        self._kept: list[int] = []
        self.refill()

    @property
    def count(self) -> int:
        """How many are kept now."""
        return len(self._kept)

    def refill(self) -> None:
        """Keep as many as there should be, if there are any."""
        with contextlib.suppress(OSError):
            while len(self._kept) < self._count:
                self._kept.append(os.dup(self._source))

    def give_up(self) -> bool:
        """Let one be taken; tell whether there was one."""
        if self._kept:
            os.close(self._kept.pop())
            return True
        return False

    def close(self) -> None:
        """Keep none any more."""
        while self.give_up():
            pass
        os.close(self._source)


class Accepting:
    """Gives each connection at a listening socket to a protocol of its own; on the event loop.

    Args:
        listening: The socket.
        connect: Returns the protocol of a new connection.
    """

    def __init__(self, listening: socket.socket, connect: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._connect = connect
        self._kept = KeptDescriptors()
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        listening.settimeout(0)
        listening.listen(_BACKLOG)
        self._loop.add_reader(listening, self._accept)

    def close(self) -> None:
        """Listen no more. Connections stay."""
        self._loop.remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()
        for task in self._tasks:
            task.cancel()
        self._listening.close()
        self._kept.close()

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_MAX):
            try:
                connection = self._take()
            except BlockingIOError:
                break
            except OSError:  # not even a kept one: others were faster
                self._loop.remove_reader(self._listening)
                self._look_later(_PAUSE_S)
                return
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._kept.refill()
        if self._kept.count < _KEPT:
            self._look_later(_PAUSE_S)

    def _take(self) -> socket.socket:
        """Accept a connection, in place of kept descriptors if need be.

        Raises:
            OSError: There is none, or no descriptor for it.
        """
        while True:
            try:
                return self._listening.accept()[0]
            except OSError as error:
                if error.errno not in _NO_DESCRIPTOR or not self._kept.give_up():
                    raise

    def _look_later(self, after_s: float) -> None:
        if self._again is None:
            self._again = self._loop.call_later(after_s, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)
        self._kept.refill()
        if self._kept.count < _KEPT:
            self._look_later(10 * _PAUSE_S)

    async def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(0)
            await self._loop.connect_accepted_socket(self._connect, connection)
        except BaseException:
            connection.close()
            raise
