"""Both ends of one connection in one process, over the kernel's loopback; with TLS if wanted."""

import asyncio
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from ckptd.net.connection.transports import SecureConnection

_PATIENCE_S = 60.0
_PROBED_S = 0.3
"""Within this a kernel acknowledges late (40 ms) and tries a small window (200 ms): tcp(7)."""


class Pair(NamedTuple):
    """Two connected sockets; ``ours`` does not block, ``theirs`` does, but not for ever."""

    ours: socket.socket
    theirs: socket.socket

    def heard(self, size_bytes: int) -> bytes:
        """Return exactly so many bytes that came to the other end."""
        data = b""
        while len(data) < size_bytes:
            part = self.theirs.recv(size_bytes - len(data))
            assert part, f"the end after {len(data)} bytes"
            data += part
        return data

    def heard_to_the_end(self) -> bytes:
        """Return all that comes to the other end.

        Raises:
            ConnectionResetError: The connection was not closed but reset.
        """
        data = b""
        while part := self.theirs.recv(2**16):
            data += part
        return data


def fill(connection: socket.socket) -> int:
    """Give the kernel as much as it takes while the other end reads nothing; return how much.

    A buffer that is full may have room again while segments are on their way, or wait for a small
    window; only when nothing of that happens any more it stays full.
    """
    given_bytes = 0
    while True:
        with suppress(BlockingIOError):
            while True:
                given_bytes += connection.send(bytes(1024))
        if not select.select([], [connection], [], _PROBED_S)[1]:
            return given_bytes


@contextmanager
def connected_pair(*, buffer_bytes: int | None = None) -> Iterator[Pair]:
    """Connect two sockets.

    Args:
        buffer_bytes: What each takes without the other reading, about; ``None``: a lot.
    """
    with socket.socket() as listening, socket.socket() as theirs:
        if buffer_bytes is not None:
            theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        theirs.settimeout(_PATIENCE_S)
        theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        theirs.connect(listening.getsockname())
        ours, _ = listening.accept()
        with ours:
            if buffer_bytes is not None:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            ours.setblocking(False)
            yield Pair(ours, theirs)


class Contexts(NamedTuple):
    """What two nodes of one cluster shake hands with."""

    server: ssl.SSLContext
    client: ssl.SSLContext


async def secure_end(connected: socket.socket, context: ssl.SSLContext) -> SecureConnection:
    """Dial with TLS over a socket that does not block."""
    connection = SecureConnection(connected, context, is_server=False)
    await connection.handshake()
    return connection


async def secure(pair: Pair, contexts: Contexts) -> tuple[SecureConnection, SecureConnection]:
    """Put TLS over both ends of a pair, which do not block from then on."""
    pair.theirs.setblocking(False)
    ours = SecureConnection(pair.ours, contexts.server, is_server=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(ours.handshake())
        theirs = group.create_task(secure_end(pair.theirs, contexts.client))
    return ours, theirs.result()
