"""Who gets a task and who does not, and what is left when listening ends."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ckptd.model.words import RefusalReason
from ckptd.net.source import listener as listener_module
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.congestion import Congestion
from ckptd.net.source.listener import Listener
from tests.support.serving import until

PATIENCE_S = 60.0


class Served:
    """Connections that are being served, each until the test says so."""

    def __init__(self) -> None:
        self.connections: list[socket.socket] = []
        self.ended: list[socket.socket] = []
        self.may_end = asyncio.Event()

    async def serve(self, connection: socket.socket) -> None:
        self.connections.append(connection)
        try:
            await self.may_end.wait()
        finally:
            self.ended.append(connection)


class Node:
    def __init__(self, listener: Listener, caps: ConnectionCaps, task: asyncio.Task[None]) -> None:
        self.listener = listener
        self.caps = caps
        self.task = task
        self.served = Served()

    def connect(self) -> socket.socket:
        connected = socket.create_connection(self.listener.address)
        connected.setblocking(False)
        return connected


@asynccontextmanager
async def listening(
    caps: ConnectionCaps | None = None, congestion: Congestion | None = None
) -> AsyncIterator[Node]:
    caps = caps or ConnectionCaps()
    listener = Listener.bind("127.0.0.1", 0, caps, congestion)
    served = Served()
    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        task = group.create_task(listener.serve(served.serve))
        node = Node(listener, caps, task)
        node.served = served
        await asyncio.sleep(0)
        try:
            yield node
        finally:
            await listener.drain(timeout_s=0)
    assert caps.connection_count == 0
    assert listener.connection_count == 0
    assert all(connection.fileno() == -1 for connection in served.connections), "closed"


async def end_of(connection: socket.socket) -> bool:
    """Wait for the end of a connection; tell whether it was reset."""
    try:
        assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
    except ConnectionResetError:
        return True
    return False


async def test_who_speaks_is_served_at_once_and_in_a_task_of_its_own() -> None:
    async with listening() as node:
        with node.connect() as one, node.connect() as other:
            one.send(b"x")
            other.send(b"x")
            await until(lambda: len(node.served.connections) == 2)
            assert node.listener.connection_count == node.caps.connection_count == 2
            (first, _) = node.served.connections
            assert first.getblocking() is False
            assert first.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            node.served.may_end.set()
            await end_of(one)
            await end_of(other)
            await until(lambda: not node.listener.connection_count)
            assert node.caps.connection_count == 0


class SeenCongestion(Congestion):
    """Writes down what it is asked, and whether the connection was served already."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, bool]] = []
        self.served = Served()

    def listen(self, listening: socket.socket) -> None:
        self.asked.append(("listen", listening.getblocking()))

    def settle(self, connection: socket.socket) -> None:
        self.asked.append(("settle", connection in self.served.connections))

    def note(self, connection: socket.socket) -> None:
        self.asked.append(("note", connection.fileno() >= 0))


async def test_congestion_control_is_chosen_before_a_connection_is_served() -> None:
    seen = SeenCongestion()
    async with listening(congestion=seen) as node:
        seen.served = node.served
        with node.connect() as one:
            assert list(node.listener.connections) == []
            one.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            assert list(node.listener.connections) == node.served.connections
            node.served.may_end.set()
            await end_of(one)
            await until(lambda: not node.listener.connection_count)
    assert seen.asked == [("listen", False), ("settle", False), ("note", True)]


async def test_who_says_nothing_has_no_task_but_a_place() -> None:
    async with listening() as node:
        with node.connect():
            await until(lambda: node.listener.connection_count == 1)
            assert node.caps.unproven_count == 1
            assert node.served.connections == []


async def test_who_says_nothing_for_long_is_served_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its time for a first head has to count."""
    monkeypatch.setattr(listener_module, "_FIRST_BYTE_WAIT_S", 0.01)
    async with listening() as node:
        with node.connect():
            await until(lambda: len(node.served.connections) == 1)
            with node.connect():
                await until(lambda: len(node.served.connections) == 2)
            assert node.listener._patience is None, "nobody is silent any more"


async def test_two_that_say_nothing_are_served_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listener_module, "_FIRST_BYTE_WAIT_S", 0.02)
    async with listening() as node:
        with node.connect():
            await until(lambda: node.listener.connection_count == 1)
            await asyncio.sleep(0.01)
            with node.connect():
                await until(lambda: len(node.served.connections) == 2)


async def test_one_too_many_to_be_answered_is_closed_without_a_task() -> None:
    async with listening(ConnectionCaps(connections_max=1, refused_max=0)) as node:
        with node.connect() as first:
            first.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            node.caps.prove(node.served.connections[0])
            with node.connect() as second:
                await end_of(second)
            assert node.listener.connection_count == 1
            assert node.caps.refusals == {RefusalReason.CONNECTIONS: 1}


async def test_one_too_many_is_served_to_hear_why_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caps = ConnectionCaps(connections_max=1, refused_max=2)
    async with listening(caps) as node:
        with node.connect() as first:
            first.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            caps.prove(node.served.connections[0])
            with node.connect() as second, node.connect() as third:
                second.send(b"x")
                third.send(b"x")
                await until(lambda: len(node.served.connections) == 3)
                for connection in node.served.connections[1:]:
                    assert caps.refusal_of(connection) is RefusalReason.CONNECTIONS
                assert caps.connection_count == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert "no place for a connection from 127.0.0.1" in line
    assert "listen.connections allows" in line
    assert not caps._refused


async def test_who_says_nothing_makes_room_and_is_reset() -> None:
    async with listening(ConnectionCaps(unproven_max=1)) as node:
        with node.connect() as silent:
            await until(lambda: node.listener.connection_count == 1)
            with node.connect() as next_one:
                assert await end_of(silent)
                next_one.send(b"x")
                await until(lambda: len(node.served.connections) == 1)
                assert node.listener.connection_count == node.caps.connection_count == 1


async def test_who_is_served_makes_room_by_being_cancelled() -> None:
    async with listening(ConnectionCaps(unproven_max=1)) as node:
        with node.connect() as first:
            first.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            with node.connect():
                await end_of(first)
                assert node.served.ended == node.served.connections
                assert node.caps.connection_count == 1


async def test_a_drain_waits_for_who_is_served_and_drops_who_is_silent() -> None:
    async with listening() as node:
        with node.connect() as busy, node.connect() as silent:
            busy.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            await until(lambda: node.listener.connection_count == 2)
            draining = asyncio.ensure_future(node.listener.drain())
            assert not await end_of(silent)
            assert node.listener.connection_count == 1
            with pytest.raises(ConnectionRefusedError):
                node.connect()
            assert not draining.done()
            node.served.may_end.set()
            await draining
            await node.task


async def test_a_drain_that_has_no_more_time_cuts_off() -> None:
    async with listening() as node:
        with node.connect() as busy:
            busy.send(b"x")
            await until(lambda: len(node.served.connections) == 1)
            await node.listener.drain(timeout_s=0)
            assert node.served.ended == node.served.connections
            await end_of(busy)


async def test_a_flood_leaves_the_loop_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_ACCEPTS_MAX", 3)
    async with listening() as node:
        connections = [node.connect() for _ in range(7)]
        seen = set()
        while node.listener.connection_count < 7:
            await asyncio.sleep(0)
            seen.add(node.listener.connection_count)
        assert {3, 6, 7} <= seen
        assert seen <= {0, 3, 6, 7}
        for connection in connections:
            connection.close()


class Broken(socket.socket):
    """Cannot accept until a test says so."""

    failures = 0
    is_broken = True

    def accept(self) -> tuple[socket.socket, object]:
        if self.is_broken:
            self.failures += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


async def test_a_listener_without_descriptors_pauses_complains_once_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener_module, "_ACCEPT_PAUSE_S", 0.002)
    broken = Broken()
    broken.bind(("127.0.0.1", 0))
    broken.listen()
    broken.settimeout(0)
    listener, served = Listener.adopt(broken, ConnectionCaps()), Served()
    assert listener.address == broken.getsockname()
    serving = asyncio.ensure_future(listener.serve(served.serve))
    with socket.create_connection(listener.address) as waiting:
        waiting.send(b"x")
        await until(lambda: broken.failures >= 3)
        assert len(caplog.messages) == 1
        assert "no connection can be accepted" in caplog.text
        broken.is_broken = False
        await until(lambda: len(served.connections) == 1)
        broken.is_broken = True
        with socket.create_connection(listener.address):
            await until(lambda: len(caplog.messages) == 2)
            await listener.drain(timeout_s=0)
            await serving
            failures = broken.failures
            await asyncio.sleep(0.005)  # the end of the pause
            assert broken.failures == failures, "nobody listens any more"


async def test_nothing_is_accepted_during_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "_ACCEPT_PAUSE_S", 3600)
    broken = Broken()
    broken.bind(("127.0.0.1", 0))
    broken.listen()
    broken.settimeout(0)
    listener = Listener.adopt(broken, ConnectionCaps())
    serving = asyncio.ensure_future(listener.serve(Served().serve))
    with socket.create_connection(listener.address):
        await until(lambda: broken.failures > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert broken.failures == 1
    await listener.drain()
    await serving


async def test_a_listener_that_is_cancelled_listens_no_more() -> None:
    listener, served = Listener.bind("127.0.0.1", 0, ConnectionCaps()), Served()
    serving = asyncio.ensure_future(listener.serve(served.serve))
    await asyncio.sleep(0)
    with socket.create_connection(listener.address) as connected:
        connected.setblocking(False)
        connected.send(b"x")
        await until(lambda: len(served.connections) == 1)
        serving.cancel()
        await asyncio.wait([serving])
        assert served.ended == served.connections
        await end_of(connected)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.address)


async def test_one_address_is_listened_on_alone() -> None:
    listener = Listener.bind("127.0.0.1", 0, ConnectionCaps())
    assert [each.getsockname() for each in listener._sockets] == [listener.address]
    assert listener.address[0] == "127.0.0.1"
    listener.close()


async def test_all_addresses_of_a_host_have_the_same_port() -> None:
    listener = Listener.bind("", 0, ConnectionCaps())
    try:
        ports = {listening.getsockname()[1] for listening in listener._sockets}
        families = {listening.family for listening in listener._sockets}
        assert families == {socket.AF_INET, socket.AF_INET6}
        assert ports == {listener.address[1]}
        for listening in listener._sockets:
            assert listening.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert listening.gettimeout() == 0
    finally:
        listener.close()


async def test_an_address_that_cannot_be_had_leaves_nothing_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="in use"):
            Listener.bind("127.0.0.1", taken.getsockname()[1], ConnectionCaps())
        with pytest.raises(OSError, match="in use"):
            Listener.bind("", taken.getsockname()[1], ConnectionCaps())
        assert len(os.listdir("/proc/self/fd")) == before


async def test_closing_before_serving_closes_what_listens() -> None:
    listener = Listener.bind("127.0.0.1", 0, ConnectionCaps())
    listener.close()
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(listener.address)


async def test_a_drain_before_serving_closes_what_listens() -> None:
    listener = Listener.bind("127.0.0.1", 0, ConnectionCaps())
    address = listener.address
    await listener.drain()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_who_came_just_now_is_not_late() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as node:
        with node.connect():
            await until(lambda: node.listener.connection_count == 1)
            node.listener._lose_patience(loop)
            assert node.listener._silent
            assert node.listener._patience is not None


async def test_what_is_closed_is_not_watched_any_more() -> None:
    loop = asyncio.get_running_loop()
    async with listening() as node:
        with node.connect():
            await until(lambda: node.listener.connection_count == 1)
            timer = node.listener._patience
            assert timer is not None
            watched = [*node.listener._silent, *node.listener._sockets]
            numbers = [each.fileno() for each in watched]
            node.listener.close()
            assert not any(loop.remove_reader(number) for number in numbers)
            assert timer.cancelled()
