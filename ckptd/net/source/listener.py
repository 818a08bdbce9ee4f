"""The listener: accepts connections and gives each to the server in a task of its own.

Accepting is separate from serving, so that the number of connections is bounded before a byte is
read, and running out of descriptors does not end the listener.

A connection gets its task when its first byte arrives, or after a second of silence. An honest peer
speaks at once. A flood of connections that say nothing costs an accept and a close each, and no
task has to be created and cancelled for it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Final, TypeAlias

from ckptd.model.words import RefusalReason
from ckptd.net.connection.transports import reset_on_close
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.congestion import Congestion

_log = logging.getLogger(__name__)

_BACKLOG_CONNECTIONS: Final = 512
_ACCEPT_PAUSE_S: Final = 0.1
"""For how long nothing is accepted after an error. Most often the process has no descriptor
left, and the next call would fail the same way."""
_ACCEPTS_MAX: Final = 16
"""Connections accepted in one go: a flood must not keep the event loop busy."""
_NOTE_PAUSE_S: Final = 10.0
"""At most one line in so much time says that somebody found no place."""
_FIRST_BYTE_WAIT_S: Final = 1.0
"""After so much silence a connection gets its task, whose timeout then starts. A lost packet is
retransmitted earlier (RFC 6298: after 1 s at first, 200 ms on Linux)."""


ServeConnection: TypeAlias = Callable[[socket.socket], Coroutine[None, None, None]]
"""Uses a connection until it ends. Raises nothing; the listener closes the connection."""


class Listener:
    """Accepts connections on one address.

    ``bind`` makes one that listens; ``serve`` accepts until ``drain`` or until it is cancelled.

    Attributes:
        address: Host and port of the first address it listens on.
    """

    def __init__(
        self, sockets: list[socket.socket], caps: ConnectionCaps, congestion: Congestion | None
    ) -> None:
        host, port = sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._sockets = sockets
        self._caps = caps
        self._congestion = congestion or Congestion()
        for listening in sockets:
            self._congestion.listen(listening)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._begin: Callable[[socket.socket], None] = lambda _: None
        self._silent: dict[socket.socket, float] = {}  # with the end of patience; oldest first
        self._patience: asyncio.TimerHandle | None = None
        self._tasks: dict[socket.socket, asyncio.Task[None]] = {}
        self._is_draining = asyncio.Event()
        self._is_failing = False
        self._noted_s = -_NOTE_PAUSE_S

    @classmethod
    def bind(
        cls, host: str, port: int, caps: ConnectionCaps, congestion: Congestion | None = None
    ) -> Listener:
        """Listen on every address of a host; blocks if its name must be looked up.

        Args:
            host: Name or address; empty for all addresses of this node.
            port: 0 for one that is free.
            caps: Says who may stay.
            congestion: With which congestion control is sent; ``None``: the system's.

        Raises:
            OSError: The address cannot be had.
        """
        found = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        sockets: list[socket.socket] = []
        try:
            for family, _, _, _, address in found:
                # Port 0 is drawn once: the same port on all addresses.
                drawn = sockets[0].getsockname()[1] if sockets else port
                sockets.append(_listen(family, str(address[0]), drawn))
        except OSError:
            for listening in sockets:
                listening.close()
            raise
        return cls(sockets, caps, congestion)

    @classmethod
    def adopt(
        cls, listening: socket.socket, caps: ConnectionCaps, congestion: Congestion | None = None
    ) -> Listener:
        """Accept on a socket that listens already; it does not block."""
        return cls([listening], caps, congestion)

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        return len(self._silent) + len(self._tasks)

    @property
    def connections(self) -> Sequence[socket.socket]:
        """Those on which something came, and which are open."""
        return tuple(self._tasks)

    async def serve(self, serve_connection: ServeConnection) -> None:
        """Accept connections and serve each in a task; returns when ``drain`` is through.

        Cancelling cuts off what is being served.
        """
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:

            def begin(connection: socket.socket) -> None:
                task = self._tasks[connection] = group.create_task(serve_connection(connection))
                task.add_done_callback(partial(self._end, connection))

            self._begin = begin
            for listening in self._sockets:
                self._loop.add_reader(listening, self._accept, self._loop, listening)
            try:
                await self._is_draining.wait()
            finally:
                self.close()

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop accepting and wait until every connection has ended.

        Args:
            timeout_s: Connections that take longer are cut off; ``None``: none is.
        """
        self.close()
        self._is_draining.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values(), timeout=timeout_s)
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def close(self) -> None:
        """Stop listening, and drop connections on which nothing came. The others stay."""
        while self._sockets:
            listening = self._sockets.pop()
            if self._loop is not None:
                self._loop.remove_reader(listening)
            listening.close()
        if self._patience is not None:
            self._patience.cancel()
        if self._loop is not None:
            for connection in list(self._silent):
                self._drop(self._loop, connection)

    def _accept(self, loop: asyncio.AbstractEventLoop, listening: socket.socket) -> None:
        """Accept waiting connections, at most ``_ACCEPTS_MAX`` of them."""
        for _ in range(_ACCEPTS_MAX):
            try:
                connection, address = listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                self._pause(loop, listening, error)
                return
            self._is_failing = False
            connection.settimeout(0)
            self._silent[connection] = loop.time() + _FIRST_BYTE_WAIT_S
            if self._patience is None:
                self._patience = loop.call_later(_FIRST_BYTE_WAIT_S, self._lose_patience, loop)
            loop.add_reader(connection, self._hear, loop, connection)
            cut = partial(self._cut, loop, connection)
            if self._caps.enter(connection, address[0], cut):
                continue
            reason = self._caps.turn_away(connection, address[0], cut)
            self._note_turned_away(address[0], reason, now_s=loop.time())
            if reason is None:
                self._drop(loop, connection)

    def _note_turned_away(
        self, address: str, reason: RefusalReason | None, *, now_s: float
    ) -> None:
        """Log that somebody found no place; a crowd of them makes one line now and then."""
        if now_s < self._noted_s + _NOTE_PAUSE_S:
            return
        self._noted_s = now_s
        why = reason.cap if reason is not None else "is turning away too many to answer them"
        _log.warning("no place for a connection from %s: this node %s", address, why)

    def _pause(
        self, loop: asyncio.AbstractEventLoop, listening: socket.socket, error: OSError
    ) -> None:
        if not self._is_failing:
            _log.warning("no connection can be accepted: %s", error)
        self._is_failing = True
        loop.remove_reader(listening)

        def go_on() -> None:
            if listening in self._sockets:
                loop.add_reader(listening, self._accept, loop, listening)

        loop.call_later(_ACCEPT_PAUSE_S, go_on)

    def _lose_patience(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give tasks to connections that were silent for too long; set the timer for the rest."""
        now_s = loop.time()
        late = [connection for connection, until_s in self._silent.items() if until_s <= now_s]
        for connection in late:
            self._hear(loop, connection)
        first_s = next(iter(self._silent.values()), None)
        self._patience = (
            None if first_s is None else loop.call_at(first_s, self._lose_patience, loop)
        )

    def _hear(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        """Start the task of a connection on which something came."""
        del self._silent[connection]
        loop.remove_reader(connection)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._congestion.settle(connection)
        self._begin(connection)

    def _cut(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        """Make room for another connection."""
        if connection in self._silent:
            reset_on_close(connection)  # and nothing of it stays behind in the kernel
            self._drop(loop, connection)
        else:
            self._tasks[connection].cancel()

    def _drop(self, loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
        """End a connection on which nothing came."""
        del self._silent[connection]
        loop.remove_reader(connection)
        self._caps.leave(connection)
        connection.close()

    def _end(self, connection: socket.socket, _: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled early never ran.
        self._congestion.note(connection)
        self._caps.leave(connection)
        connection.close()
        del self._tasks[connection]


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.settimeout(0)
        listening.bind((host, port))
        listening.listen(_BACKLOG_CONNECTIONS)
    except OSError:
        listening.close()
        raise
    return listening
