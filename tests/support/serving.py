"""Both ends of a lane: a node that serves real files, hostile sources, a receiver."""

import asyncio
import functools
import inspect
import os
import socket
import ssl
import threading
from collections import Counter
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from blake3 import blake3

from ckptd.core.events import Event, RangeEnded, RangeProgressed
from ckptd.errors import ContentChanged, NotFound
from ckptd.limits import MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.holdings import Holding, Holdings, delta_between
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, TransferId, Version
from ckptd.model.manifest import encode_manifest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.net.coded_bases import Base
from ckptd.net.connection.identity import Identity
from ckptd.net.content_coding import Lent, compressed
from ckptd.net.lane.buffers import BufferPool
from ckptd.net.lane.lane import AskedRange, BlockSink, RangeOrder, SocketLane
from ckptd.net.source.answers import StoodBy, VersionBody
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.listener import Listener
from ckptd.net.source.server import PeerServer, ServedBytes
from ckptd.net.throttle import Throttles
from ckptd.wire.body_parts import PART_END, parse_part_line
from ckptd.wire.byte_ranges import ByteRange
from ckptd.wire.heads import ResponseHead, parse_response_head, request_head
from ckptd.wire.holdings_document import encode_delta, encode_holdings
from tests.support.loops import BOTH, NewLoop
from tests.support.manifests import make_manifest

Address = tuple[str, int]

NODE = NodeId("node-a")
EPOCH = Epoch(7)
PATIENCE_S = 60.0
"""Nothing in these tests takes so long; a test that hangs fails by it."""


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on asyncio's loop and on uvloop."""

    def run(new_loop: NewLoop, **fixtures: object) -> None:
        async def limited() -> None:
            async with asyncio.timeout(PATIENCE_S):
                await test(**fixtures)

        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(limited())

    functools.update_wrapper(run, test)
    del run.__wrapped__  # type: ignore[attr-defined]
    named = inspect.signature(test).parameters.values()
    new_loop = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = inspect.Signature([*named, new_loop])  # type: ignore[attr-defined]
    parametrize = pytest.mark.parametrize("new_loop", BOTH)
    marked: Callable[..., None] = parametrize(run)
    return marked


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for something that nothing tells of."""
    while not is_so():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


class FilePiece(NamedTuple):
    fd: int
    offset: int
    size_bytes: int
    data: memoryview | None = None


def _lent(body: bytes) -> Lent:
    coded = compressed(body)
    return Lent(body) if coded is None else Lent(coded, is_coded=True)


class FileContent:
    """One version in the files of a directory, as a daemon serves it."""

    def __init__(
        self, directory: Path, contents: Mapping[str, bytes], *, held: BlockSet | None = None
    ) -> None:
        for path, content in contents.items():
            (directory / path).write_bytes(content)
        manifest = make_manifest(contents)
        self.directory = directory
        self.encoded = encode_manifest(manifest)
        self.digest = Digest(blake3(self.encoded).hexdigest())
        self.space = AddressSpace(manifest)
        self.data = b"".join(contents[unit.path] for unit in manifest.units)
        self.held = BlockSet.full(self.space.block_count) if held is None else held
        self.node = NODE
        self.shown = ""
        self.is_stale = False
        self.sent: Counter[str] = Counter()
        self.questions: list[tuple[BlockSet, str]] = []
        self.receivers: list[tuple[str, ByteRange]] = []
        self.wrong = BlockSet()
        self.after_piece: Callable[[], None] = lambda: None
        self.bases: dict[Digest, Base] = {}
        self.revision = 1
        self._changed = asyncio.Event()
        self._stats = {path: self._stat(directory / path) for path in contents}

    @property
    def size_bytes(self) -> int:
        return self.space.size_bytes

    def holds(self, start: int, end: int) -> bool:
        first, last = self.space.block_start, self.held.runs()
        return any(first(run.start) <= start and end <= first(run.end) for run in last)

    def is_right(self, place: BlockPlace, block: memoryview) -> bool:
        return blake3(block).digest() == place.digest

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[FilePiece, None, None]:
        for extent in self.space.extents(start, end):
            path = self.space.manifest.units[extent.unit].path
            fd = os.open(self.directory / path, os.O_RDONLY)
            try:
                self._check(path)
                yield FilePiece(fd, extent.offset, extent.size_bytes)
                self.after_piece()
                self._check(path)
            finally:
                os.close(fd)

    def _check(self, path: str) -> None:
        if self._stat(self.directory / path) != self._stats[path]:
            raise ContentChanged(f"file {self.directory / path}", "changed")

    @staticmethod
    def _stat(path: Path) -> tuple[int, int]:
        facts = path.stat()
        return facts.st_size, facts.st_mtime_ns

    def change(self) -> None:
        """Hold something else from now on."""
        self.revision += 1
        self._changed.set()

    def holdings(self) -> Holdings:
        space = self.space
        holding = Holding(
            checkpoint=CheckpointName(space.manifest.checkpoint),
            version=Version(space.manifest.version),
            digest=self.digest,
            size_bytes=space.size_bytes,
            block_count=space.block_count,
            blocks=self.held,
        )
        return Holdings(self.node, EPOCH, self.revision, (holding,))

    def holdings_document(self) -> bytes:
        return encode_holdings(self.holdings())

    def holdings_delta(self, since: int) -> bytes | None:
        """Remember one revision; that it is another is all that ever changes."""
        if since != self.revision - 1:
            return None
        now = self.holdings()
        return encode_delta(delta_between(replace(now, revision=since), now))

    async def wait_change(self, revision: int) -> None:
        while self.revision == revision:
            await self._changed.wait()

    async def addresses(self) -> str:
        return self.shown

    async def manifest(self, digest: Digest) -> bytes:
        if digest != self.digest:
            raise NotFound(f"manifest {digest}", "is not here")
        return self.encoded

    async def coded_manifest(self, digest: Digest) -> Lent:
        return _lent(await self.manifest(digest))

    async def signatures(self, digest: Digest) -> bytes:
        raise NotFound(f"manifest {digest}", "is not signed")

    async def attributes(self, digest: Digest) -> bytes:
        raise NotFound(f"manifest {digest}", "has no attributes")

    async def coded_attributes(self, digest: Digest) -> Lent:
        return _lent(await self.attributes(digest))

    async def open_base(self, checkpoint: CheckpointName, digest: Digest) -> Base | None:
        return self.bases.get(digest)

    async def open_version(self, digest: Digest) -> ServedBytes:
        if digest != self.digest:
            raise NotFound(f"version {digest}", "is not here")
        if self.is_stale:
            raise ContentChanged(f"directory {self.directory}", "changed")
        return self

    async def stand_by(self, digest: Digest, blocks: BlockSet, asker: str) -> StoodBy:
        self.questions.append((blocks, asker))
        return StoodBy(blocks & self.wrong, is_held=not blocks & self.wrong)

    def sending(self, body: VersionBody, receiver: str) -> None:
        self.receivers.append((receiver, body.byte_range))

    def content_changed(self, digest: Digest) -> None:
        assert digest == self.digest
        self.is_stale = True

    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        self.sent[criticality_label] += size_bytes


class Node(NamedTuple):
    """A node that serves."""

    address: Address
    server: PeerServer
    listener: Listener


@asynccontextmanager
async def serving(
    content: FileContent,
    caps: ConnectionCaps | None = None,
    *,
    identity: Identity | None = None,
    node: NodeId = NODE,
    coding_cores: float = 0.0,
) -> AsyncIterator[Node]:
    caps = caps or ConnectionCaps()
    server = PeerServer(
        content, node=node, epoch=EPOCH, caps=caps, identity=identity, coding_cores=coding_cores
    )
    listener = Listener.bind("127.0.0.1", 0, caps)
    async with asyncio.TaskGroup() as group:
        group.create_task(listener.serve(server.serve))
        try:
            yield Node(listener.address, server, listener)
        finally:
            server.drain()
            await listener.drain(timeout_s=0)
            server.close()


class Response(NamedTuple):
    """A response as a client sees it."""

    status: int
    fields: Mapping[str, str]
    body: bytes


class Client:
    """A connection to a node that says what a test wants it to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def head(self) -> ResponseHead:
        return parse_response_head(await self.reader.readuntil(b"\r\n\r\n"), in_parts=True)

    async def response(self, method: str = "GET") -> Response:
        head = await self.head()
        if head.comes_in_parts:
            return Response(head.status, head.fields, await self._parts())
        has_body = method == "GET" and head.status != 304
        body = await self.reader.readexactly(head.content_length or 0) if has_body else b""
        return Response(head.status, head.fields, body)

    async def _parts(self) -> bytes:
        body = b""
        while size_bytes := parse_part_line(await self.reader.readuntil(PART_END)):
            body += await self.reader.readexactly(size_bytes)
            await self.reader.readexactly(len(PART_END))
        await self.reader.readexactly(len(PART_END))
        return body

    async def ask(self, target: str, method: str = "GET", **fields: str) -> Response:
        self.send(request(target, method, **fields))
        return await self.response(method)

    async def ended(self) -> bool:
        """Wait for the end of the connection; tell whether nothing came before it."""
        try:
            return await self.reader.read() == b""
        except ConnectionResetError:
            return True


def request(target: str, method: str = "GET", **fields: str) -> bytes:
    """Write a request; ``if_range="x"`` becomes the field ``If-Range: x``."""
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return request_head(target, {"Host": "test", **named}, method=method)


@asynccontextmanager
async def client_of(
    address: Address, context: ssl.SSLContext | None = None
) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


Script = Callable[[socket.socket], None]


@contextmanager
def scripted_source(*scripts: Script) -> Iterator[Address]:
    """Listen; play one script on each connection that comes, then close it."""
    failures: list[BaseException] = []

    def play() -> None:
        for script in scripts:
            try:
                connection, _ = listening.accept()
            except OSError:
                return  # the test is over
            connection.settimeout(PATIENCE_S)
            with connection, suppress(ConnectionError):
                try:
                    script(connection)
                except AssertionError as failure:
                    failures.append(failure)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=play, name="source")
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    for failure in failures:
        raise failure


def take_request(connection: socket.socket) -> bytes:
    """Read one request head.

    A script that closes with requests unread makes the kernel reset the connection.
    """
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(1)
        if not received:
            raise ConnectionResetError
        head += received
    return head


class MemorySink:
    """Verifies blocks as the store does and keeps them."""

    def __init__(self, space: AddressSpace) -> None:
        self.data = bytearray(space.size_bytes)
        self.delivered: list[int] = []
        self._space = space

    def deliver(self, places: Sequence[BlockPlace], data: memoryview) -> tuple[int, ...]:
        rejected = []
        position = 0
        for place in places:
            block = data[position : position + place.size_bytes]
            position += place.size_bytes
            if blake3(block).digest() == place.digest:
                start = self._space.block_start(place.block)
                self.data[start : start + place.size_bytes] = block
                self.delivered.append(place.block)
            else:
                rejected.append(place.block)
        assert position == len(data)
        return tuple(rejected)


class Receiver:
    """A lane and what it reported."""

    def __init__(
        self,
        address: Address,
        content: FileContent,
        sink: BlockSink,
        *,
        pool: BufferPool | None = None,
        peer: tuple[Identity, NodeId] | None = None,
        throttles: Throttles | None = None,
        urgency: Urgency = Urgency.CRITICAL,
    ) -> None:
        self.content = content
        self.urgency = urgency
        self.sink = sink
        self.reports: list[Event] = []
        self.troubles: list[str] = []
        self.threads: set[threading.Thread] = set()
        self._arrived = asyncio.Event()
        self._last = 0
        self.lane = SocketLane(
            address,
            pool=pool or BufferPool(64 * MIB),
            report=self._report,
            peer=peer,
            throttles=throttles,
            note_trouble=self.troubles.append,
        )

    def _report(self, *reports: Event) -> None:
        self.threads.add(threading.current_thread())
        self.reports.extend(reports)
        self._arrived.set()

    def fetch(self, start: int = 0, end: int | None = None) -> TransferId:
        """Order the blocks ``start`` … ``end - 1``."""
        self._last += 1
        transfer = TransferId(self._last)
        run = BlockRun(start, self.content.space.block_count if end is None else end)
        self.lane.request(
            RangeOrder(
                transfer=transfer,
                asked=AskedRange.of(self.content.digest, self.content.space, run),
                blocks=run,
                space=self.content.space,
                urgency=self.urgency,
                sink=self.sink,
            )
        )
        return transfer

    @property
    def ends(self) -> list[RangeEnded]:
        return [report for report in self.reports if isinstance(report, RangeEnded)]

    @property
    def progress(self) -> list[RangeProgressed]:
        return [report for report in self.reports if isinstance(report, RangeProgressed)]

    @property
    def outcomes(self) -> list[RangeOutcome]:
        return [report.outcome for report in self.ends]

    async def reported(self, is_so: Callable[[], bool]) -> None:
        """Wait until the reports are such that a condition holds."""
        while not is_so():
            self._arrived.clear()
            await self._arrived.wait()

    async def ended(self, count: int = 1) -> list[RangeOutcome]:
        """Wait until so many orders have ended; return how."""
        await self.reported(lambda: len(self.ends) >= count)
        return self.outcomes


@asynccontextmanager
async def receiving(
    address: Address,
    content: FileContent,
    *,
    sink: BlockSink | None = None,
    pool: BufferPool | None = None,
    peer: tuple[Identity, NodeId] | None = None,
) -> AsyncIterator[Receiver]:
    receiver = Receiver(address, content, sink or MemorySink(content.space), pool=pool, peer=peer)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(receiver.lane.run())
        try:
            yield receiver
        finally:
            receiver.lane.close()
            await asyncio.wait([task])
