"""Connections for small questions."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from ckptd.model.addresses import Address
from ckptd.net.connection import connector as connector_module
from ckptd.net.connection.connector import DiallingConnector
from ckptd.net.connection.dialling import DialledSocket, dial

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Peer:
    """Answers requests."""

    def __init__(self) -> None:
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)


@asynccontextmanager
async def closing(connector: DiallingConnector) -> AsyncIterator[DiallingConnector]:
    yield connector
    await connector.close()


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    dialled: list[Address] = []

    async def dial_and_note(address: Address) -> DialledSocket:
        dialled.append(address)
        return await dial(address)

    monkeypatch.setattr(connector_module, "dial", dial_and_note)
    return dialled


async def test_the_connection_that_reached_a_peer_carries_the_question(
    dialled: list[Address],
) -> None:
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    address: Address = server.sockets[0].getsockname()
    url = f"http://{address[0]}:{address[1]}/"
    async with (
        closing(DiallingConnector(8)) as connector,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        await connector.reach(address)
        await connector.reach(address)
        for _ in range(2):
            async with session.get(url) as response:
                assert await response.text() == "ok"
            await connector.reach(address)
            connector.drop(address)
    assert (dialled, peer.connections) == ([address], 1)
    server.close()


async def test_a_host_that_is_gone_is_noticed_while_a_question_is_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[DialledSocket] = []

    async def dial_and_keep(address: Address) -> DialledSocket:
        used.append(await dial(address))
        return used[-1]

    monkeypatch.setattr(connector_module, "dial", dial_and_keep)
    peer = Peer()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    address: Address = server.sockets[0].getsockname()
    async with (
        closing(DiallingConnector(8)) as connector,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        async with session.get(f"http://{address[0]}:{address[1]}/") as response:
            assert await response.text() == "ok"
        (connection,) = used
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        idle_s, every_s, tries = (
            connection.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
        assert idle_s + every_s * tries <= 20
    server.close()


async def test_what_is_not_needed_is_closed(dialled: list[Address]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with closing(DiallingConnector(8)) as connector:
            await connector.reach(listening.getsockname())
            connector.drop(listening.getsockname())
            connection, _ = listening.accept()
            with connection:
                assert connection.recv(1) == b""


async def test_who_does_not_answer_is_an_error_before_there_is_a_request() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        async with closing(DiallingConnector(8)) as connector:
            with pytest.raises(ConnectionRefusedError):
                await connector.reach(bound.getsockname())
