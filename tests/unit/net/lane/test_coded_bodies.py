"""Coded blocks over a real socket: what comes is the version, whatever the source makes of it."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import tracemalloc
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import HEAD_BYTES, NO_BASE, CodedHead
from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest, NodeId, TransferId
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder, RangeOutcome, Urgency
from ckptd.net.coded_bases import DECODED, Base, CodedAsk
from ckptd.net.connection.identity import Identity
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.coded_bodies import CodedBodies
from ckptd.net.lane.lane import AskedRange, RangeOrder, SocketLane
from ckptd.net.source.coded_blocks import CodedBlocks
from ckptd.net.source.coding_memory import CodingMemory
from ckptd.net.throttle import Throttles
from ckptd.store.files.hashing import digest_of
from ckptd.traffic.buckets import Ceilings
from ckptd.traffic.coding_choice import BodyNote
from ckptd.traffic.workload import Workload
from ckptd.wire.body_parts import LAST_PART, PART_END, part_line
from ckptd.wire.heads import response_head
from tests.support.certificates import Certificates
from tests.support.manifests import make_manifest
from tests.support.serving import (
    NODE,
    FileContent,
    MemorySink,
    scripted_source,
    serving,
    take_request,
    until,
)
from tests.support.weights import weights

BLOCK_BYTES = 256 * KIB
BOMB_BYTES = 4 * MIB


class MemoryBase:
    """A version in memory; as a node reads its own."""

    def __init__(self, content: FileContent) -> None:
        self.digest: Digest = content.digest
        self.space: AddressSpace = content.space
        self.data = content.data
        self.reads: list[int] = []
        self.is_here = True
        self.opened = 0

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        self._read(place, into)
        return self.is_here and digest_of(into) == place.digest

    @contextmanager
    def reading(self) -> Iterator[MemoryBaseReading]:
        self.opened += 1
        yield MemoryBaseReading(self)
        self.opened -= 1

    def read_unseen(self, place: BlockPlace, into: memoryview) -> bool:
        assert self.opened, "it is read only while it is open"
        self._read(place, into)
        return self.is_here

    def _read(self, place: BlockPlace, into: memoryview) -> None:
        self.reads.append(place.block)
        start = self.space.block_start(place.block)
        into[:] = self.data[start : start + place.size_bytes]


class MemoryBaseReading(NamedTuple):
    """Reads such a version, right or not."""

    base: MemoryBase

    def read(self, place: BlockPlace, into: memoryview) -> bool:
        return self.base.read_unseen(place, into)

    def read_right(self, place: BlockPlace, into: memoryview) -> bool:
        return self.read(place, into) and digest_of(into) == place.digest


class Versions(NamedTuple):
    """Two neighbours: weights of which one in twenty moved, and a small file that is new."""

    now: FileContent
    before: FileContent

    @property
    def base(self) -> MemoryBase:
        return MemoryBase(self.before)


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    made = []
    for seed in (1, 2):
        directory = tmp_path_factory.mktemp(f"version-{seed}")
        contents = {"a": weights(seed, 3 * BLOCK_BYTES), "b": b"another file" * seed}
        made.append(FileContent(directory, contents))
    return Versions(*made)


class Receiver:
    """A lane that asks for all blocks of a version at once, coded."""

    def __init__(self, content: FileContent, throttles: Throttles | None = None) -> None:
        self.content = content
        self.throttles = throttles
        self.sink = MemorySink(content.space)
        self.reports: list[Event] = []
        self.troubles: list[str] = []
        self.ended = asyncio.Event()
        self.ranges = 0
        self.notes: list[BodyNote] = []

    async def fetch(
        self,
        address: tuple[str, int],
        bases: tuple[Base, ...],
        *,
        ranges: int = 1,
        peer: tuple[Identity, NodeId] | None = None,
    ) -> RangeOutcome:
        """Ask for all blocks in so many ranges; return how they all ended."""
        space, self.ranges = self.content.space, ranges
        lane = SocketLane(
            address,
            pool=BufferPool(16 * MIB),
            report=self.note,
            peer=peer,
            throttles=self.throttles,
            note_trouble=self.troubles.append,
        )
        for number in range(ranges):
            last = space.block_count if number == ranges - 1 else number + 1
            run = BlockRun(number, last)
            lane.request(
                RangeOrder(
                    TransferId(number),
                    AskedRange.of(self.content.digest, space, run),
                    run,
                    space,
                    Urgency.NORMAL,
                    self.sink,
                    CodedAsk(bases),
                    self.notes.append,
                )
            )
        running = asyncio.ensure_future(lane.run())
        try:
            async with asyncio.timeout(60):
                await self.ended.wait()
        finally:
            lane.close()
            await running
        (outcome,) = set(self.outcomes)
        return outcome

    def note(self, *reports: Event) -> None:
        self.reports += reports
        if len(self.outcomes) == self.ranges:
            self.ended.set()

    @property
    def outcomes(self) -> list[RangeOutcome]:
        return [each.outcome for each in self.reports if isinstance(each, RangeEnded)]

    @property
    def rejected(self) -> list[int]:
        """The blocks for which the source is blamed."""
        progress = (each for each in self.reports if isinstance(each, RangeProgressed))
        return [block for each in progress for block in each.rejected]

    @property
    def received_bytes(self) -> int:
        return max(
            each.received_bytes for each in self.reports if isinstance(each, RangeProgressed)
        )


@asynccontextmanager
async def source(
    versions: Versions, *bases: Base, cores: float = 1000.0, memory: CodingMemory | None = None
) -> AsyncIterator[tuple[str, int]]:
    versions.now.bases = {base.digest: base for base in bases}
    versions.now.sent.clear()
    async with serving(versions.now, coding_cores=cores) as node:
        lent = node.server.coding.memory = memory or CodingMemory()
        yield node.address
        await until(lambda: not node.server.sendings)
        assert lent.left_bytes == lent.size_bytes, "what was borrowed is given back"


async def test_what_both_ends_have_travels_as_a_difference(versions: Versions) -> None:
    receiver, mine, theirs = Receiver(versions.now), versions.base, versions.base
    async with source(versions, theirs) as address:
        assert await receiver.fetch(address, (mine,)) is RangeOutcome.DELIVERED
    assert bytes(receiver.sink.data) == versions.now.data
    sent_bytes = versions.now.sent["normal"]
    assert sent_bytes < len(versions.now.data) / 8
    assert receiver.received_bytes == len(versions.now.data), "the scheduler counts plain bytes"
    assert [each.is_coded for each in receiver.reports if isinstance(each, RangeEnded)] == [True]
    assert mine.reads == theirs.reads == [0, 1, 2]


async def test_limits_of_the_link_count_what_is_sent_and_those_of_the_disk_what_is_written(
    versions: Versions,
) -> None:
    throttles, mine, theirs = Throttles.create(), versions.base, versions.base
    for throttle in (throttles.ingress, throttles.disk_write):
        throttle.change(Ceilings(total=1024 * MIB))
    receiver = Receiver(versions.now, throttles)
    versions.now.bases = {theirs.digest: theirs}
    async with serving(versions.now, coding_cores=1000.0) as node:
        node.server.throttle.change(Ceilings(total=1024 * MIB))
        assert await receiver.fetch(node.address, (mine,)) is RangeOutcome.DELIVERED
    (note,) = receiver.notes
    assert note.sent_bytes < note.plain_bytes / 8
    for throttle in (node.server.throttle, throttles.ingress):
        assert throttle.moved_bytes[Urgency.NORMAL] == pytest.approx(note.sent_bytes, rel=0.01)
    assert throttles.disk_write.moved_bytes[Urgency.NORMAL] == note.plain_bytes
    assert receiver.received_bytes == note.plain_bytes


async def test_without_a_base_planes_travel_and_without_time_plain_blocks(
    versions: Versions,
) -> None:
    for cores, share in ((1000.0, 0.75), (0.0, 1.01)):
        receiver = Receiver(versions.now)
        async with source(versions, cores=cores) as address:
            assert await receiver.fetch(address, ()) is RangeOutcome.DELIVERED
        assert bytes(receiver.sink.data) == versions.now.data
        sent = versions.now.sent["normal"] / len(versions.now.data)
        assert share * 0.8 < sent < share


async def test_a_base_that_only_one_end_has_is_not_used(versions: Versions) -> None:
    receiver, mine = Receiver(versions.now), versions.base
    async with source(versions) as address:
        assert await receiver.fetch(address, (mine,)) is RangeOutcome.DELIVERED
    assert bytes(receiver.sink.data) == versions.now.data
    assert not mine.reads


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_base_that_rotted_at_the_source_is_not_used(
    versions: Versions, is_noticed: bool
) -> None:
    receiver, mine, theirs = Receiver(versions.now), versions.base, versions.base
    if is_noticed:
        theirs.is_here = False
    else:
        theirs.data = bytes(byte ^ 1 for byte in theirs.data)
    async with source(versions, theirs) as address:
        assert await receiver.fetch(address, (mine,)) is RangeOutcome.DELIVERED
    assert bytes(receiver.sink.data) == versions.now.data
    assert not mine.reads


async def test_what_one_receiver_got_coded_another_one_gets_without_reading_it(
    versions: Versions,
) -> None:
    receivers = Receiver(versions.now), Receiver(versions.now)
    theirs, reads = versions.base, list[int]()
    async with source(versions, theirs) as address:
        versions.now.after_piece = lambda: reads.append(1)
        for receiver in receivers:
            assert await receiver.fetch(address, (versions.base,)) is RangeOutcome.DELIVERED
        versions.now.after_piece = lambda: None
    assert [bytes(receiver.sink.data) for receiver in receivers] == [versions.now.data] * 2
    assert theirs.reads == [0, 1, 2]
    assert len(reads) == 3 + 3, "the little one is tried once, and goes from its file to both"


async def test_a_block_that_rotted_at_the_source_is_coded_for_nobody(
    versions: Versions, tmp_path: Path
) -> None:
    content = FileContent(tmp_path, {"a": versions.now.data[: 3 * BLOCK_BYTES]})
    facts = (tmp_path / "a").stat()
    with (tmp_path / "a").open("r+b") as file:
        file.seek(BLOCK_BYTES + 9)
        file.write(b"rot")
    os.utime(tmp_path / "a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    receiver = Receiver(content)
    async with source(Versions(content, versions.before), versions.base) as address:
        assert await receiver.fetch(address, (versions.base,)) is RangeOutcome.DISCONNECTED
    assert not any(receiver.sink.data[BLOCK_BYTES:])
    assert content.is_stale, "the source knows that its file is bad"


@pytest.mark.parametrize("is_noticed", [True, False])
async def test_a_base_that_rotted_here_ends_the_range_and_blames_nobody(
    versions: Versions, is_noticed: bool
) -> None:
    """Whether its file cannot be read, or is another one and nothing but its digests shows it."""
    receiver, mine = Receiver(versions.now), versions.base
    if is_noticed:
        mine.is_here = False
    else:
        mine.data = bytes(1000) + mine.data[1000:]
    async with source(versions, versions.base) as address:
        assert await receiver.fetch(address, (mine,), ranges=3) is RangeOutcome.CLOSED
    assert not any(receiver.sink.data)
    assert not receiver.troubles
    assert not receiver.rejected
    assert not mine.opened


async def test_of_several_blocks_at_once_one_base_that_rotted_here_blames_nobody(
    versions: Versions,
) -> None:
    receiver, mine = Receiver(versions.now), versions.base
    mine.data = mine.data[:-3000] + bytes(3000)  # of the last block
    async with source(versions, versions.base) as address:
        assert await receiver.fetch(address, (mine,)) is RangeOutcome.CLOSED
    assert not receiver.troubles
    assert not receiver.rejected
    assert bytes(receiver.sink.data[:BLOCK_BYTES]) == versions.now.data[:BLOCK_BYTES]


def lies(script: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def play(connection: socket.socket) -> None:
        take_request(connection)
        fields = {"Transfer-Encoding": "chunked", "Ckptd-Node": "node-a"}
        connection.sendall(response_head(200, fields))
        script(connection)

    return play


def part(content: bytes) -> bytes:
    return part_line(len(content)) + content + PART_END


def coded_lie() -> bytes:
    """Return a first block that is coded well, and is another one."""
    block = bytes(BLOCK_BYTES)
    return BlockCoding().encode(block, Coder.DELTA, 2, base=b"\1" * BLOCK_BYTES, base_number=0)


PLAIN_LIE = CodedHead(Coder.PLAIN, coded_bytes=BLOCK_BYTES).encoded() + bytes(BLOCK_BYTES)
BOMB = (
    CodedHead(Coder.ZSTD, 1, NO_BASE, 20).encoded() + b"\x28\xb5\x2f\xfd\xa0\0\0\0\x80" + bytes(11)
)


@pytest.mark.parametrize(
    ("sent", "outcome"),
    [
        (part(PLAIN_LIE), RangeOutcome.SPOILED),
        (part(coded_lie()), RangeOutcome.SPOILED),
        (part(BOMB), RangeOutcome.MISBEHAVED),
        (b"ffffffff\r\n", RangeOutcome.MISBEHAVED),
        (b"0\r\n\r\n", RangeOutcome.MISBEHAVED),
        (b"12345678901234567890", RangeOutcome.MISBEHAVED),
        (part(CodedHead(Coder.ZSTD, 1, NO_BASE, 9).encoded()), RangeOutcome.MISBEHAVED),
        (part_line(HEAD_BYTES + 9) + coded_lie(), RangeOutcome.MISBEHAVED),
        (part(PLAIN_LIE)[:-2] + b"xx", RangeOutcome.MISBEHAVED),
        (part(PLAIN_LIE)[:-9], RangeOutcome.DISCONNECTED),
        (LAST_PART, RangeOutcome.MISBEHAVED),
    ],
)
async def test_a_source_that_lies_is_blamed_and_no_wrong_byte_is_written(
    versions: Versions, sent: bytes, outcome: RangeOutcome
) -> None:
    receiver = Receiver(versions.now)
    with scripted_source(lies(lambda connection: connection.sendall(sent))) as address:
        assert await receiver.fetch(address, (versions.base,)) is outcome
    assert not any(receiver.sink.data)
    assert receiver.rejected == ([0] if outcome is RangeOutcome.SPOILED else [])


class Arriving:
    """A body that arrives piece by piece.

    Args:
        body: All of it.
        sizes: How much of it is there at a time; then one byte after the other.
    """

    def __init__(self, body: bytes, sizes: Sequence[int] = ()) -> None:
        self.left = body
        self.calls = 0
        self._sizes = deque(sizes)
        self._here = 0

    def peek(self, size_bytes: int) -> bytes:
        self.calls += 1
        if not self._here:
            self._here = self._sizes.popleft() if self._sizes else 1
        return self.left[: min(self._here, size_bytes)]

    def take(self, size_bytes: int) -> bytes:
        taken = self.peek(size_bytes)
        self.left = self.left[len(taken) :]
        self._here -= len(taken)
        return taken

    def fill(self, memory: memoryview) -> None:
        memory[:], self.left = self.left[: len(memory)], self.left[len(memory) :]


def taken_from(arriving: Arriving, versions: Versions) -> bytes:
    """Return the first three blocks and take the end of the body behind them."""
    bodies = CodedBodies(arriving.peek, arriving.take, arriving.fill)
    blocks = b""
    space = versions.now.space
    for place in space.places((0, 3)):
        into = memoryview(bytearray(place.size_bytes))
        bodies.block(place, space, (versions.base,), into)
        blocks += into
    bodies.end()
    return blocks


def body_of(versions: Versions) -> bytes:
    coding, body = BlockCoding(), b""
    for start in range(0, 3 * BLOCK_BYTES, BLOCK_BYTES):
        block, base = (
            each.data[start : start + BLOCK_BYTES] for each in (versions.now, versions.before)
        )
        body += part(coding.encode(block, Coder.DELTA, 2, base=base, base_number=0))
    return body + LAST_PART


@given(sizes=st.lists(st.integers(1, 40), max_size=40))
def test_however_a_body_arrives_its_blocks_are_the_same(
    versions: Versions, sizes: list[int]
) -> None:
    arriving = Arriving(body_of(versions) + b"HTTP/1.1 200", sizes)
    assert taken_from(arriving, versions) == versions.now.data[: 3 * BLOCK_BYTES]
    assert arriving.left == b"HTTP/1.1 200", "no byte of what follows is taken"


def test_what_stands_before_a_block_is_not_taken_byte_by_byte(versions: Versions) -> None:
    arriving = Arriving(body_of(versions), [1 << 30] * 100)
    taken_from(arriving, versions)
    assert arriving.calls <= 3 * 4 + 1


@pytest.mark.parametrize("coder", sorted(DECODED))
def test_a_bomb_takes_no_more_memory_than_two_blocks_on_a_lane(
    coder: Coder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the memory into which the block goes."""

    def page_buffer(size_bytes: int) -> memoryview:
        return memoryview(bytearray(size_bytes))  # which is counted

    monkeypatch.setattr("ckptd.net.lane.coded_bodies.page_buffer", page_buffer)
    was = bytes(BOMB_BYTES)
    space = AddressSpace(make_manifest({"a": was}, block_size_bytes=BOMB_BYTES))
    base = MemoryBase(cast("Any", SimpleNamespace(space=space, data=was, digest=Digest("0" * 64))))
    block = was if coder in {Coder.SPARSE, Coder.NIBBLES} else b"\1" * BOMB_BYTES
    bomb = BlockCoding().encode(block, coder, 2, base=was, base_number=0)
    arriving = Arriving(part(bomb))
    bodies = CodedBodies(arriving.peek, arriving.take, arriving.fill)
    into = page_buffer(BOMB_BYTES)
    tracemalloc.start()
    bodies.block(next(space.places((0, 1))), space, (base,), into)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert into == block
    assert len(bomb) < BOMB_BYTES / 500
    assert peak < 2 * BOMB_BYTES + 2 * MIB, "two blocks, and some slices of one"


async def test_who_was_replaced_by_what_knows_no_coded_blocks_is_not_blamed(
    versions: Versions,
) -> None:
    def refuse(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(response_head(400, {"Content-Length": "0", "Ckptd-Node": "node-a"}))

    receiver = Receiver(versions.now)
    with scripted_source(refuse) as address:
        assert await receiver.fetch(address, (), ranges=2) is RangeOutcome.CLOSED
    assert [note.is_refused for note in receiver.notes] == [True]
    assert not receiver.troubles


async def test_a_source_counts_what_it_gets_done_and_codes_beside_its_loop(
    versions: Versions, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[tuple[int, int]] = []
    threads: list[str] = []

    def end(workload: Workload, size_bytes: int, sent_bytes: int, *, now: int) -> None:
        ends.append((size_bytes, sent_bytes))

    class Noted(CodedBlocks):
        def __init__(self, *args: Any) -> None:  # noqa: ANN401 (whatever it takes)
            threads.append(threading.current_thread().name)
            super().__init__(*args)

    monkeypatch.setattr(Workload, "end", end)
    monkeypatch.setattr("ckptd.net.source.coded_blocks.CodedBlocks", Noted)
    async with source(versions, versions.base) as address:
        assert await Receiver(versions.now).fetch(address, (versions.base,)) is (
            RangeOutcome.DELIVERED
        )
    assert ends == [(len(versions.now.data), len(versions.now.data))], "as it counts the load"
    assert [name.startswith("send-") for name in threads] == [True]


async def test_without_memory_to_code_blocks_go_from_their_files_as_they_are(
    versions: Versions,
) -> None:
    for memory, share in ((CodingMemory(5 * BLOCK_BYTES), 0.1), (CodingMemory(BLOCK_BYTES), 1.01)):
        receiver = Receiver(versions.now)
        async with source(versions, versions.base, memory=memory) as address:
            assert await receiver.fetch(address, (versions.base,)) is RangeOutcome.DELIVERED
        assert bytes(receiver.sink.data) == versions.now.data
        sent = versions.now.sent["normal"] / len(versions.now.data)
        assert share * 0.3 < sent < share


async def test_without_memory_what_another_one_got_coded_goes_as_it_is(versions: Versions) -> None:
    memory, receivers = (
        CodingMemory(5 * BLOCK_BYTES),
        (Receiver(versions.now), Receiver(versions.now)),
    )
    async with source(versions, versions.base, memory=memory) as address:
        assert await receivers[0].fetch(address, (versions.base,)) is RangeOutcome.DELIVERED
        coded_bytes = versions.now.sent["normal"]
        await until(lambda: memory.borrow(BLOCK_BYTES))  # somebody else who takes it slowly
        assert await receivers[1].fetch(address, (versions.base,)) is RangeOutcome.DELIVERED
        plain_bytes = versions.now.sent["normal"] - coded_bytes
        memory.give_back(BLOCK_BYTES)
    assert coded_bytes < len(versions.now.data) / 8 < len(versions.now.data) <= plain_bytes
    assert [bytes(receiver.sink.data) for receiver in receivers] == [versions.now.data] * 2


async def test_a_file_that_changes_while_it_goes_as_it_is_leaves_its_block_unfinished(
    versions: Versions, tmp_path: Path
) -> None:
    content = FileContent(tmp_path, {"a": versions.now.data})
    content.after_piece = lambda: os.utime(tmp_path / "a", ns=(1, 1))
    receiver = Receiver(content)
    async with source(Versions(content, versions.before), memory=CodingMemory(0)) as address:
        assert await receiver.fetch(address, ()) is RangeOutcome.DISCONNECTED
    assert not any(receiver.sink.data)
    assert content.is_stale


async def test_coded_blocks_come_through_tls(versions: Versions, tmp_path: Path) -> None:
    receiver, base = Receiver(versions.now), versions.base
    versions.now.bases = {base.digest: base}
    certificates = Certificates(tmp_path)
    host, own = certificates.identity(NODE), certificates.identity(NodeId("node-b"))
    async with serving(versions.now, identity=host, coding_cores=1000.0) as node:
        outcome = await receiver.fetch(node.address, (base,), ranges=3, peer=(own, NODE))
    assert outcome is RangeOutcome.DELIVERED
    assert bytes(receiver.sink.data) == versions.now.data
