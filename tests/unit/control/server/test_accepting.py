from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.control.server.accepting import Accepting, KeptDescriptors
from tests.support.scarcity import without_descriptors
from tests.support.serving import until


class Greeter(asyncio.Protocol):
    """Says hello to whoever comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(b"hello")


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "sock"))
        yield made


async def greeting(client: socket.socket, address: str) -> bytes:
    loop = asyncio.get_running_loop()
    client.settimeout(0)
    await loop.sock_connect(client, address)
    return await asyncio.wait_for(loop.sock_recv(client, 10), 60)


def test_kept_descriptors_are_there_for_one_who_gives_them_up() -> None:
    kept = KeptDescriptors(4)
    with without_descriptors():
        kept.refill()
        assert kept.count == 4
        assert kept.give_up()
        os.close(os.dup(0))
        kept.refill()
        assert kept.count == 4
    kept.close()
    assert not kept.give_up()


async def test_without_a_descriptor_a_client_is_answered_all_the_same(
    listening: socket.socket,
) -> None:
    accepting = Accepting(listening, Greeter)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(5)]
    with without_descriptors():
        for client in clients:
            assert await greeting(client, listening.getsockname()) == b"hello"
    for client in clients:
        client.close()
    accepting.close()


async def test_what_was_given_up_is_kept_again_when_there_is_one(
    listening: socket.socket,
) -> None:
    accepting = Accepting(listening, Greeter)
    before = accepting._kept.count
    with socket.socket(socket.AF_UNIX) as client:
        with without_descriptors():
            await greeting(client, listening.getsockname())
            assert accepting._kept.count < before
        await until(lambda: accepting._kept.count == before)
    accepting.close()


async def test_whoever_finds_not_even_a_kept_one_waits_for_it(listening: socket.socket) -> None:
    accepting = Accepting(listening, Greeter)
    while accepting._kept.give_up():
        pass
    with socket.socket(socket.AF_UNIX) as client:
        with without_descriptors(), pytest.raises(TimeoutError):
            await asyncio.wait_for(greeting(client, listening.getsockname()), 0.3)
        assert (
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 10), 60) == b"hello"
        )
    accepting.close()


async def test_nothing_is_left_when_it_ends(listening: socket.socket) -> None:
    before = len(os.listdir("/proc/self/fd"))
    Accepting(listening, Greeter).close()
    assert len(os.listdir("/proc/self/fd")) == before - 1  # the socket as well
