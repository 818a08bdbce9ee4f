"""The one way in which this node connects to a peer, for questions as for bodies.

What is dialled is an address, never a name: a name can have several addresses, each of which is
asked and measured for itself, and looking it up can take half a minute
(:mod:`ckptd.net.connection.resolving`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final, TypeAlias

from ckptd.limits import CONNECT_TIMEOUT_NS, SECOND
from ckptd.model.addresses import Address

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV

_Where: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
"""IP address and port, for the kernel."""


class DialledSocket(socket.socket):
    """A socket that closes nothing when it is collected.

    It may be handed to a transport. Of one that fails uvloop closes the descriptor, and Python's
    object does not know: collected later, it would close whatever has that number by then.
    Whoever gives up before that, closes it himself.
    """

    def __del__(self) -> None:
        """Leave the descriptor to the transport."""


async def dial(address: Address) -> DialledSocket:
    """Connect to an address.

    Args:
        address: IP address and port.

    Returns:
        A socket that does not block; the caller closes it.

    Raises:
        OSError: There is no connection, or not in time; or it is a name.
    """
    family, where = _numeric(*address)
    connection = DialledSocket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(0)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await _connect(connection, where)
    except BaseException:
        connection.close()
        raise
    return connection


async def _connect(connection: socket.socket, where: _Where) -> None:
    """Connect a socket that does not block.

    Raises:
        OSError: It cannot be, or not in time.
    """
    code = connection.connect_ex(where)
    if code == errno.EINPROGRESS:
        timeout_s = CONNECT_TIMEOUT_NS / SECOND
        try:
            async with asyncio.timeout(timeout_s):
                await _until_decided(connection)
        except TimeoutError as error:
            raise TimeoutError(f"no connection within {timeout_s:.0f} s") from error
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


async def _until_decided(connection: socket.socket) -> None:
    """Wait until a connection is up, or will not be."""
    loop = asyncio.get_running_loop()
    decided: asyncio.Future[None] = loop.create_future()

    def decide() -> None:
        loop.remove_writer(connection)
        if not decided.done():
            decided.set_result(None)

    loop.add_writer(connection, decide)
    try:
        await decided
    finally:
        loop.remove_writer(connection)


def numeric_address(host: str, port: int) -> Address:
    """Return an IP address as the kernel writes it, with a port.

    Raises:
        OSError: The host is a name.
    """
    _, where = _numeric(host, port)
    return str(where[0]), int(where[1])


def _numeric(host: str, port: int) -> tuple[socket.AddressFamily, _Where]:
    """Return what the kernel takes for an IP address and a port; never waits.

    Raises:
        OSError: The host is a name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=_NUMERIC)
    except UnicodeError as error:
        raise OSError(f"{host!r} is no IP address") from error
    return found[0][0], found[0][4]
