"""Lanes on real sockets: against the serving side, and against sources that misbehave."""

import asyncio
import os
import random
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace
from ckptd.limits import HEAD_BYTES_MAX, KIB, MIB, MS, SECOND
from ckptd.model.space import BlockPlace
from ckptd.model.words import RangeOutcome
from ckptd.net.connection import dialling
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import LANE_ORDERS_MAX
from ckptd.net.source.caps import ConnectionCaps
from tests.support.ports import free_ports
from tests.support.scarcity import without_descriptors
from tests.support.serving import (
    PATIENCE_S,
    FileContent,
    MemorySink,
    Script,
    on_both_loops,
    receiving,
    scripted_source,
    serving,
    take_request,
    until,
)

pytestmark = pytest.mark.integration

DELIVERED = RangeOutcome.DELIVERED
DISCONNECTED = RangeOutcome.DISCONNECTED
UNREACHABLE = RangeOutcome.UNREACHABLE
NOT_HELD = RangeOutcome.NOT_HELD
BUSY = RangeOutcome.BUSY
MISBEHAVED = RangeOutcome.MISBEHAVED
CLOSED = RangeOutcome.CLOSED
SPOILED = RangeOutcome.SPOILED
STORE_FAILED = RangeOutcome.STORE_FAILED


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    """Eleven blocks of 256 KiB, but for the last of each of the three files."""
    sizes = {"a": 700 * KIB, "b": 1, "c": 5 * 256 * KIB, "d": 300 * KIB, "empty": 0}
    return FileContent(tmp_path, {path: os.urandom(size) for path, size in sizes.items()})


# Against the serving side


@on_both_loops
async def test_ranges_arrive_verified_and_in_order(content: FileContent) -> None:
    sink = MemorySink(content.space)
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        count = content.space.block_count
        transfers = [receiver.fetch(0, 1), receiver.fetch(1, 6), receiver.fetch(6, count)]
        assert await receiver.ended(3) == [DELIVERED] * 3
        assert [ended.transfer for ended in receiver.ends] == transfers
        assert node.listener.connection_count == 1
    assert sink.data == content.data
    assert sink.delivered == list(range(content.space.block_count))
    assert content.sent == {"critical": content.size_bytes}
    assert receiver.threads == {threading.current_thread()}


@on_both_loops
async def test_the_last_progress_of_a_range_is_all_of_it(content: FileContent) -> None:
    async with serving(content) as node, receiving(node.address, content) as receiver:
        receiver.fetch(2, 7)
        await receiver.ended()
    space, last = content.space, receiver.progress[-1]
    assert last.received_bytes == space.run_bytes((2, 7))
    assert (last.next_block, last.rejected) == (7, ())
    seen = [(report.received_bytes, report.next_block) for report in receiver.progress]
    assert seen == sorted(seen)


@on_both_loops
async def test_blocks_of_every_size_arrive(tmp_path: Path) -> None:
    sizes = [1, 256 * KIB - 1, 256 * KIB, 256 * KIB + 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 17]
    content = FileContent(tmp_path, {f"{size}": os.urandom(size) for size in sizes})
    async with serving(content) as node:
        sink = MemorySink(content.space)
        async with receiving(node.address, content, sink=sink) as receiver:
            rng = random.Random(1)
            start = 0
            while start < content.space.block_count:
                end = min(start + rng.randint(1, 5), content.space.block_count)
                receiver.fetch(start, end)
                await receiver.ended(len(receiver.ends) + 1)
                start = end
        assert set(receiver.outcomes) == {DELIVERED}
        assert sink.data == content.data


@on_both_loops
async def test_a_source_that_does_not_hold_a_range_keeps_the_lane(content: FileContent) -> None:
    async with serving(content) as node, receiving(node.address, content) as receiver:
        receiver.fetch(0, 1)
        await receiver.ended()
        content.is_stale = True
        receiver.fetch(1, 2)
        await receiver.ended(2)
        content.is_stale = False
        receiver.fetch(2, 3)
        assert await receiver.ended(3) == [DELIVERED, NOT_HELD, DELIVERED]
        assert node.listener.connection_count == 1


@on_both_loops
async def test_a_file_that_changed_under_the_source_disconnects(content: FileContent) -> None:
    async with serving(content) as node, receiving(node.address, content) as receiver:
        content.after_piece = (content.directory / "a").unlink
        receiver.fetch()
        receiver.fetch(0, 1)
        assert await receiver.ended(2) == [DISCONNECTED, DISCONNECTED]


@on_both_loops
async def test_a_lane_tells_that_the_source_closed_an_idle_connection(
    content: FileContent,
) -> None:
    async with serving(content) as node, receiving(node.address, content) as receiver:
        receiver.fetch(0, 1)
        await receiver.ended()
        node.server.drain()
        await until(lambda: receiver.lane.is_over)
        receiver.fetch(1, 2)
        assert await receiver.ended(2) == [DELIVERED, DISCONNECTED]


@on_both_loops
async def test_lanes_leave_no_thread_and_no_descriptor(content: FileContent) -> None:
    async with serving(content) as node:
        async with receiving(node.address, content) as receiver:
            receiver.fetch()
            await receiver.ended()
        threads, descriptors = lane_threads(), len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            async with receiving(node.address, content) as receiver:
                receiver.fetch()
                receiver.fetch()
        await until(lambda: not node.listener.connection_count)
        assert lane_threads() == threads == 0
        assert len(os.listdir("/proc/self/fd")) == descriptors


def lane_threads() -> int:
    return sum(thread.name == "lane" for thread in threading.enumerate())


# Against sources that misbehave


def send(connection: socket.socket, head: str, body: bytes | bytearray = b"") -> None:
    connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)


class Source:
    """Writes the answers of a source that has a version, right or wrong."""

    def __init__(self, content: FileContent) -> None:
        self.content = content

    def head(self, start: int, end: int, **changes: str | None) -> str:
        """Return the right head of a range, but for the changes."""
        fields: dict[str, str | None] = {
            "content_range": f"bytes {start}-{end - 1}/{self.content.size_bytes}",
            "content_length": str(end - start),
            "etag": f'"{self.content.digest}"',
        }
        lines = [
            f"{name.replace('_', '-')}: {value}"
            for name, value in (fields | changes).items()
            if value is not None
        ]
        return "\n".join(["HTTP/1.1 206 Partial Content", *lines])

    def serve(self, connection: socket.socket) -> None:
        """Answer one request as it should be answered."""
        asked = take_request(connection).decode()
        first, last = asked.split("bytes=")[1].split("\r\n")[0].split("-")
        start, end = int(first), int(last) + 1
        send(connection, self.head(start, end), self.content.data[start:end])


@pytest.fixture
def source(content: FileContent) -> Source:
    return Source(content)


MISBEHAVIOUR: dict[str, Callable[[Source], tuple[str, bytes]]] = {
    "another range": lambda s: (s.head(0, 10, content_range="bytes 1-10/11"), b""),
    "another size": lambda s: (s.head(0, 716800, content_range="bytes 0-716799/716800"), b""),
    "no range": lambda s: (s.head(0, 716800, content_range=None), b""),
    "another length": lambda s: (s.head(0, 716800, content_length="716799"), b""),
    "no length": lambda s: (s.head(0, 716800, content_length=None), b""),
    "another version": lambda s: (s.head(0, 716800, etag='"x"'), b""),
    "a weak tag": lambda s: (s.head(0, 716800, etag=f'W/"{s.content.digest}"'), b""),
    "chunks": lambda s: (
        s.head(0, 716800, content_length=None, transfer_encoding="chunked"),
        b"0\r\n\r\n",
    ),
    "compression": lambda s: (s.head(0, 716800, content_encoding="gzip"), b""),
    "everything": lambda s: (f"HTTP/1.1 200 OK\nContent-Length: {s.content.size_bytes}", b""),
    "a redirect": lambda _: ("HTTP/1.1 302 Found\nLocation: http://10.0.0.1/", b""),
    "an error": lambda _: ("HTTP/1.1 500 Oops\nContent-Length: 0", b""),
    "an interim response": lambda _: ("HTTP/1.1 100 Continue", b""),
    "a switch": lambda _: ("HTTP/1.1 101 X\nUpgrade: x\nConnection: upgrade", b""),
    "another protocol": lambda _: ("SSH-2.0-OpenSSH_9.2", b""),
    "a long head": lambda _: ("HTTP/1.1 206 P\nX: " + "x" * HEAD_BYTES_MAX, b""),
    "many fields": lambda _: ("HTTP/1.1 206 P" + "\na: b" * 33, b""),
    "two lengths": lambda s: (s.head(0, 716800) + "\nContent-Length: 716800", b""),
    "two ranges": lambda s: (s.head(0, 716800) + "\nContent-Range: bytes 0-1/2", b""),
}


@pytest.mark.parametrize("answer", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
@on_both_loops
async def test_an_answer_that_is_not_the_protocol_ends_the_lane(
    source: Source, answer: Callable[[Source], tuple[str, bytes]]
) -> None:
    head, body = answer(source)

    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, head, body)
        assert connection.recv(1) == b"", "the lane is closed"

    sink = MemorySink(source.content.space)
    with scripted_source(script) as address:
        async with receiving(address, source.content, sink=sink) as receiver:
            receiver.fetch(0, 3)
            assert await receiver.ended() == [MISBEHAVED]
    assert sink.delivered == []


@on_both_loops
async def test_a_head_without_end_ends_the_lane(source: Source) -> None:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.1 206 P\r\n")
        while True:
            connection.sendall(b"X: y\r\n")

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            assert await receiver.ended() == [MISBEHAVED]


@on_both_loops
async def test_heads_and_bodies_may_come_in_pieces(source: Source) -> None:
    data = source.content.data[: 700 * KIB]

    def script(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            take_request(connection)
            for byte in source.head(0, len(data)).replace("\n", "\r\n").encode():
                connection.sendall(bytes([byte]))
            connection.sendall(b"\r")
            connection.sendall(b"\n\r\n" + data[:1])
            for start in range(1, len(data), 4099):
                connection.sendall(data[start : start + 4099])
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            receiver.fetch(0, 3)
            assert await receiver.ended(2) == [DELIVERED, DELIVERED]


@on_both_loops
async def test_a_body_that_is_cut_short_disconnects_and_keeps_what_came(source: Source) -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(3):
            take_request(connection)
        send(connection, source.head(0, 700 * KIB), source.content.data[: 600 * KIB])

    sink = MemorySink(source.content.space)
    with scripted_source(script) as address:
        async with receiving(address, source.content, sink=sink) as receiver:
            receiver.fetch(0, 3)
            receiver.fetch(3, 4)
            receiver.fetch(4, 5)
            assert await receiver.ended(3) == [DISCONNECTED] * 3
            assert receiver.progress[-1].received_bytes == 600 * KIB
            assert receiver.lane.is_over


@on_both_loops
async def test_a_body_that_goes_on_too_long_spoils_the_next_answer(source: Source) -> None:
    data = source.content.data

    def script(connection: socket.socket) -> None:
        for _ in range(3):
            take_request(connection)
        send(connection, source.head(0, 700 * KIB), data[: 700 * KIB] + b"more\r\n\r\n")
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            receiver.fetch(3, 4)
            receiver.fetch(4, 5)
            assert await receiver.ended(3) == [DELIVERED, MISBEHAVED, DISCONNECTED]


@on_both_loops
async def test_a_bad_block_ends_its_lane_and_nothing_of_the_others_is_lost(source: Source) -> None:
    data = bytearray(source.content.data)
    bad = source.content.space.block_start(5)
    data[bad] ^= 1

    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, source.head(0, len(data)), data)
        source.serve(connection)
        connection.recv(1)

    sink = MemorySink(source.content.space)
    with scripted_source(script) as address:
        async with receiving(address, source.content, sink=sink) as receiver:
            receiver.fetch()
            receiver.fetch(5, 6)
            assert await receiver.ended(2) == [SPOILED, CLOSED]
    rejected = [block for report in receiver.progress for block in report.rejected]
    assert rejected == [5]
    assert sink.data[:bad] == source.content.data[:bad]


@on_both_loops
async def test_an_ordinary_web_server_may_send_everything_and_close(source: Source) -> None:
    data = source.content.data

    def script(connection: socket.socket) -> None:
        take_request(connection)
        take_request(connection)
        send(connection, f"HTTP/1.0 200 OK\nContent-Length: {len(data)}", data)
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch()
            receiver.fetch()
            assert await receiver.ended(2) == [DELIVERED, DISCONNECTED]


@pytest.mark.parametrize(
    ("head", "outcome", "retry_after_s"),
    [
        ("404 Not Found\nContent-Length: 5", NOT_HELD, 0),
        ("410 Gone\nContent-Length: 5\nRetry-After: 9", NOT_HELD, 0),
        ("429 Too Many Requests\nContent-Length: 5\nRetry-After: 7", BUSY, 7),
        ("503 Service Unavailable\nContent-Length: 5\nRetry-After: 86400", BUSY, 60),
        ("503 Service Unavailable\nContent-Length: 5\nRetry-After: soon", BUSY, 1),
    ],
)
@on_both_loops
async def test_a_refusal_ends_the_order_and_not_the_lane(
    source: Source, head: str, outcome: RangeOutcome, retry_after_s: int
) -> None:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, f"HTTP/1.1 {head}", b"sorry")
        source.serve(connection)
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 1)
            receiver.fetch(0, 1)
            assert await receiver.ended(2) == [outcome, DELIVERED]
            assert receiver.ends[0].retry_after_ns == retry_after_s * SECOND


@on_both_loops
async def test_a_source_without_a_place_turns_every_order_of_the_lane_away(
    content: FileContent,
) -> None:
    full = ConnectionCaps(per_address_max=0)
    async with serving(content, full) as node, receiving(node.address, content) as receiver:
        receiver.fetch(0, 1)
        receiver.fetch(1, 2)
        assert await receiver.ended(2) == [RangeOutcome.TURNED_AWAY] * 2
        assert [ended.retry_after_ns for ended in receiver.ends] == [1 * SECOND] * 2
        await until(lambda: bool(receiver.troubles))
        assert "listen.connections_per_address" in receiver.troubles[0]


@pytest.mark.parametrize(
    "fields", ["Content-Length: 9999999999", "Connection: close\nContent-Length: 0", "X: y"]
)
@on_both_loops
async def test_a_refusal_that_cannot_be_passed_over_ends_the_lane_too(
    source: Source, fields: str
) -> None:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, f"HTTP/1.1 404 Not Found\n{fields}")
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 1)
            receiver.fetch(0, 1)
            assert await receiver.ended(2) == [NOT_HELD, DISCONNECTED]


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close_at_once(source: Source) -> Script:
    return lambda connection: None


def close_after_the_request(source: Source) -> Script:
    def script(connection: socket.socket) -> None:
        take_request(connection)

    return script


def reset_in_the_body(source: Source) -> Script:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, source.head(0, 700 * KIB), b"x" * 1000)
        reset(connection)

    return script


def close_in_the_head(source: Source) -> Script:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(b"HTTP/1.1 206 Par")

    return script


@pytest.mark.parametrize(
    "death", [close_at_once, close_after_the_request, reset_in_the_body, close_in_the_head]
)
@on_both_loops
async def test_a_source_that_dies_disconnects_every_order(
    source: Source, death: Callable[[Source], Script]
) -> None:
    with scripted_source(death(source)) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            receiver.fetch(0, 3)
            assert await receiver.ended(2) == [DISCONNECTED, DISCONNECTED]
            receiver.fetch(0, 3)
            assert (await receiver.ended(3))[2] == DISCONNECTED


@on_both_loops
async def test_a_source_that_refuses_connections_is_unreachable(content: FileContent) -> None:
    [port] = free_ports(1)
    async with receiving(("127.0.0.1", port), content) as receiver:
        receiver.fetch(0, 1)
        receiver.fetch(1, 2)
        assert await receiver.ended(2) == [UNREACHABLE, UNREACHABLE]


@pytest.mark.parametrize("host", ["host.invalid", "a..b", "x" * 64 + ".invalid"])
@on_both_loops
async def test_a_host_without_an_address_is_unreachable(content: FileContent, host: str) -> None:
    async with receiving((host, 1), content) as receiver:
        receiver.fetch(0, 1)
        assert await receiver.ended() == [UNREACHABLE]


@pytest.fixture
def deaf() -> Sequence[socket.socket]:
    """A listener whose backlog is full: the kernel drops further attempts to connect."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(2):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(listening.getsockname())
        waiting.append(connection)
    return [listening, *waiting]


@on_both_loops
@pytest.mark.parametrize("what", ["descriptor", "thread"])
async def test_a_lane_without_a_descriptor_or_thread_blames_nobody(
    content: FileContent, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def no_thread(thread: threading.Thread) -> None:
        if thread.name == "lane":
            raise RuntimeError("can't start new thread")
        start(thread)

    async with serving(content) as node:
        with ExitStack() as stack:
            if what == "thread":
                stack.enter_context(monkeypatch.context()).setattr(
                    threading.Thread, "start", no_thread
                )
            else:
                stack.enter_context(without_descriptors())
            async with receiving(node.address, content) as receiver:
                receiver.fetch(0, 1)
                receiver.fetch(1, 2)
                assert await receiver.ended(2) == [STORE_FAILED, STORE_FAILED]
                assert [end.refusal and end.refusal.is_shortage for end in receiver.ends] == [
                    True
                ] * 2


@on_both_loops
async def test_a_source_that_does_not_answer_is_unreachable(
    content: FileContent, deaf: Sequence[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_NS", 20 * MS)
    async with receiving(deaf[0].getsockname(), content) as receiver:
        receiver.fetch(0, 1)
        assert await receiver.ended() == [UNREACHABLE]
    for opened in deaf:
        opened.close()


@on_both_loops
async def test_a_lane_can_be_closed_while_it_connects(
    content: FileContent, deaf: Sequence[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_NS", 3600 * SECOND)
    async with receiving(deaf[0].getsockname(), content) as receiver:
        receiver.fetch(0, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        receiver.lane.close()
        assert await receiver.ended() == [CLOSED]
    for opened in deaf:
        opened.close()


@on_both_loops
async def test_a_lane_that_is_cut_ends_in_the_middle_of_a_body(source: Source) -> None:
    begun = threading.Event()

    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, source.head(0, 256 * KIB), source.content.data[: 100 * KIB])
        begun.set()
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 1)
            await until(begun.is_set)
            receiver.lane.cut()
            assert await receiver.ended() == [DISCONNECTED]


@on_both_loops
async def test_a_lane_can_be_cut_while_it_connects(
    content: FileContent, deaf: Sequence[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialling, "CONNECT_TIMEOUT_NS", 3600 * SECOND)
    async with receiving(deaf[0].getsockname(), content) as receiver:
        receiver.fetch(0, 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        receiver.lane.cut()
        assert await receiver.ended() == [UNREACHABLE]
    for opened in deaf:
        opened.close()


# Progress, load, slow ends


@on_both_loops
async def test_progress_is_reported_while_a_block_is_not_complete(source: Source) -> None:
    data, seen = source.content.data, threading.Event()

    def script(connection: socket.socket) -> None:
        take_request(connection)
        head = source.head(256 * KIB, 700 * KIB, ckptd_load="12345")
        send(connection, head, data[256 * KIB : 556 * KIB])
        assert seen.wait(PATIENCE_S)
        connection.sendall(data[556 * KIB : 700 * KIB])
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(1, 3)
            await receiver.reported(
                lambda: (
                    bool(receiver.progress) and receiver.progress[-1].received_bytes == 300 * KIB
                )
            )
            assert receiver.progress[-1].next_block == 2
            assert receiver.progress[-1].source_load_bytes == 12345
            seen.set()
            assert await receiver.ended() == [DELIVERED]


@pytest.mark.parametrize("load", ["-1", "many", "1" * 40, ""])
@on_both_loops
async def test_a_load_that_makes_no_sense_is_no_load(source: Source, load: str) -> None:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        data = source.content.data[: 700 * KIB]
        send(connection, source.head(0, 700 * KIB, ckptd_load=load), data)
        connection.recv(1)

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            assert await receiver.ended() == [DELIVERED]
    assert receiver.progress[-1].source_load_bytes == 0


class SlowSink(MemorySink):
    """Waits before it takes the first blocks."""

    def __init__(self, content: FileContent) -> None:
        super().__init__(content.space)
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        self.begun.set()
        assert self.may_go_on.wait(PATIENCE_S)
        return super().deliver(places, data)


@on_both_loops
async def test_a_slow_disk_holds_the_source_back_and_loses_nothing(tmp_path: Path) -> None:
    content = FileContent(tmp_path, {"big": os.urandom(MIB) * 64})
    sink = SlowSink(content)
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        receiver.fetch()
        await asyncio.to_thread(sink.begun.wait)
        assert node.server.load_bytes > 0
        sink.may_go_on.set()
        assert await receiver.ended() == [DELIVERED]
    assert sink.data == content.data


class CommittingSink(MemorySink):
    """Takes the second group of blocks only when the first one was reported."""

    def __init__(self, content: FileContent) -> None:
        super().__init__(content.space)
        self.is_committed = threading.Event()

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        assert not self.delivered or self.is_committed.wait(PATIENCE_S)
        return super().deliver(places, data)


@on_both_loops
async def test_a_delivery_may_wait_for_what_was_delivered_before(content: FileContent) -> None:
    sink = CommittingSink(content)
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        receiver.fetch()
        await receiver.reported(lambda: any(report.next_block for report in receiver.progress))
        sink.is_committed.set()
        assert await receiver.ended() == [DELIVERED]


# This node's disk, and closing


class FailingSink:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        raise self.error


@on_both_loops
async def test_a_disk_that_refuses_ends_the_lane_and_blames_nobody(content: FileContent) -> None:
    sink = FailingSink(OutOfSpace("staging", "is full", "Make room."))
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        receiver.fetch(0, 3)
        receiver.fetch(3, 4)
        assert await receiver.ended(2) == [STORE_FAILED, DISCONNECTED]
        refusal = receiver.ends[0].refusal
        assert refusal is not None
        assert (refusal.code, refusal.is_retryable) == ("out_of_space", True)
        assert refusal.message == "staging: is full. Make room."
        assert receiver.progress[-1].next_block == 0


@on_both_loops
async def test_a_fault_in_the_sink_is_logged_and_blames_nobody(
    content: FileContent, caplog: pytest.LogCaptureFixture
) -> None:
    sink = FailingSink(OSError(5, "unmapped"))
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        receiver.fetch(0, 3)
        assert await receiver.ended() == [STORE_FAILED]
    assert "blocks could not be delivered" in caplog.text


@on_both_loops
async def test_closing_ends_every_order_once(content: FileContent) -> None:
    sink = SlowSink(content)
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        for start in range(4):
            receiver.fetch(start, start + 1)
        await asyncio.to_thread(sink.begun.wait)
        receiver.lane.close()
        receiver.lane.close()
        receiver.fetch(5, 6)
        sink.may_go_on.set()
        await receiver.ended(5)
        receiver.fetch(6, 7)
        await receiver.ended(6)
    # The first had arrived whole when the lane was closed.
    assert receiver.outcomes == [DELIVERED, *[CLOSED] * 5]
    assert [ended.transfer for ended in receiver.ends] == [1, 2, 3, 4, 5, 6]


@on_both_loops
async def test_closing_ends_the_wait_for_a_silent_source(source: Source) -> None:
    silent = threading.Event()

    def script(connection: socket.socket) -> None:
        take_request(connection)
        send(connection, source.head(0, 700 * KIB), source.content.data[:1000])
        assert connection.recv(1) == b""
        silent.set()

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            receiver.fetch(0, 3)
            await receiver.reported(lambda: bool(receiver.progress))
            receiver.lane.close()
            assert await receiver.ended() == [CLOSED]
        assert silent.wait(PATIENCE_S)


@on_both_loops
async def test_closing_ends_the_wait_for_memory(content: FileContent) -> None:
    pool = BufferPool(16 * MIB)
    everything = pool.acquire(16 * MIB, unless=lambda: False)
    assert everything is not None
    async with (
        serving(content) as node,
        receiving(node.address, content, pool=pool) as waiting,
        receiving(node.address, content, pool=pool) as served,
    ):
        waiting.fetch(0, 1)
        waiting.lane.close()
        assert await waiting.ended() == [CLOSED]
        served.fetch(0, 1)
        pool.release(everything)
        assert await served.ended() == [DELIVERED]


@on_both_loops
async def test_a_lane_that_is_cancelled_closes(content: FileContent) -> None:
    sink = SlowSink(content)
    async with serving(content) as node, receiving(node.address, content, sink=sink) as receiver:
        (task,) = [
            task for task in asyncio.all_tasks() if "SocketLane.run" in repr(task.get_coro())
        ]
        receiver.fetch()
        receiver.fetch(5, 6)
        await asyncio.to_thread(sink.begun.wait)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        sink.may_go_on.set()
        assert await receiver.ended(2) == [CLOSED, CLOSED]


@on_both_loops
async def test_a_lane_closed_before_it_ran_ends_its_orders(content: FileContent) -> None:
    async with serving(content) as node, receiving(node.address, content) as receiver:
        for start in range(LANE_ORDERS_MAX):
            receiver.fetch(start, start + 1)
        receiver.lane.close()
        assert await receiver.ended(LANE_ORDERS_MAX) == [CLOSED] * LANE_ORDERS_MAX


@on_both_loops
async def test_no_more_orders_than_a_lane_can_queue_are_taken(source: Source) -> None:
    def script(connection: socket.socket) -> None:
        for _ in range(LANE_ORDERS_MAX):
            take_request(connection)
        assert connection.recv(1) == b""

    with scripted_source(script) as address:
        async with receiving(address, source.content) as receiver:
            for _ in range(LANE_ORDERS_MAX):
                receiver.fetch(0, 1)
            with pytest.raises(AssertionError):
                receiver.fetch(0, 1)


@on_both_loops
async def test_bytes_that_nobody_asked_for_end_the_lane(source: Source) -> None:
    with scripted_source(lambda connection: connection.sendall(b"hello")) as address:
        async with receiving(address, source.content) as receiver:
            await until(lambda: receiver.lane.is_over)
            receiver.fetch(0, 1)
            assert await receiver.ended() == [DISCONNECTED]
