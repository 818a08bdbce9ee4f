"""The one way to connect, on the loop that tests use and on the daemon's."""

import asyncio
import gc
import os
import re
import socket
from pathlib import Path

import pytest

from ckptd.limits import MS
from ckptd.net.connection import dialling
from ckptd.net.connection.dialling import DialledSocket, dial, numeric_address
from tests.support.serving import on_both_loops

Address = tuple[str, int]


@on_both_loops
async def test_an_address_that_listens_is_connected_to_and_nothing_blocks() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    with listening, await dial(listening.getsockname()) as connection:
        assert connection.getpeername() == listening.getsockname()
        assert connection.gettimeout() == 0
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@on_both_loops
async def test_an_address_of_the_other_family_is_dialled_the_same_way() -> None:
    try:
        listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with listening, await dial(listening.getsockname()[:2]) as connection:
        assert connection.family is socket.AF_INET6


@on_both_loops
async def test_who_refuses_says_so_in_the_words_of_the_kernel() -> None:
    with socket.socket() as bound:  # to a port that nobody listens on
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError, match="Connection refused"):
            await dial(bound.getsockname())


class deaf:  # noqa: N801
    """A listener whose backlog is full: the kernel drops further attempts to connect."""

    def __enter__(self) -> Address:
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        address: Address = self._sockets[0].getsockname()
        for _ in range(2):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(address)
            self._sockets.append(connection)
        return address

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


@on_both_loops
async def test_who_is_silent_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_NS", 20 * MS)
    with deaf() as address:
        descriptors = len(os.listdir("/proc/self/fd"))
        with pytest.raises(TimeoutError, match="no connection within"):
            await dial(address)
        assert len(os.listdir("/proc/self/fd")) == descriptors


@on_both_loops
async def test_a_dial_that_is_cancelled_leaves_nothing_open() -> None:
    with deaf() as address:
        descriptors = len(os.listdir("/proc/self/fd"))
        dialling_task = asyncio.ensure_future(dial(address))
        await asyncio.sleep(0.01)
        dialling_task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dialling_task
        assert len(os.listdir("/proc/self/fd")) == descriptors


@pytest.mark.parametrize("host", ["localhost", "a..b", "x" * 64 + ".invalid", ""])
async def test_a_name_is_never_looked_up(host: str) -> None:
    if host:
        with pytest.raises(OSError, match=r"."):
            numeric_address(host, 1)
        with pytest.raises(OSError, match=r"."):
            await dial((host, 1))


def test_one_address_is_written_one_way() -> None:
    assert numeric_address("10.0.0.1", 7) == ("10.0.0.1", 7)
    assert numeric_address("2001:DB8:0:0::1", 7) == ("2001:db8::1", 7)


def test_nobody_else_looks_names_up_or_dials() -> None:
    """Each further way would know nothing of what the others found out about an address."""
    package = Path(dialling.__file__).parents[2]
    ways = re.compile(r"getaddrinfo\(|gethostby|sock_connect\(|TCPConnector|open_connection\(")
    found = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if ways.search(path.read_text())
    }
    assert found == {
        "net/connection/dialling.py",
        "net/connection/resolving.py",
        "net/source/listener.py",  # its own address, before anything else runs
    }


def test_a_dialled_socket_that_is_collected_closes_nothing() -> None:
    """Its number may be that of another connection by then: uvloop closed the descriptor."""
    dialled = DialledSocket(socket.AF_INET, socket.SOCK_STREAM)
    fd = dialled.fileno()
    del dialled
    gc.collect()
    os.close(fd)  # would fail
