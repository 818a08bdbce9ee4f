"""One body on a real connection: what its receiver gets, and what is given back when it ends."""

import asyncio
import os
import socket
import threading
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckptd.errors import ContentChanged, NotFound
from ckptd.limits import KIB, MIB, MS
from ckptd.model.words import Urgency
from ckptd.net.connection.transports import Connection
from ckptd.net.source.sending import Sending
from ckptd.net.throttle import Throttle
from ckptd.traffic.buckets import Ceilings, Flow
from ckptd.wire.byte_ranges import ByteRange
from tests.support.pairs import Contexts, Pair, connected_pair, fill, secure
from tests.support.serving import FileContent, FilePiece, until

HEAD = b"a head\r\n\r\n"
FLOW = Flow(Urgency.NORMAL, "a peer")
CONTENTS = {"a": b"0123456789", "b": b"", "c": b"abcdefghij"}
ALL = b"0123456789abcdefghij"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with connected_pair() as pair:
        yield pair


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    return FileContent(tmp_path, CONTENTS)


def sending(
    pair: Pair,
    content: FileContent,
    start: int = 0,
    end: int | None = None,
    throttle: Throttle | None = None,
) -> Sending:
    return Sending(
        Connection(pair.ours),
        HEAD,
        content,
        ByteRange(start, content.size_bytes if end is None else end),
        throttle=throttle or Throttle(),
        flow=FLOW,
        drops_sent=False,
    )


class MemoryContent(FileContent):
    """Has its bytes in memory, a piece for each file."""

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[FilePiece, None, None]:
        for extent in self.space.extents(start, end):
            path = self.space.manifest.units[extent.unit].path
            data = (self.directory / path).read_bytes()[extent.offset :][: extent.size_bytes]
            yield FilePiece(-1, 0, len(data), memoryview(data))
            self.after_piece()


# What is sent


@pytest.mark.parametrize(
    ("start", "end"), [(0, 20), (0, 1), (19, 20), (9, 11), (0, 10), (10, 20), (3, 18), (9, 10)]
)
@pytest.mark.parametrize("kind", [FileContent, MemoryContent])
async def test_a_body_is_all_of_its_range_and_nothing_else(
    tmp_path: Path,
    pair: Pair,
    threads: ThreadPoolExecutor,
    start: int,
    end: int,
    kind: type[FileContent],
) -> None:
    body = sending(pair, kind(tmp_path, CONTENTS), start, end)
    assert (body.has_begun, body.sent_bytes, body.left_bytes) == (False, 0, end - start)
    await body.run(threads)
    assert (body.has_begun, body.sent_bytes, body.left_bytes) == (True, end - start, 0)
    pair.ours.close()
    assert pair.heard_to_the_end() == HEAD + ALL[start:end]


def unheard(pair: Pair) -> bytes:
    """Return what came to the other end by now."""
    pair.theirs.setblocking(False)
    try:
        return pair.theirs.recv(MIB)
    except BlockingIOError:
        return b""
    finally:
        pair.theirs.settimeout(60)


async def test_small_parts_make_full_segments_and_the_last_is_not_held_back(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    heard: list[bytes] = []
    content.after_piece = lambda: heard.append(unheard(pair))
    await sending(pair, content).run(threads)
    assert heard == [b"", b""], "corked"
    assert pair.ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0
    assert pair.heard(len(HEAD + ALL)) == HEAD + ALL


class DroppingContent(FileContent):
    drops_used = False

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[FilePiece, None, None]:
        self.drops_used = drops_used
        return super().pieces(start, end)


@pytest.mark.parametrize("drops_sent", [False, True])
async def test_what_was_sent_leaves_the_page_cache_if_that_is_wanted(
    tmp_path: Path, pair: Pair, threads: ThreadPoolExecutor, drops_sent: bool
) -> None:
    content = DroppingContent(tmp_path, CONTENTS)
    body = Sending(
        Connection(pair.ours),
        HEAD,
        content,
        ByteRange(0, 20),
        throttle=Throttle(),
        flow=FLOW,
        drops_sent=drops_sent,
    )
    await body.run(threads)
    assert content.drops_used is drops_sent


# The last byte


@pytest.mark.parametrize(("start", "end"), [(0, 20), (10, 20), (12, 15), (10, 11), (0, 10)])
async def test_the_last_byte_follows_only_when_the_last_file_is_still_what_was_published(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor, start: int, end: int
) -> None:
    left = [piece for piece in ("a", "c") if (start < 10) == (piece == "a") or start < 10 < end]

    def change_the_last_file() -> None:
        if left.pop() and not left:
            (content.directory / ("a" if end <= 10 else "c")).write_bytes(b"new")

    content.after_piece = change_the_last_file
    body = sending(pair, content, start, end)
    with pytest.raises(ContentChanged):
        await body.run(threads)
    assert body.has_begun
    assert (body.sent_bytes, body.left_bytes) == (end - start - 1, 1)
    pair.ours.close()
    assert pair.heard_to_the_end() == HEAD + ALL[start : end - 1]


@pytest.mark.parametrize("left", [0, 1, 8, 9])
async def test_a_file_that_became_shorter_leaves_its_body_short(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor, left: int
) -> None:
    content._check = lambda path: None  # type: ignore[method-assign]
    os.truncate(content.directory / "c", left)
    body = sending(pair, content)
    with pytest.raises(ContentChanged, match="shorter"):
        await body.run(threads)
    assert body.sent_bytes == 10 + left
    pair.ours.close()
    assert pair.heard_to_the_end() == HEAD + ALL[: 10 + left]


async def test_of_what_cannot_be_served_not_even_a_head_is_sent(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    (content.directory / "a").write_bytes(b"new")
    body = sending(pair, content)
    with pytest.raises(ContentChanged):
        await body.run(threads)
    assert not body.has_begun
    pair.ours.close()
    assert pair.heard_to_the_end() == b""


async def test_a_version_that_goes_away_ends_its_body(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    def go_away() -> None:
        raise NotFound("version", "its recovery was given up")

    content.after_piece = go_away
    body = sending(pair, content)
    with pytest.raises(NotFound):
        await body.run(threads)
    assert (body.has_begun, body.sent_bytes) == (True, 10)


class UnreadableContent(FileContent):
    """Its bytes are those of this process's memory at an address where it has none.

    Attributes:
        thrown: What who sent it said of the file.
    """

    def __init__(self, directory: Path, contents: Mapping[str, bytes]) -> None:
        super().__init__(directory, contents)
        self.thrown: list[ContentChanged] = []

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[FilePiece, None, None]:
        fd = os.open("/proc/self/mem", os.O_RDONLY)
        try:
            yield FilePiece(fd, 4096, end - start)
        except ContentChanged as error:
            self.thrown.append(error)
            raise
        finally:
            os.close(fd)


async def test_a_disk_that_cannot_read_has_not_what_was_published(
    tmp_path: Path, pair: Pair, contexts: Contexts, threads: ThreadPoolExecutor
) -> None:
    content = UnreadableContent(tmp_path, CONTENTS)
    connection, _ = await secure(pair, contexts)
    body = Sending(
        connection,
        HEAD,
        content,
        ByteRange(0, 20),
        throttle=Throttle(),
        flow=FLOW,
        drops_sent=False,
    )
    with pytest.raises(ContentChanged, match="cannot be read") as caught:
        await body.run(threads)
    assert content.thrown == [caught.value], "whoever opened the file knows which it is"


async def test_another_error_than_of_the_disk_says_nothing_about_the_files(
    tmp_path: Path, pair: Pair, threads: ThreadPoolExecutor
) -> None:
    content = UnreadableContent(tmp_path, CONTENTS)
    with pytest.raises(OSError, match="Invalid argument"):  # what sendfile says of such a file
        await sending(pair, content).run(threads)


# Limits


def limited(rate_bytes_per_s: int) -> Throttle:
    throttle = Throttle(clock=lambda: 0)
    throttle.change(Ceilings(total=rate_bytes_per_s))
    return throttle


@pytest.mark.parametrize("kind", [FileContent, MemoryContent])
async def test_what_is_sent_is_taken_from_the_limit_byte_for_byte(
    tmp_path: Path, pair: Pair, threads: ThreadPoolExecutor, kind: type[FileContent]
) -> None:
    throttle = limited(MIB)
    body = sending(pair, kind(tmp_path, CONTENTS), 3, 17, throttle)
    await body.run(threads)
    # The last byte of a file is too small to be counted.
    expected = 14 if kind is MemoryContent else 13
    assert throttle.moved_bytes[Urgency.NORMAL] == expected
    assert pair.heard(len(HEAD) + 14) == HEAD + ALL[3:17]
    assert pair.ours.getsockopt(1, 47) == MIB * 5 // 4, "the kernel spreads it"


async def test_what_was_granted_and_did_not_fit_is_given_back(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    content = FileContent(tmp_path, {"a": os.urandom(MIB)})
    throttle = limited(1024 * MIB)
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        body = sending(pair, content, throttle=throttle)
        running = asyncio.ensure_future(body.run(threads))
        data = await asyncio.to_thread(pair.heard, len(HEAD) + MIB)
        await running
    assert data == HEAD + content.data
    assert throttle.moved_bytes[Urgency.NORMAL] == body.sent_bytes - 1


async def test_what_was_granted_is_given_back_if_the_receiver_is_cut_off(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    content = FileContent(tmp_path, {"a": bytes(MIB)})
    throttle = limited(1024 * MIB)
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        body = sending(pair, content, throttle=throttle)
        with pytest.raises(TimeoutError):
            await body.run(threads)
    assert throttle.moved_bytes[Urgency.NORMAL] == body.sent_bytes


async def test_nothing_is_asked_for_as_long_as_there_is_no_room_for_it(
    content: FileContent, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    asked: list[int] = []

    def clock() -> int:
        asked.append(1)
        return 0

    throttle = Throttle(clock=clock)
    throttle.change(Ceilings(total=MIB))
    asked.clear()
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        fill(pair.ours)
        body = sending(pair, content, throttle=throttle)
        body.has_begun = True  # its head was the last that there was room for
        with pytest.raises(TimeoutError):
            await body.run(threads)
    assert asked == []


@pytest.mark.parametrize("is_in_memory", [False, True])
@pytest.mark.parametrize(("size_bytes", "leaves_at_once"), [(7, True), (512, True), (513, False)])
async def test_little_that_a_limit_grants_leaves_at_once(
    tmp_path: Path, pair: Pair, threads: ThreadPoolExecutor, *, is_in_memory: bool, size_bytes: int,
    leaves_at_once: bool,
) -> None:  # fmt: skip
    kind = MemoryContent if is_in_memory else FileContent
    content = kind(tmp_path, {"a": bytes(size_bytes), "b": b"end"})
    heard: list[bytes] = []
    content.after_piece = lambda: heard.append(unheard(pair))
    await sending(pair, content, throttle=limited(MIB)).run(threads)
    assert bool(heard[0]) is leaves_at_once


async def test_a_limit_that_was_lifted_does_not_spread_any_more(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    body = sending(pair, content)
    body._connection.pace(MIB)
    await body.run(threads)
    assert body._connection.paced_bytes_per_s is None


async def test_a_body_that_waits_for_its_turn_can_be_cancelled(
    tmp_path: Path, pair: Pair, threads: ThreadPoolExecutor
) -> None:
    throttle = Throttle()
    throttle.change(Ceilings(total=1))  # a byte a second
    while throttle.take(FLOW, KIB, unless=lambda: True):
        pass
    body = sending(pair, FileContent(tmp_path, {"a": bytes(MIB)}), throttle=throttle)
    running = asyncio.ensure_future(body.run(threads))
    await until(lambda: bool(throttle._shaper.waiting))
    running.cancel()
    try:
        async with asyncio.timeout(60):
            with pytest.raises(asyncio.CancelledError):
                await running
    finally:
        throttle.change(Ceilings())
    assert body.sent_bytes == 0
    assert not throttle._shaper.waiting


# The end before the end


async def test_cancelling_ends_the_wait_for_a_receiver_and_then_the_thread(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    content = FileContent(tmp_path, {"a": bytes(MIB)})
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        body = sending(pair, content)
        running = asyncio.ensure_future(body.run(threads))
        await until(lambda: body.sent_bytes > 0)
        running.cancel()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert threads.submit(threading.active_count).result(60), "the thread is free again"
        assert body.left_bytes > 0
        assert len(pair.heard_to_the_end()) < MIB


async def test_a_body_ends_only_when_its_thread_has_left_the_connection_alone(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    is_there, may_end = threading.Event(), threading.Event()

    def stay() -> None:
        is_there.set()
        assert may_end.wait(60)

    content.after_piece = stay
    body = sending(pair, content)
    running = asyncio.ensure_future(body.run(threads))
    await until(is_there.is_set)
    for _ in range(2):
        running.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not running.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_body_that_has_no_thread_yet_is_cancelled_and_its_connection_lives_on(
    pair: Pair, content: FileContent, threads: ThreadPoolExecutor
) -> None:
    may_end = threading.Event()
    threads.submit(may_end.wait)
    body = sending(pair, content)
    running = asyncio.ensure_future(body.run(threads))
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    may_end.set()
    assert not body.has_begun
    pair.ours.send(b"still here")
    assert pair.heard(10) == b"still here"


async def test_a_receiver_that_takes_too_little_ends_its_body(
    tmp_path: Path, threads: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    content = FileContent(tmp_path, {"a": bytes(MIB)})
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        body = sending(pair, content)
        with pytest.raises(TimeoutError, match="the receiver takes"):
            await body.run(threads)
        assert 0 < body.left_bytes < MIB


async def test_a_receiver_that_is_gone_ends_its_body(
    tmp_path: Path, threads: ThreadPoolExecutor
) -> None:
    content = FileContent(tmp_path, {"a": bytes(MIB)})
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        pair.theirs.close()
        with pytest.raises(ConnectionError):
            await sending(pair, content).run(threads)
