"""What a lane's thread makes of bytes that came, without a thread: the other end has sent them."""

import asyncio
import fcntl
import os
import socket
import struct
import sys
import termios
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.errors import OutOfSpace
from ckptd.limits import HEAD_BYTES_MAX, KIB, MIB, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import NodeId, TransferId
from ckptd.model.space import BlockPlace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.connection.transports import Connection
from ckptd.net.lane import receiving
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.receiving import REFUSAL_BYTES_MAX, AskedRange, BlockSink, RangeOrder, Receiver
from ckptd.net.lane.reports import ReportQueue
from ckptd.net.throttle import Throttles
from ckptd.traffic.buckets import Ceilings, Flow
from tests.support.pairs import Pair, connected_pair
from tests.support.serving import FileContent, MemorySink, until

BUSY = RangeOutcome.BUSY
CLOSED = RangeOutcome.CLOSED
DELIVERED = RangeOutcome.DELIVERED
DISCONNECTED = RangeOutcome.DISCONNECTED
MISBEHAVED = RangeOutcome.MISBEHAVED
NOT_HELD = RangeOutcome.NOT_HELD
STORE_FAILED = RangeOutcome.STORE_FAILED

BLOCK_BYTES = 256 * KIB


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    """Four blocks: 256 KiB twice, a byte, 100 KiB."""
    sizes = {"a": 2 * BLOCK_BYTES, "b": 1, "c": 100 * KIB}
    return FileContent(tmp_path, {path: os.urandom(size) for path, size in sizes.items()})


class Lane:
    """The receiving end of a lane whose source says what a test wants, ahead of time."""

    def __init__(
        self,
        pair: Pair,
        content: FileContent,
        *,
        sink: BlockSink | None = None,
        source: NodeId | None = None,
        throttles: Throttles | None = None,
    ) -> None:
        self.pair = pair
        self.content = content
        self.memory = MemorySink(content.space)
        self.sink = sink or self.memory
        self.pool = BufferPool(16 * MIB)
        self.orders: deque[RangeOrder] = deque()
        self.reported: list[Event] = []
        self.throttles = throttles or Throttles.create()
        self.queue = ReportQueue(
            asyncio.get_running_loop(), lambda *reports: self.reported.extend(reports)
        )
        self.source = source

    def order(self, start: int, end: int) -> None:
        run = BlockRun(start, end)
        self.orders.append(
            RangeOrder(
                TransferId(len(self.orders) + 1),
                AskedRange.of(self.content.digest, self.content.space, run),
                run,
                self.content.space,
                Urgency.NORMAL,
                self.sink,
            )
        )

    def head(self, start: int, end: int, status: str = "206 Partial", **changes: str) -> bytes:
        """Return the right head of an answer with bytes, but for the changes; ``""``: no such."""
        fields = {
            "content_range": f"bytes {start}-{end - 1}/{self.content.size_bytes}",
            "content_length": str(end - start),
            "etag": f'"{self.content.digest}"',
        } | changes
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
        return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()

    def answer(self, start: int, end: int, **changes: str) -> bytes:
        return self.head(start, end, **changes) + self.content.data[start:end]

    def receiver(self) -> Receiver:
        self.pair.ours.setblocking(True)
        return Receiver(
            Connection(self.pair.ours),
            self.source,
            self.orders,
            self.pool,
            self.queue,
            throttles=self.throttles,
            peer="a source",
        )

    def run(self, sent: bytes) -> list[RangeOutcome]:
        """Let the source send this and close; return how orders ended that the thread took."""
        self.pair.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * MIB)
        self.pair.ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MIB)
        self.pair.theirs.sendall(sent)
        self.pair.theirs.shutdown(socket.SHUT_WR)
        receiver = self.receiver()
        receiver.run()
        self.queue.flush()
        return self.outcomes

    @property
    def outcomes(self) -> list[RangeOutcome]:
        return [report.outcome for report in self.ends]

    @property
    def ends(self) -> list[RangeEnded]:
        return [report for report in self.reported if isinstance(report, RangeEnded)]

    @property
    def progress(self) -> list[RangeProgressed]:
        return [report for report in self.reported if isinstance(report, RangeProgressed)]

    def has_all_its_memory(self) -> bool:
        """Tell whether every buffer was given back: then the largest one can be had."""
        asked = iter([False])
        return self.pool.acquire(16 * MIB, unless=lambda: next(asked, True)) is not None


@pytest.fixture(autouse=True)
def no_fault(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Expect that what a source does is no fault of the receiver."""
    yield
    assert "a lane's thread failed" not in caplog.text


@pytest.fixture
def pair() -> Iterator[Pair]:
    with connected_pair() as pair:
        yield pair


@pytest.fixture
async def lane(pair: Pair, content: FileContent) -> Lane:
    return Lane(pair, content)


# Right answers


@pytest.mark.parametrize(("first", "last"), [(0, 4), (0, 1), (1, 3), (2, 3), (3, 4)])
async def test_a_range_arrives_block_by_block(lane: Lane, first: int, last: int) -> None:
    space = lane.content.space
    start, end = space.block_start(first), space.block_start(last)
    lane.order(first, last)
    assert lane.run(lane.answer(start, end)) == [DELIVERED]
    assert lane.memory.delivered == list(range(first, last))
    assert lane.memory.data[start:end] == lane.content.data[start:end]
    latest = lane.progress[-1]
    assert (latest.received_bytes, latest.next_block) == (end - start, last)
    assert (latest.rejected, latest.is_held_back) == ((), False)
    assert lane.has_all_its_memory()


async def test_answers_follow_each_other_byte_for_byte(lane: Lane) -> None:
    for block in range(4):
        lane.order(block, block + 1)
    starts = [lane.content.space.block_start(block) for block in range(5)]
    sent = b"".join(lane.answer(starts[block], starts[block + 1]) for block in range(4))
    assert lane.run(sent) == [DELIVERED] * 4
    assert [end.transfer for end in lane.ends] == [1, 2, 3, 4]
    assert lane.memory.data == lane.content.data
    assert not lane.orders


async def test_everything_may_be_answered_with_everything(lane: Lane) -> None:
    lane.order(0, 4)
    size = lane.content.size_bytes
    sent = lane.head(0, size, "200 OK", content_range="", etag="") + lane.content.data
    assert lane.run(sent) == [DELIVERED]


async def test_a_source_tells_what_it_still_has_to_send(lane: Lane) -> None:
    lane.order(2, 3)
    lane.order(3, 4)
    start = 2 * BLOCK_BYTES
    lane.run(
        lane.answer(start, start + 1, ckptd_load="12345")
        + lane.answer(start + 1, lane.content.size_bytes)
    )
    loads = {report.transfer: report.source_load_bytes for report in lane.progress}
    assert loads == {1: 12345, 2: 0}


async def test_a_bad_block_costs_only_its_group_and_nothing_more_is_read(lane: Lane) -> None:
    lane.order(0, 4)
    lane.order(0, 4)
    data = bytearray(lane.content.data)
    data[BLOCK_BYTES] ^= 1
    answer = lane.head(0, len(data)) + data
    assert lane.run(answer + answer) == [RangeOutcome.SPOILED]
    assert [block for report in lane.progress for block in report.rejected] == [1]
    assert lane.memory.delivered == [0, 2, 3]
    assert len(lane.orders) == 1, "for the loop to end"


async def test_the_first_block_of_a_lane_is_looked_at_before_a_second_one_is_read(
    lane: Lane,
) -> None:
    lane.order(0, 4)
    data = bytearray(lane.content.data)
    data[0] ^= 1
    assert lane.run(lane.head(0, len(data)) + data) == [RangeOutcome.SPOILED]
    assert lane.progress[-1].received_bytes == BLOCK_BYTES
    assert lane.memory.delivered == []


async def test_a_source_that_will_answer_no_more_is_not_waited_for(lane: Lane) -> None:
    lane.order(2, 3)
    lane.order(2, 3)
    start = 2 * BLOCK_BYTES
    one = lane.answer(start, start + 1, connection="close")
    assert lane.run(one + one) == [DELIVERED]
    assert len(lane.orders) == 1, "for the loop to end"


# Answers that are not the protocol


MISBEHAVIOUR: dict[str, dict[str, str]] = {
    "another range": {"content_range": "bytes 1-262144/626689"},
    "a range of another end": {"content_range": "bytes 0-262142/626689"},
    "a range of another size": {"content_range": "bytes 0-262143/626688"},
    "no range": {"content_range": ""},
    "a byte too little": {"content_length": "262143"},
    "a byte too much": {"content_length": "262145"},
    "no length": {"content_length": ""},
    "another version": {"etag": '"x"'},
    "chunks": {"content_length": "", "transfer_encoding": "chunked"},
    "compression": {"content_encoding": "gzip"},
    "everything": {"status": "200 OK"},
    "a redirect": {"status": "302 Found", "location": "http://10.0.0.1/"},
    "a permanent redirect": {"status": "308 Permanent Redirect", "location": "/x"},
    "an error": {"status": "500 Oops"},
    "another success": {"status": "204 No Content"},
    "an interim answer": {"status": "100 Continue"},
    "a switch": {"status": "101 X", "upgrade": "x", "connection": "upgrade"},
}


@pytest.mark.parametrize("changes", MISBEHAVIOUR.values(), ids=MISBEHAVIOUR.keys())
async def test_what_is_not_the_answer_is_not_taken(lane: Lane, changes: dict[str, str]) -> None:
    assert lane.content.size_bytes == 626689
    lane.order(0, 1)
    lane.order(0, 1)
    assert lane.run(lane.answer(0, BLOCK_BYTES, **changes)) == [MISBEHAVED]
    assert lane.memory.delivered == []
    assert lane.progress == []
    assert len(lane.orders) == 1


async def test_the_tag_of_an_answer_is_strong(lane: Lane) -> None:
    lane.order(0, 1)
    sent = lane.answer(0, BLOCK_BYTES, etag=f'W/"{lane.content.digest}"')
    assert lane.run(sent) == [MISBEHAVED]


async def test_part_of_a_range_is_no_answer_to_it(lane: Lane) -> None:
    lane.order(0, 2)
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [MISBEHAVED]
    assert lane.memory.delivered == []


@pytest.mark.parametrize("sent", [b"SSH-2.0-OpenSSH_9.2\r\n\r\n", b"x" * HEAD_BYTES_MAX])
async def test_what_is_no_head_ends_the_lane(lane: Lane, sent: bytes) -> None:
    lane.order(0, 1)
    assert lane.run(sent) == [MISBEHAVED]


async def test_a_head_may_be_as_long_as_the_limit(lane: Lane) -> None:
    start = 2 * BLOCK_BYTES
    size_bytes = len(lane.head(start, start + 1, x="y"))
    lane.order(2, 3)
    sent = lane.answer(start, start + 1, x="y" * (HEAD_BYTES_MAX - size_bytes + 1))
    assert len(sent) == HEAD_BYTES_MAX + 1
    assert lane.run(sent) == [DELIVERED]


async def test_a_head_that_is_longer_is_not_read_to_its_end(lane: Lane) -> None:
    start = 2 * BLOCK_BYTES
    size_bytes = len(lane.head(start, start + 1, x="y"))
    lane.order(2, 3)
    sent = lane.answer(start, start + 1, x="y" * (HEAD_BYTES_MAX - size_bytes + 2))
    assert lane.run(sent) == [MISBEHAVED]


async def test_bytes_that_nobody_asked_for_end_the_lane(lane: Lane) -> None:
    lane.order(2, 3)
    start = 2 * BLOCK_BYTES
    receiver = lane.receiver()
    lane.pair.theirs.sendall(lane.answer(start, start + 1) + b"more")
    receiver.run()
    lane.queue.flush()
    assert lane.outcomes == [DELIVERED]
    assert lane.pair.ours.recv(10) == b"more", "not a byte of it was taken"


async def test_only_the_source_that_is_meant_may_answer(pair: Pair, content: FileContent) -> None:
    start = 2 * BLOCK_BYTES
    lane = Lane(pair, content, source=NodeId("node-a"))
    for _ in range(3):
        lane.order(2, 3)
    one = lane.answer(start, start + 1, ckptd_node="node-a")
    assert lane.run(one + lane.answer(start, start + 1, ckptd_node="node-b") + one) == [
        DELIVERED,
        MISBEHAVED,
    ]


async def test_a_source_that_does_not_say_who_it_is_is_not_the_one_that_is_meant(
    pair: Pair, content: FileContent
) -> None:
    lane = Lane(pair, content, source=NodeId("node-a"))
    lane.order(0, 1)
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [MISBEHAVED]


# Bodies and heads that are cut short


@pytest.mark.parametrize("came", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, 2 * BLOCK_BYTES - 1])
async def test_a_body_that_is_cut_short_ends_the_lane_and_gives_its_buffer_back(
    lane: Lane, came: int
) -> None:
    lane.order(0, 2)
    lane.order(0, 2)
    sent = lane.head(0, 2 * BLOCK_BYTES) + lane.content.data[:came]
    assert lane.run(sent) == [DISCONNECTED]
    is_first_whole = came >= BLOCK_BYTES  # the first group is one block
    assert lane.memory.delivered == ([0] if is_first_whole else []), "a group is delivered whole"
    assert [report.received_bytes for report in lane.progress[-1:]] == ([came] if came else [])
    assert lane.has_all_its_memory()


async def test_a_head_that_is_cut_short_ends_the_lane(lane: Lane) -> None:
    lane.order(0, 1)
    assert lane.run(b"HTTP/1.1 206 Par") == [DISCONNECTED]


async def test_a_source_that_closes_before_it_answers_leaves_the_order_to_the_loop(
    lane: Lane,
) -> None:
    lane.order(0, 1)
    assert lane.run(b"") == []
    assert len(lane.orders) == 1


async def test_a_connection_that_is_reset_ends_the_lane(lane: Lane) -> None:
    lane.order(0, 1)
    receiver = lane.receiver()
    lane.pair.theirs.sendall(lane.head(0, BLOCK_BYTES) + b"x" * 1000)
    lane.pair.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, *[0] * 7]))
    lane.pair.theirs.close()
    receiver.run()
    lane.queue.flush()
    assert lane.outcomes == [DISCONNECTED]


# Refusals


@pytest.mark.parametrize(
    ("status", "fields", "outcome", "retry_after_s"),
    [
        ("404 Not Found", {}, NOT_HELD, 0),
        ("410 Gone", {"retry_after": "9"}, NOT_HELD, 0),
        ("429 Too Many Requests", {"retry_after": "7"}, BUSY, 7),
        ("503 Service Unavailable", {"retry_after": "86400"}, BUSY, 60),
        ("503 Service Unavailable", {"retry_after": "soon"}, BUSY, 1),
        ("429 Too Many Requests", {}, BUSY, 1),
    ],
)
async def test_a_refusal_ends_the_order_and_not_the_lane(
    lane: Lane, status: str, fields: dict[str, str], outcome: RangeOutcome, retry_after_s: int
) -> None:
    start = 2 * BLOCK_BYTES
    lane.order(2, 3)
    lane.order(2, 3)
    refusal = lane.head(0, 5, status, content_range="", etag="", **fields) + b"sorry"
    assert lane.run(refusal + lane.answer(start, start + 1)) == [outcome, DELIVERED]
    assert lane.ends[0].retry_after_ns == retry_after_s * SECOND


@pytest.mark.parametrize(
    ("fields", "body_bytes", "lives_on"),
    [
        ({"content_length": "0"}, 0, True),
        ({"content_length": "1"}, 1, True),
        ({"content_length": str(REFUSAL_BYTES_MAX)}, REFUSAL_BYTES_MAX, True),
        ({"content_length": str(REFUSAL_BYTES_MAX + 1)}, REFUSAL_BYTES_MAX + 1, False),
        ({"content_length": "0", "connection": "close"}, 0, False),
        ({"content_length": ""}, 0, False),
    ],
)
async def test_a_refusal_is_read_past_if_it_is_short(
    lane: Lane, fields: dict[str, str], body_bytes: int, *, lives_on: bool
) -> None:
    start = 2 * BLOCK_BYTES
    lane.order(2, 3)
    lane.order(2, 3)
    refusal = lane.head(0, 1, "404 Not Found", **{"content_range": "", **fields})
    sent = refusal + bytes(body_bytes) + lane.answer(start, start + 1)
    assert lane.run(sent) == ([NOT_HELD, DELIVERED] if lives_on else [NOT_HELD])


async def test_a_refusal_that_is_cut_short_ends_the_lane(lane: Lane) -> None:
    lane.order(0, 1)
    lane.order(0, 1)
    assert lane.run(lane.head(0, 5, "404 Not Found", content_range="") + b"sor") == [NOT_HELD]
    assert len(lane.orders) == 1


# This node's disk and memory


class FailingSink:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "is_logged"),
    [
        (OutOfSpace("staging", "is full"), "out_of_space", False),
        (OSError(5, "x"), "storage", True),
        (OSError(24, "Too many open files"), "shortage", False),
        (MemoryError(), "shortage", False),
    ],
)
async def test_a_disk_that_fails_blames_nobody_and_gives_its_buffer_back(
    pair: Pair,
    content: FileContent,
    error: Exception,
    code: str,
    is_logged: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lane = Lane(pair, content, sink=FailingSink(error))
    lane.order(0, 1)
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [STORE_FAILED]
    refusal = lane.ends[0].refusal
    assert refusal is not None
    assert refusal.code == code
    assert lane.progress[-1].next_block == 0
    assert lane.has_all_its_memory()
    assert ("could not be delivered" in caplog.text) is is_logged


async def test_a_lane_that_is_closed_while_it_waits_for_memory_blames_nobody(lane: Lane) -> None:
    lane.order(0, 1)
    lane.pool.close()
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [CLOSED]


class ClosingSink(MemorySink):
    """Closes the lane with the first blocks that it gets."""

    receiver: Receiver

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        self.receiver.stop()
        return super().deliver(places, data)


async def test_a_range_that_had_come_when_the_lane_was_closed_is_delivered(
    pair: Pair, content: FileContent
) -> None:
    sink = ClosingSink(content.space)
    lane = Lane(pair, content, sink=sink)
    lane.order(0, 1)
    lane.order(1, 2)
    sink.receiver = lane.receiver()
    pair.theirs.sendall(lane.answer(0, BLOCK_BYTES))
    sink.receiver.run()
    lane.queue.flush()
    assert lane.outcomes == [DELIVERED]
    assert len(lane.orders) == 1


async def test_a_lane_that_is_closed_takes_nothing_more(lane: Lane) -> None:
    lane.order(0, 1)
    receiver = lane.receiver()
    lane.pair.theirs.sendall(lane.answer(0, BLOCK_BYTES))
    receiver.stop()
    receiver.run()
    lane.queue.flush()
    assert lane.outcomes == []
    assert lane.memory.delivered == []
    assert not receiver.has_heard


async def test_a_lane_that_is_closed_in_a_body_ends_its_order_as_closed(lane: Lane) -> None:
    lane.order(0, 1)
    receiver = lane.receiver()
    lane.pair.theirs.sendall(lane.head(0, BLOCK_BYTES) + bytes(1000))
    loop = asyncio.get_running_loop()
    running = loop.run_in_executor(None, receiver.run)
    await until(lambda: receiver.has_heard)
    receiver.stop()
    await running
    lane.queue.flush()
    assert lane.outcomes == [CLOSED]
    assert lane.has_all_its_memory()


async def test_a_connection_that_is_broken_off_counts_as_ended_by_the_source(lane: Lane) -> None:
    lane.order(0, 1)
    receiver = lane.receiver()
    lane.pair.theirs.sendall(lane.head(0, BLOCK_BYTES) + bytes(1000))
    receiver.break_off()
    receiver.break_off()
    receiver.run()
    lane.queue.flush()
    assert lane.outcomes == [DISCONNECTED]


# Limits


async def test_what_is_taken_is_counted_against_the_limit_byte_for_byte(
    pair: Pair, content: FileContent
) -> None:
    throttles = Throttles.create()
    throttles.ingress.change(Ceilings(total=1024 * MIB))
    throttles.disk_write.change(Ceilings(total=1024 * MIB))
    lane = Lane(pair, content, throttles=throttles)
    lane.order(0, 4)
    assert lane.run(lane.answer(0, content.size_bytes)) == [DELIVERED]
    assert throttles.ingress.moved_bytes[Urgency.NORMAL] == content.size_bytes
    assert throttles.disk_write.moved_bytes[Urgency.NORMAL] == content.size_bytes
    assert throttles.egress.moved_bytes[Urgency.NORMAL] == 0


async def test_what_was_granted_and_did_not_come_is_given_back(
    pair: Pair, content: FileContent
) -> None:
    throttles = Throttles.create()
    throttles.ingress.change(Ceilings(total=1024 * MIB))
    lane = Lane(pair, content, throttles=throttles)
    lane.order(0, 2)
    sent = lane.head(0, 2 * BLOCK_BYTES) + content.data[:1000]
    assert lane.run(sent) == [DISCONNECTED]
    assert throttles.ingress.moved_bytes[Urgency.NORMAL] == 1000


async def test_a_lane_that_is_held_back_by_a_limit_says_so_and_can_be_closed(
    pair: Pair, content: FileContent
) -> None:
    throttles = Throttles.create()
    throttles.disk_write.change(Ceilings(total=1))
    lane = Lane(pair, content, throttles=throttles)
    flow = Flow(Urgency.NORMAL, "a source")
    while throttles.disk_write.take(flow, KIB, unless=lambda: True):
        pass
    lane.order(0, 1)
    receiver = lane.receiver()
    pair.theirs.sendall(lane.answer(0, BLOCK_BYTES))
    running = asyncio.get_running_loop().run_in_executor(None, receiver.run)
    await until(lambda: any(report.is_held_back for report in lane.progress))
    receiver.stop()
    await running
    lane.queue.flush()
    assert not throttles.disk_write._shaper.waiting


async def test_a_window_that_was_bound_by_a_limit_is_freed_with_it(
    pair: Pair, content: FileContent
) -> None:
    throttles = Throttles.create()
    throttles.ingress.change(Ceilings(total=MIB))
    lane = Lane(pair, content, throttles=throttles)
    lane.order(2, 3)
    receiver = lane.receiver()
    assert receiver._window_limit == MIB, "before a first body fills the buffer"
    throttles.ingress.change(Ceilings())
    start = 2 * BLOCK_BYTES
    pair.theirs.sendall(lane.answer(start, start + 1))
    pair.theirs.shutdown(socket.SHUT_WR)
    receiver.run()
    assert receiver._window_limit is None


@pytest.mark.parametrize("status", ["204 No Content", "302 Found", "201 Created"])
async def test_everything_is_an_answer_with_the_status_200_alone(lane: Lane, status: str) -> None:
    lane.order(0, 4)
    sent = lane.head(0, lane.content.size_bytes, status, content_range="") + lane.content.data
    assert lane.run(sent) == [MISBEHAVED]
    assert lane.memory.delivered == []


async def test_a_read_returns_in_time_for_the_next_report(lane: Lane) -> None:
    lane.receiver()
    interval = lane.pair.ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    seconds, microseconds = struct.unpack("ll", interval)
    assert seconds == 0
    assert 50_000 <= microseconds < 60_000


async def test_a_fault_of_the_receiver_ends_the_lane_and_is_logged(
    lane: Lane, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: bytes) -> None:
        raise KeyError("x")

    monkeypatch.setattr(receiving, "parse_response_head", fail)
    lane.order(0, 1)
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [MISBEHAVED]
    assert "a lane's thread failed" in caplog.text
    caplog.clear()


async def test_a_lane_without_orders_bounds_no_window(pair: Pair, content: FileContent) -> None:
    throttles = Throttles.create()
    throttles.ingress.change(Ceilings(total=MIB))
    lane = Lane(pair, content, throttles=throttles)
    assert lane.receiver()._window_limit is None
    lane = Lane(pair, content)
    lane.order(0, 1)
    assert lane.receiver()._window_limit is None


async def test_the_window_is_bound_when_a_limit_comes_later(
    pair: Pair, content: FileContent
) -> None:
    throttles = Throttles.create()
    lane = Lane(pair, content, throttles=throttles)
    receiver = lane.receiver()
    throttles.ingress.change(Ceilings(total=8 * MIB))
    before = pair.ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    lane.order(2, 3)
    pair.theirs.sendall(lane.answer(2 * BLOCK_BYTES, 2 * BLOCK_BYTES + 1))
    pair.theirs.shutdown(socket.SHUT_WR)
    receiver.run()
    assert receiver._window_limit == 8 * MIB
    assert pair.ours.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) != before


@pytest.mark.parametrize(("longer_bytes", "outcome"), [(0, DELIVERED), (1, MISBEHAVED)])
async def test_a_head_in_two_parts_may_be_no_longer_than_in_one(
    lane: Lane, longer_bytes: int, outcome: RangeOutcome
) -> None:
    start = 2 * BLOCK_BYTES
    size_bytes = len(lane.head(start, start + 1, x="y"))
    lane.order(2, 3)
    sent = lane.answer(start, start + 1, x="y" * (HEAD_BYTES_MAX - size_bytes + 1 + longer_bytes))
    receiver = lane.receiver()
    lane.pair.theirs.sendall(sent[:100])
    running = asyncio.get_running_loop().run_in_executor(None, receiver.run)
    await until(lambda: not waiting_bytes(lane.pair.ours))
    lane.pair.theirs.sendall(sent[100:])
    lane.pair.theirs.shutdown(socket.SHUT_WR)
    await running
    lane.queue.flush()
    assert lane.outcomes == [outcome]


def waiting_bytes(end: socket.socket) -> int:
    """Return how much has come and was not taken."""
    return int.from_bytes(fcntl.ioctl(end, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize(
    ("started_ns", "reported"),
    [
        (receiving.PROGRESS_INTERVAL_NS - 1, [(BLOCK_BYTES, 1)]),
        (receiving.PROGRESS_INTERVAL_NS, [(BLOCK_BYTES, 0), (BLOCK_BYTES, 1)]),
    ],
)
async def test_what_has_come_is_reported_once_in_an_interval(
    lane: Lane,
    monkeypatch: pytest.MonkeyPatch,
    started_ns: int,
    reported: list[tuple[int, int]],
) -> None:
    """And at once when blocks were delivered."""
    monkeypatch.setattr(receiving, "time", SimpleNamespace(monotonic_ns=lambda: started_ns))
    put: list[tuple[int, int]] = []

    def record(report: RangeProgressed | RangeEnded) -> None:
        if isinstance(report, RangeProgressed):
            put.append((report.received_bytes, report.next_block))

    monkeypatch.setattr(lane.queue, "put", record)
    lane.order(0, 1)
    lane.run(lane.answer(0, BLOCK_BYTES))
    assert put == [*reported, (BLOCK_BYTES, 1)]


async def test_without_memory_for_a_body_nobody_is_blamed(
    pair: Pair, content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    lane = Lane(pair, content)
    lane.order(0, 1)
    monkeypatch.setattr(BufferPool, "acquire", refuse)
    assert lane.run(lane.answer(0, BLOCK_BYTES)) == [STORE_FAILED]
    refusal = lane.ends[0].refusal
    assert refusal is not None
    assert refusal.is_shortage
