"""One lane on a real socket: orders go out, each ends once, and nothing is left of it."""

import asyncio
import os
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from ckptd.core.events import Event, RangeEnded
from ckptd.limits import KIB, MIB, MS
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import NodeId, TransferId
from ckptd.model.words import HandshakeFailure, RangeOutcome, Urgency
from ckptd.net.connection import dialling
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.identity import Identity
from ckptd.net.connection.transports import SecureConnection
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import LANE_ORDERS_MAX, AskedRange, RangeOrder, SocketLane
from tests.support.certificates import A, B, C, Certificates, server_context
from tests.support.serving import FileContent, MemorySink, take_request, until

CLOSED = RangeOutcome.CLOSED
DELIVERED = RangeOutcome.DELIVERED
DISCONNECTED = RangeOutcome.DISCONNECTED
STORE_FAILED = RangeOutcome.STORE_FAILED
UNREACHABLE = RangeOutcome.UNREACHABLE
PATIENCE_S = 60.0


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    (tmp_path / "content").mkdir()
    return FileContent(tmp_path / "content", {"a": os.urandom(100), "b": os.urandom(200)})


class Source:
    """Listens; a test accepts, reads and answers as it likes, without a thread."""

    def __init__(self, content: FileContent) -> None:
        self.content = content
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.settimeout(PATIENCE_S)
        self.address: tuple[str, int] = self.listening.getsockname()
        self.accepted: list[socket.socket] = []

    async def accept(self) -> socket.socket:
        connection, _ = await asyncio.to_thread(self.listening.accept)
        connection.settimeout(PATIENCE_S)
        self.accepted.append(connection)
        return connection

    async def request(self, connection: socket.socket) -> str:
        return (await asyncio.to_thread(take_request, connection)).decode()

    def answer(self, start: int, end: int) -> bytes:
        head = (
            f"HTTP/1.1 206 Partial\r\nContent-Range: bytes {start}-{end - 1}/300\r\n"
            f"Content-Length: {end - start}\r\nCkptd-Node: node-a\r\n\r\n"
        )
        return head.encode() + self.content.data[start:end]

    def close(self) -> None:
        for each in (self.listening, *self.accepted):
            each.close()


class Receiver:
    """A lane and what it reported."""

    def __init__(self, content: FileContent) -> None:
        self.content = content
        self.sink = MemorySink(content.space)
        self.reports: list[Event] = []
        self.troubles: list[str] = []
        self.lane: SocketLane
        self.task: asyncio.Task[None]
        self._count = 0

    def report(self, *reports: Event) -> None:
        self.reports += reports

    def fetch(self, block: int, urgency: Urgency = Urgency.NORMAL) -> None:
        self._count += 1
        run = BlockRun(block, block + 1)
        self.lane.request(
            RangeOrder(
                TransferId(self._count),
                AskedRange.of(self.content.digest, self.content.space, run),
                run,
                self.content.space,
                urgency,
                self.sink,
            )
        )

    @property
    def outcomes(self) -> list[RangeOutcome]:
        return [report.outcome for report in self.reports if isinstance(report, RangeEnded)]

    async def ended(self, count: int = 1) -> list[RangeOutcome]:
        await until(lambda: len(self.outcomes) >= count)
        return self.outcomes


@asynccontextmanager
async def receiving(
    content: FileContent,
    address: tuple[str, int],
    *,
    peer: tuple[Identity, NodeId] | None = None,
    before: Callable[[Receiver], None] = lambda _: None,
) -> AsyncIterator[Receiver]:
    receiver = Receiver(content)
    receiver.lane = SocketLane(
        address,
        pool=BufferPool(16 * MIB),
        report=receiver.report,
        peer=peer,
        note_trouble=receiver.troubles.append,
    )
    before(receiver)
    receiver.task = asyncio.ensure_future(receiver.lane.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            yield receiver
    finally:
        receiver.lane.close()
        await asyncio.wait([receiver.task])
    assert receiver.lane.is_over
    assert not any(thread.name == "lane" for thread in threading.enumerate())


@pytest.fixture
def source(content: FileContent) -> Iterator[Source]:
    made = Source(content)
    yield made
    made.close()


async def test_a_request_names_the_version_the_range_and_its_class(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(1, Urgency.DEFERRED)
        connection = await source.accept()
        host, port = source.address
        assert await source.request(connection) == (
            f"GET /v1/checkpoints/{content.digest} HTTP/1.1\r\nHost: {host}:{port}\r\n"
            "Range: bytes=100-299\r\nCkptd-Class: deferred\r\n\r\n"
        )
        ours = receiver.lane._connection
        assert ours is not None
        assert ours.urgency is Urgency.DEFERRED
        assert ours.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.sendall(source.answer(100, 300))
        assert await receiver.ended() == [DELIVERED]
        assert not receiver.lane.is_over
        receiver.fetch(0)
        assert "bytes=0-99" in await source.request(connection)
        connection.sendall(source.answer(0, 100))
        assert await receiver.ended(2) == [DELIVERED, DELIVERED]
    assert receiver.sink.data == content.data


async def test_an_ipv6_host_is_written_in_brackets(content: FileContent) -> None:
    source = Source(content)
    source.listening.close()
    source.listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
    source.listening.settimeout(PATIENCE_S)
    address = source.listening.getsockname()[:2]
    async with receiving(content, address) as receiver:
        receiver.fetch(0)
        request = await source.request(await source.accept())
        assert f"Host: [::1]:{address[1]}\r\n" in request
    source.close()


async def test_orders_of_before_the_connection_go_out_together(
    content: FileContent, source: Source
) -> None:
    def order(receiver: Receiver) -> None:
        receiver.fetch(0)
        receiver.fetch(1)

    async with receiving(content, source.address, before=order) as receiver:
        connection = await source.accept()
        assert "bytes=0-99" in await source.request(connection)
        assert "bytes=100-299" in await source.request(connection)
        connection.sendall(source.answer(0, 100) + source.answer(100, 300))
        assert await receiver.ended(2) == [DELIVERED, DELIVERED]


async def test_a_lane_takes_as_many_orders_as_its_source_is_sent_at_once(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        for _ in range(LANE_ORDERS_MAX):
            receiver.fetch(0)
        with pytest.raises(AssertionError):
            receiver.fetch(0)
        receiver.lane.close()
        assert await receiver.ended(LANE_ORDERS_MAX) == [CLOSED] * LANE_ORDERS_MAX


async def test_a_source_that_closes_ends_every_order_and_those_to_come(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        receiver.fetch(1)
        (await source.accept()).close()
        assert await receiver.ended(2) == [DISCONNECTED] * 2
        await receiver.task
        [trouble] = receiver.troubles
        assert "clos" in trouble or "reset" in trouble.lower()
        assert receiver.lane.is_over
        receiver.fetch(0)
        receiver.lane._reports.flush()
        assert receiver.outcomes == [DISCONNECTED] * 3


async def test_a_source_that_is_not_there_is_unreachable(
    content: FileContent, source: Source
) -> None:
    source.close()
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        assert await receiver.ended() == [UNREACHABLE]
        [trouble] = receiver.troubles
        assert "refused" in trouble.lower()


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".invalid"])
async def test_a_host_that_cannot_be_is_unreachable(content: FileContent, host: str) -> None:
    async with receiving(content, (host, 1)) as receiver:
        receiver.fetch(0)
        assert await receiver.ended() == [UNREACHABLE]


async def test_a_source_that_does_not_answer_is_given_up(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_NS", 5 * MS)
    with deaf() as address:
        async with receiving(content, address) as receiver:
            receiver.fetch(0)
            assert await receiver.ended() == [UNREACHABLE]


class deaf:  # noqa: N801
    """A listener whose backlog is full: the kernel drops further attempts to connect."""

    def __enter__(self) -> tuple[str, int]:
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        address: tuple[str, int] = self._sockets[0].getsockname()
        for _ in range(2):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(address)
            self._sockets.append(connection)
        return address

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


@pytest.mark.parametrize(
    ("end", "outcome"), [(SocketLane.close, CLOSED), (SocketLane.cut, UNREACHABLE)]
)
async def test_a_lane_can_be_ended_while_it_connects(
    content: FileContent, end: Callable[[SocketLane], None], outcome: RangeOutcome
) -> None:
    with deaf() as address:
        async with receiving(content, address) as receiver:
            receiver.fetch(0)
            await until(lambda: receiver.lane._connecting is not None)
            end(receiver.lane)
            end(receiver.lane)
            await receiver.task
            assert receiver.outcomes == [outcome]


@pytest.mark.parametrize(
    ("end", "outcomes"),
    [(SocketLane.close, [CLOSED, CLOSED]), (SocketLane.cut, [DISCONNECTED, DISCONNECTED])],
)
async def test_a_lane_can_be_ended_in_the_middle_of_a_body(
    content: FileContent,
    source: Source,
    end: Callable[[SocketLane], None],
    outcomes: list[RangeOutcome],
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(1)
        receiver.fetch(0)
        connection = await source.accept()
        await source.request(connection)
        connection.sendall(source.answer(100, 300)[:-1])
        await until(lambda: bool(receiver.reports))
        end(receiver.lane)
        await receiver.task
        assert receiver.outcomes == outcomes
        assert receiver.lane._connection is None
        assert receiver.lane._receiver is None


async def test_what_else_was_asked_of_a_source_of_a_bad_block_says_nothing_of_it(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(1)
        receiver.fetch(0)
        connection = await source.accept()
        await source.request(connection)
        answer = source.answer(100, 300)
        connection.sendall(answer[:-1] + bytes([answer[-1] ^ 1]))
        await receiver.task
        assert receiver.outcomes == [RangeOutcome.SPOILED, CLOSED]


async def test_a_lane_closed_before_it_ran_ends_its_orders_and_dials_nobody(
    content: FileContent, source: Source
) -> None:
    def order_and_close(receiver: Receiver) -> None:
        receiver.fetch(0)
        receiver.lane.cut()  # there is nothing yet to be cut
        receiver.lane.close()
        assert receiver.lane.is_over
        receiver.fetch(1)
        receiver.lane._reports.flush()
        assert receiver.outcomes == [CLOSED, CLOSED]

    async with receiving(content, source.address, before=order_and_close) as receiver:
        await receiver.task
        assert receiver.outcomes == [CLOSED, CLOSED]
    source.listening.settimeout(0)
    with pytest.raises(BlockingIOError):
        source.listening.accept()


async def test_a_lane_that_is_cancelled_closes(content: FileContent, source: Source) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        await source.request(await source.accept())
        receiver.task.cancel()
        await asyncio.sleep(0)
        receiver.task.cancel()
        await asyncio.wait([receiver.task])
        assert receiver.task.cancelled()
        assert receiver.outcomes == [CLOSED]


async def test_requests_that_do_not_fit_break_the_lane_off(
    content: FileContent, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving(content, source.address) as receiver:
        await source.accept()
        await until(lambda: receiver.lane._connection is not None)
        connection = receiver.lane._connection
        assert connection is not None
        while connection.send_now(bytes(MIB)):
            pass
        receiver.fetch(0)
        assert await receiver.ended() == [DISCONNECTED]


async def test_no_thread_is_no_lane(
    content: FileContent, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def fail(thread: threading.Thread) -> None:
        if thread.name == "lane":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        await asyncio.wait([receiver.task])
        assert receiver.outcomes == [STORE_FAILED]


# With certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    (tmp_path / "certificates").mkdir()
    return Certificates(tmp_path / "certificates")


async def accept_securely(source: Source, identity: Identity) -> SecureConnection:
    accepted = await asyncio.get_running_loop().sock_accept(source.listening)
    source.accepted.append(accepted[0])
    connection, _ = await identity.accept(accepted[0])
    return connection


async def test_the_node_that_is_meant_is_asked_with_its_certificate(
    content: FileContent, source: Source, certificates: Certificates
) -> None:
    own, host = certificates.identity(B), certificates.identity(A)
    own.handshakes._failed[source.address] = (0, HandshakeFailure.TIMEOUT, "long ago")
    source.listening.setblocking(False)
    async with receiving(content, source.address, peer=(own, A)) as receiver:
        receiver.fetch(0)
        connection = await accept_securely(source, host)
        assert b"bytes=0-99" in await connection.receive(KIB)
        await connection.send(source.answer(0, 100))
        assert await receiver.ended() == [DELIVERED]
        source.accepted[0].close()
        await receiver.task
        assert source.address not in own.handshakes._failed, "it answers"
        assert not own.handshakes.failures


async def test_another_node_than_is_meant_is_asked_nothing(
    content: FileContent, source: Source, certificates: Certificates
) -> None:
    own, host = certificates.identity(B), certificates.identity(A)
    source.listening.setblocking(False)
    async with receiving(content, source.address, peer=(own, C)) as receiver:
        receiver.fetch(0)
        connection = await accept_securely(source, host)
        assert await connection.receive(KIB) == b""
        assert await receiver.ended() == [UNREACHABLE]
        assert own.handshakes.failures == {("client", "wrong_node"): 1}
    with pytest.raises(HandshakeFailed):
        own.handshakes.check_dial(source.address)
    async with receiving(content, source.address, peer=(own, C)) as receiver:
        receiver.fetch(0)
        assert await receiver.ended() == [UNREACHABLE]
    with pytest.raises(BlockingIOError):
        source.listening.accept()


async def test_an_end_before_the_first_answer_is_a_refusal_of_the_certificate(
    content: FileContent, source: Source, certificates: Certificates
) -> None:
    own, host = certificates.identity(B), certificates.identity(A)
    source.listening.setblocking(False)
    async with receiving(content, source.address, peer=(own, A)) as receiver:
        receiver.fetch(0)
        await accept_securely(source, host)
        source.accepted[0].close()
        assert await receiver.ended() == [DISCONNECTED]
        await receiver.task
        assert own.handshakes.failures == {("client", "refused"): 1}
        trouble = receiver.troubles[-1]
        assert "did not accept this node's certificate" in trouble


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ("expired", "its certificate has expired"),
        ("not yet valid", "its certificate is not valid yet (is the clock right?)"),
    ],
)
async def test_a_certificate_outside_its_time_is_named(
    who: str, words: str, content: FileContent, source: Source, certificates: Certificates
) -> None:
    own, files = certificates.identity(B), certificates.strangers(A)[who].files
    assert files is not None
    source.listening.setblocking(False)
    async with receiving(content, source.address, peer=(own, A)) as receiver:
        receiver.fetch(0)
        connected, _ = await asyncio.get_running_loop().sock_accept(source.listening)
        source.accepted.append(connected)
        host = SecureConnection(connected, server_context(files), is_server=True)
        with suppress(OSError):
            await host.handshake()
        assert await receiver.ended() == [UNREACHABLE]
        assert receiver.troubles == [words]


async def test_a_lane_that_this_node_closed_says_nothing_about_its_source(
    content: FileContent, source: Source, certificates: Certificates
) -> None:
    own, host = certificates.identity(B), certificates.identity(A)
    source.listening.setblocking(False)
    async with receiving(content, source.address, peer=(own, A)) as receiver:
        receiver.fetch(0)
        connection = await accept_securely(source, host)
        await connection.receive(KIB)
        receiver.lane.close()
        await receiver.task
        assert receiver.outcomes == [CLOSED]
        assert not own.handshakes.failures
        assert not receiver.troubles


async def test_a_source_that_breaks_the_protocol_is_said_to(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        connection = await source.accept()
        await source.request(connection)
        connection.sendall(b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 5-6/300\r\n\r\n")
        assert await receiver.ended() == [RangeOutcome.MISBEHAVED]
        await receiver.task
        [trouble] = receiver.troubles
        assert "is another range than was asked for" in trouble


async def test_a_source_that_closes_what_nobody_waits_on_is_in_no_trouble(
    content: FileContent, source: Source
) -> None:
    async with receiving(content, source.address) as receiver:
        receiver.fetch(0)
        connection = await source.accept()
        await source.request(connection)
        connection.sendall(source.answer(0, 100))
        assert await receiver.ended() == [DELIVERED]
        connection.close()
        await receiver.task
        assert not receiver.troubles


async def test_a_lane_can_be_closed_in_its_handshake(
    content: FileContent, source: Source, certificates: Certificates
) -> None:
    own = certificates.identity(B)
    async with receiving(content, source.address, peer=(own, A)) as receiver:
        receiver.fetch(0)
        connection = await source.accept()
        assert await asyncio.to_thread(connection.recv, 1), "a hello"
        receiver.lane.close()
        await receiver.task
        assert receiver.outcomes == [CLOSED]
