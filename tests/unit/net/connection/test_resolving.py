"""Looking up names while some name servers are silent."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from ckptd.net.connection.resolving import (
    ADDRESSES_PER_NAME_MAX,
    Resolver,
    look_up_name,
)
from tests.support.serving import until

Address = tuple[str, int]
GOOD = (("10.0.0.1", 7),)


class NameServer:
    """Knows some names, and is silent about those that begin with ``silent``."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.speaks = threading.Event()

    def __call__(self, host: str, port: int) -> tuple[Address, ...]:
        self.asked.append(host)
        if host.startswith("silent"):
            self.speaks.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return (("10.0.0.1", port),)


@pytest.fixture
def server() -> Iterator[NameServer]:
    server = NameServer()
    yield server
    server.speaks.set()


Asking = list[asyncio.Task[tuple[Address, ...]]]


async def silent(resolver: Resolver, names: int) -> Asking:
    asking = [
        asyncio.create_task(resolver.addresses_of(f"silent-{number}", 7)) for number in range(names)
    ]
    await asyncio.sleep(0)
    return asking


async def end(asking: Asking) -> None:
    for each in asking:
        each.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await each


async def test_an_address_costs_no_look_up(server: NameServer) -> None:
    resolver = Resolver(server)
    assert await resolver.addresses_of("127.0.0.1", 7) == (("127.0.0.1", 7),)
    assert await resolver.addresses_of("2001:DB8::0:1", 7) == (("2001:db8::1", 7),)
    assert server.asked == []


async def test_a_name_that_nobody_knows_is_an_error_in_the_words_of_the_system(
    server: NameServer,
) -> None:
    with pytest.raises(OSError, match="Name or service not known"):
        await Resolver(server).addresses_of("unknown", 7)


async def test_silent_names_keep_no_other_name_from_being_looked_up(server: NameServer) -> None:
    resolver = Resolver(server, late_after_s=0.02)
    asking = await silent(resolver, 100)
    assert await resolver.addresses_of("good", 7) == GOOD, "though all the others stay silent"
    assert len(server.asked) == 101
    await end(asking)


async def test_a_name_that_was_silent_waits_until_no_other_does(server: NameServer) -> None:
    resolver = Resolver(server, late_after_s=0.02)
    server.speaks.set()
    server.asked.clear()
    resolver._slow_names.update(f"silent-{number}" for number in range(50))
    asking = [
        asyncio.create_task(resolver.addresses_of(f"silent-{number}", 7)) for number in range(50)
    ]
    await asyncio.sleep(0)
    assert await resolver.addresses_of("good", 7) == GOOD
    assert server.asked.index("good") < 20
    await end(asking)


async def test_look_ups_and_their_threads_are_bounded(server: NameServer) -> None:
    resolver = Resolver(server, late_after_s=0.01, late_max=16)
    asking = await silent(resolver, 100)
    await until(lambda: len(server.asked) >= 24)
    await asyncio.sleep(0.1)
    assert len(server.asked) == 24
    server.speaks.set()
    with pytest.raises(OSError, match="Temporary failure"):
        await asking[99]
    assert resolver._slow_names, "those that took long are remembered"
    await end(asking)


async def test_who_does_not_wait_any_more_is_not_looked_up(server: NameServer) -> None:
    resolver = Resolver(server, late_after_s=60)
    asking = await silent(resolver, 20)
    await end(asking)
    assert len(server.asked) == 8
    server.speaks.set()
    assert await resolver.addresses_of("good", 7) == GOOD
    assert len(server.asked) == 9


async def test_a_thread_that_cannot_be_had_is_an_error_of_that_look_up_alone(
    server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(server)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(OSError, match="no thread"):
            await resolver.addresses_of("good", 7)
    assert await resolver.addresses_of("good", 7) == GOOD


def test_addresses_are_in_order_each_once_and_no_more_than_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"10.0.{number // 200}.{number % 200}", 7))
        for number in reversed(range(400))
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found + found)
    addresses = look_up_name("many", 7)
    assert len(addresses) == len(set(addresses)) == ADDRESSES_PER_NAME_MAX == 256
    assert list(addresses) == sorted(addresses)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(OSError, match="no address"):
        look_up_name("none", 7)


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid"])
async def test_a_name_that_cannot_be_is_an_error(host: str) -> None:
    with pytest.raises(OSError, match=r"."):
        await Resolver().addresses_of(host, 7)
