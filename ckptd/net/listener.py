"""The listener: accepts connections and gives each to the server in a task of its own.

An own accept loop, so that the number of connections is bounded before a byte is read, and
one that the process has no descriptor for does not end it. A secure transport would go
between accepting and serving.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final, TypeAlias

from ckptd.net.admission import Admission

_log = logging.getLogger(__name__)

_BACKLOG: Final = 512
_PAUSE_S: Final = 0.1
"""For how long nothing is accepted after an error. Most often the process has no descriptor
left, and would be told so again at once."""


ServeConnection: TypeAlias = Callable[[socket.socket], Coroutine[None, None, None]]
"""Uses a connection until it ends. Raises nothing; the listener closes the connection."""


class Listener:
    """Accepts connections on one address.

    ``bind`` makes one that listens; ``serve`` accepts until ``drain`` or until it is cancelled.

    Attributes:
        address: Host and port of the first address it listens on.
    """

    def __init__(self, sockets: list[socket.socket], admission: Admission) -> None:
        host, port = sockets[0].getsockname()[:2]
        self.address: tuple[str, int] = (host, port)
        self._sockets = sockets
        self._admission = admission
        self._connections: set[asyncio.Task[None]] = set()
        self._acceptors: list[asyncio.Task[None]] = []

    @classmethod
    def bind(cls, host: str, port: int, admission: Admission) -> Listener:
        """Listen on every address of a host; blocks if its name must be looked up.

        Args:
            host: Name or address; empty for all addresses of this node.
            port: 0 for one that is free.
            admission: Says who may stay.

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
        return cls(sockets, admission)

    @classmethod
    def adopt(cls, listening: socket.socket, admission: Admission) -> Listener:
        """Accept on a socket that listens already; it does not block."""
        return cls([listening], admission)

    @property
    def connection_count(self) -> int:
        """Connections that are open."""
        return len(self._connections)

    async def serve(self, serve_connection: ServeConnection) -> None:
        """Accept connections and serve each in a task; returns when ``drain`` is through.

        Cancelling cuts off what is being served.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._acceptors = [
                    group.create_task(self._accept(listening, group, serve_connection))
                    for listening in self._sockets
                ]
        finally:
            self.close()

    async def drain(self, timeout_s: float | None = None) -> None:
        """Stop accepting and wait until every connection has ended.

        Args:
            timeout_s: Connections that take longer are cut off; ``None``: none is.
        """
        for acceptor in self._acceptors:
            acceptor.cancel()
        if self._acceptors:
            await asyncio.wait(self._acceptors)
        self.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    def close(self) -> None:
        """Stop listening. Connections stay."""
        while self._sockets:
            self._sockets.pop().close()

    async def _accept(
        self,
        listening: socket.socket,
        group: asyncio.TaskGroup,
        serve_connection: ServeConnection,
    ) -> None:
        loop = asyncio.get_running_loop()
        is_failing = False
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                if not is_failing:
                    _log.warning("no connection can be accepted: %s", error)
                is_failing = True
                await asyncio.sleep(_PAUSE_S)
                continue
            is_failing = False
            connection.settimeout(0)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = group.create_task(serve_connection(connection))
            self._connections.add(task)
            task.add_done_callback(partial(self._end, connection))
            if not self._admission.enter(connection, address[0], task.cancel):
                task.cancel()
            await asyncio.sleep(0)  # in a flood each accept is done at once, and nothing else runs

    def _end(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        # Here and not in the task: one that is cancelled early never ran.
        self._admission.leave(connection)
        connection.close()
        self._connections.discard(task)


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # IPv4 has a socket of its own
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.settimeout(0)
        listening.bind((host, port))
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening
