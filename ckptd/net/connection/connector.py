"""Connections for small questions: made by the one way to dial, kept by aiohttp."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest

from ckptd.limits import PEERS_MAX
from ckptd.model.addresses import Address
from ckptd.net.connection.dialling import DialledSocket, dial
from ckptd.net.connection.handshakes import HandshakeFailed, failure_of

_PROBES: Final[Mapping[int, int]] = {
    socket.TCP_KEEPIDLE: 10,
    socket.TCP_KEEPINTVL: 3,
    socket.TCP_KEEPCNT: 3,
}
"""In seconds, and how often: a host that is gone is known within 20 s, however long a question is
kept open. The kernel asks; this process does not wake up for it."""


class DiallingConnector(aiohttp.BaseConnector):
    """Keeps connections to peers; a request's host is an IP address.

    Args:
        per_peer_max: Most connections to one address.
    """

    def __init__(self, per_peer_max: int) -> None:
        super().__init__(limit=0, limit_per_host=per_peer_max)
        self._dialled: dict[Address, DialledSocket] = {}
        self._made: dict[Address, list[ResponseHandler]] = {}

    async def reach(self, address: Address) -> None:
        """Connect to an address for the request that comes next, unless a connection is up.

        Nearly all that a request costs comes after this; a thousand peers that do not answer are
        dialled at a tenth of the cost.

        Raises:
            OSError: It does not answer.
        """
        if not self._up(address) and address not in self._dialled:
            dialled = await dial(address)
            self.drop(address)
            self._dialled[address] = dialled

    def drop(self, address: Address) -> None:
        """Close what was dialled for a request that did not need it."""
        dialled = self._dialled.pop(address, None)
        if dialled is not None:
            dialled.close()

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[aiohttp.tracing.Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 (as aiohttp has it)
    ) -> ResponseHandler:
        """Connect for a request, which aiohttp asks for when no connection is free.

        Raises:
            HandshakeFailed: Whoever answers is nobody of the cluster.
            OSError: There is no connection, or not in time.
        """
        host, port = req.url.raw_host, req.url.port
        assert host is not None
        assert port is not None
        address = (host, port)
        dialled = self._dialled.pop(address, None) or await dial(address)
        _probe(dialled)
        context = req.ssl if isinstance(req.ssl, ssl.SSLContext) else None
        try:
            async with asyncio.timeout(timeout.sock_connect):
                _, protocol = await self._loop.create_connection(
                    lambda: ResponseHandler(self._loop),
                    sock=dialled,
                    ssl=context,
                    server_hostname=None if context is None else host,
                )
        except ssl.SSLError as error:
            raise HandshakeFailed(failure_of(error), str(error)) from error
        if len(self._made) >= PEERS_MAX:
            for known in list(self._made):
                self._up(known)
        self._made[address] = [*self._up(address), protocol]
        return protocol

    def _up(self, address: Address) -> list[ResponseHandler]:
        """Return the connections to an address that are up."""
        made = [each for each in self._made.pop(address, ()) if each.is_connected()]
        if made:
            self._made[address] = made
        return made


def _probe(connection: socket.socket) -> None:
    """Have the kernel ask now and then whether the host at the other end is still there."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _PROBES.items():
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
