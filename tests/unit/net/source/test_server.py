"""One accepted connection: what is read off it, what is answered, and how it ends."""

import asyncio
import fcntl
import json
import os
import socket
import ssl
import termios
import threading
from array import array
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import pytest

from ckptd.errors import NotFound
from ckptd.limits import HEAD_BYTES_MAX, KIB, MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import RefusalReason, Urgency
from ckptd.net.connection.identity import Identity
from ckptd.net.source import server as server_module
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.server import PeerServer
from ckptd.traffic.workload import BODIES_MIN
from ckptd.wire.heads import ResponseHead, head_end, parse_response_head
from tests.support.certificates import A, B, Certificates, client_context
from tests.support.pairs import Pair, connected_pair, secure_end
from tests.support.serving import EPOCH, FileContent, request, until

NODE = NodeId("node-a")
PATIENCE_S = 60.0


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    return FileContent(tmp_path, {"a": b"0123456789", "c": b"abcdefghij"})


@pytest.fixture
def big(tmp_path: Path) -> FileContent:
    """More than fits between the two ends."""
    return FileContent(tmp_path, {"big": os.urandom(MIB)})


def version_of(content: FileContent) -> str:
    return f"/v1/checkpoints/{content.digest}"


def unread_bytes(connection: socket.socket) -> int:
    """Return how much has come that nobody has read."""
    unread = array("i", [0])
    fcntl.ioctl(connection, termios.FIONREAD, unread)
    return unread[0]


def one_place() -> ConnectionCaps:
    """Let an idle connection give way at once."""
    moments = count()
    return ConnectionCaps(per_address_max=1, clock=lambda: float(next(moments)))


class Visit:
    """A connection that is being served, and the peer at its other end.

    The peer's socket does not block; the connection is closed when it was served, as the listener
    does it.
    """

    def __init__(self, server: PeerServer, pair: Pair) -> None:
        self.server = server
        self.pair = pair
        self.buffer = b""
        self._loop = asyncio.get_running_loop()
        pair.theirs.setblocking(False)
        if not server.caps.enter(pair.ours, "10.0.0.1", lambda: None):
            server.caps.turn_away(pair.ours, "10.0.0.1", lambda: None)
        self.task = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        try:
            await self.server.serve(self.pair.ours)
        finally:
            self.server.caps.leave(self.pair.ours)
            self.pair.ours.close()

    def send(self, data: bytes) -> None:
        assert self.pair.theirs.send(data) == len(data)

    async def _receive(self) -> bytes:
        return await self._loop.sock_recv(self.pair.theirs, 2**16)

    async def head(self) -> ResponseHead:
        while head_end(self.buffer) is None:
            part = await self._receive()
            assert part, "the connection ended"
            self.buffer += part
        end = head_end(self.buffer)
        head, self.buffer = self.buffer[:end], self.buffer[end:]
        return parse_response_head(head)

    async def body(self, size_bytes: int) -> bytes:
        while len(self.buffer) < size_bytes:
            part = await self._receive()
            assert part, f"the connection ended after {len(self.buffer)} bytes"
            self.buffer += part
        body, self.buffer = self.buffer[:size_bytes], self.buffer[size_bytes:]
        return body

    async def answer(self) -> tuple[int, bytes]:
        head = await self.head()
        return head.status, await self.body(head.content_length or 0)

    async def ask(self, target: str, **fields: str) -> tuple[int, bytes]:
        self.send(request(target, **fields))
        return await self.answer()

    async def end(self) -> bytes:
        """Return what else comes before the connection is closed.

        Raises:
            ConnectionResetError: It was reset.
        """
        while part := await self._receive():
            self.buffer += part
        return self.buffer


@asynccontextmanager
async def visiting(
    content: FileContent,
    *,
    buffer_bytes: int | None = None,
    identity: Identity | None = None,
    caps: ConnectionCaps | None = None,
) -> AsyncIterator[Visit]:
    server = PeerServer(
        content,
        node=NODE,
        epoch=EPOCH,
        caps=caps or ConnectionCaps(),
        identity=identity,
    )
    with connected_pair(buffer_bytes=buffer_bytes) as pair:
        visit = Visit(server, pair)
        try:
            async with asyncio.timeout(PATIENCE_S):
                yield visit
        finally:
            pair.theirs.close()
            visit.task.cancel()
            await asyncio.wait([visit.task])
            server.close()
    assert server.load_bytes == 0
    assert not server.sendings
    for workload in server.workloads.values():
        assert (workload.body_count, workload.load_bytes) == (0, 0)


# Answers


async def test_every_answer_says_whose_it_is(content: FileContent) -> None:
    async with visiting(content) as visit:
        visit.send(request("/v1/holdings"))
        head = await visit.head()
        assert head.status == 200
        assert head.fields["ckptd-node"] == NODE
        assert head.fields["ckptd-epoch"] == str(EPOCH)
        assert head.fields["ckptd-load"] == "0"
        assert head.fields["connection"] == "keep-alive"
        assert head.fields["date"].endswith(" GMT")


async def test_bodies_come_in_the_order_of_their_requests(content: FileContent) -> None:
    async with visiting(content) as visit:
        visit.send(
            request(version_of(content), range="bytes=0-14")
            + request("/v1/nothing")
            + request(version_of(content), range="bytes=7-9")
        )
        assert await visit.answer() == (206, content.data[:15])
        assert (await visit.answer())[0] == 404
        assert await visit.answer() == (206, content.data[7:10])
    assert content.sent == {"normal": 18}


async def test_the_class_of_a_request_is_that_of_its_body(content: FileContent) -> None:
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content), ckptd_class="deferred"))[0] == 200
        tos = visit.pair.ours.getsockopt(socket.IPPROTO_IP, socket.IP_TOS)
        assert tos >> 2 == 8
    assert content.sent == {"deferred": 20}


async def test_a_head_is_answered_without_a_body(content: FileContent) -> None:
    async with visiting(content) as visit:
        for target in ("/v1/holdings", f"/v1/manifests/{content.digest}", version_of(content)):
            visit.send(request(target, "HEAD"))
            head = await visit.head()
            assert head.status == 200
            assert head.content_length
        assert (await visit.ask("/v1/holdings"))[0] == 200
        assert visit.buffer == b""


async def test_what_is_not_modified_has_no_length(content: FileContent) -> None:
    async with visiting(content) as visit:
        visit.send(request(version_of(content), if_none_match="*"))
        head = await visit.head()
        assert (head.status, head.content_length) == (304, None)
        visit.send(request("/v1/nothing", "HEAD"))
        assert (await visit.head()).content_length


async def test_a_long_answer_from_memory_comes_whole(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_PART_BYTES", 100)
    for size_bytes in (99, 100, 101, 200, 201, 1001):
        content.encoded = os.urandom(size_bytes)
        async with visiting(content) as visit:
            answer = await visit.ask(f"/v1/manifests/{content.digest}")
            assert answer == (200, content.encoded)


async def test_the_load_is_what_was_promised_and_is_not_sent(big: FileContent) -> None:
    async with visiting(big, buffer_bytes=16 * KIB) as visit:
        visit.send(request(version_of(big)))
        await visit.head()
        await until(lambda: 0 < visit.server.load_bytes < MIB)
        assert await visit.body(MIB) == big.data


# How long a connection lives


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        (request("/v1/holdings", connection="close"), False),
        (b"GET /v1/holdings HTTP/1.0\r\n\r\n", False),
        (b"GET /v1/holdings HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
    ],
)
async def test_a_connection_ends_when_the_peer_wants_it_to(
    content: FileContent, data: bytes, *, kept: bool
) -> None:
    async with visiting(content) as visit:
        visit.send(data)
        head = await visit.head()
        assert head.keep_alive is kept
        await visit.body(head.content_length or 0)
        if kept:
            assert (await visit.ask("/v1/holdings"))[0] == 200
        else:
            assert await visit.end() == b""


async def test_a_drain_ends_idle_connections_and_others_after_their_answer(
    big: FileContent,
) -> None:
    async with visiting(big) as idle:
        assert (await idle.ask("/v1/holdings"))[0] == 200
        idle.server.drain()
        assert await idle.end() == b""
    async with visiting(big, buffer_bytes=16 * KIB) as busy:
        busy.send(request(version_of(big)))
        await busy.head()
        busy.send(request("/v1/holdings"))  # too late
        busy.server.drain()
        assert await busy.body(MIB) == big.data
        assert await busy.end() == b""


async def test_an_answer_while_draining_says_that_it_is_the_last(content: FileContent) -> None:
    async with visiting(content) as visit:
        visit.send(request("/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60"))
        await until(lambda: bool(visit.server.waits._open))
        visit.server.drain()
        head = await visit.head()
        assert (head.status, head.keep_alive) == (304, False)
        assert await visit.end() == b""
        assert not visit.server.caps.refusals


async def test_an_idle_connection_is_closed_without_a_word(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_NS", 5 * MS)
    async with visiting(content) as visit:
        assert (await visit.ask("/v1/holdings"))[0] == 200
        assert await visit.end() == b""
        assert not visit.server.caps.refusals


async def test_who_waits_for_a_change_gives_way_with_an_answer(content: FileContent) -> None:
    async with visiting(content, caps=one_place()) as visit:
        visit.send(request("/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60"))
        await until(lambda: bool(visit.server.caps._idle))
        with socket.socket() as other:
            assert visit.server.caps.enter(other, "10.0.0.1", lambda: None)
            head = await visit.head()
            assert (head.status, head.keep_alive) == (304, False)
            assert head.fields["retry-after"] == "5"
            assert await visit.end() == b""
        assert visit.server.caps.refusals == {RefusalReason.IDLE: 1}


async def test_a_connection_on_which_nothing_is_asked_gives_way_without_a_word(
    content: FileContent,
) -> None:
    async with visiting(content, caps=one_place()) as visit:
        assert (await visit.ask("/v1/holdings"))[0] == 200
        await until(lambda: bool(visit.server.caps._idle))
        with socket.socket() as other:
            assert visit.server.caps.enter(other, "10.0.0.1", lambda: None)
            assert await visit.end() == b""


async def test_who_is_being_sent_a_body_does_not_give_way(big: FileContent) -> None:
    async with visiting(big, caps=one_place()) as visit:
        visit.send(request(version_of(big)))
        assert (await visit.head()).status == 200
        with socket.socket() as other:
            assert not visit.server.caps.enter(other, "10.0.0.1", lambda: None)
        assert await visit.body(big.size_bytes) == big.data


async def test_who_finds_no_place_hears_which_cap_is_reached(content: FileContent) -> None:
    async with visiting(content, caps=ConnectionCaps(per_address_max=0)) as visit:
        visit.send(request("/v1/holdings"))
        head = await visit.head()
        assert (head.status, head.keep_alive) == (503, False)
        assert head.fields["ckptd-refused"] == "address"
        assert head.fields["retry-after"] == "1"
        assert b"listen.connections_per_address" in await visit.body(head.content_length or 0)
        assert await visit.end() == b""


async def test_who_asks_nothing_is_closed_sooner(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_NS", 5 * MS)
    async with visiting(content) as visit:
        assert await visit.end() == b""
        assert visit.server.caps.refusals == {RefusalReason.HEAD_LATE: 1}


@pytest.mark.parametrize("before", [b"", request("/v1/holdings", "HEAD")])
async def test_a_head_that_has_begun_must_end_in_time(
    content: FileContent, monkeypatch: pytest.MonkeyPatch, before: bytes
) -> None:
    """Also one that begins on an idle connection: 60 s are for those who say nothing."""
    monkeypatch.setattr(server_module, "HEAD_TIMEOUT_NS", 5 * MS)
    monkeypatch.setattr(server_module, "IDLE_TIMEOUT_NS", 3600 * SECOND)
    async with visiting(content) as visit:
        if before:
            visit.send(before)
            assert (await visit.head()).status == 200
        visit.send(b"G")
        head = await visit.head()
        assert (head.status, head.keep_alive) == (408, False)
        await visit.body(head.content_length or 0)
        assert await visit.end() == b""
        assert visit.server.caps.refusals == {RefusalReason.HEAD_LATE: 1}


async def test_a_head_that_comes_byte_by_byte_has_no_more_time_than_another(
    content: FileContent,
) -> None:
    async with visiting(content) as visit:
        for _ in range(2):
            begun = asyncio.get_running_loop().time()
            ends_s = []
            head = request("/v1/holdings", "HEAD")
            for at in range(len(head) - 1):
                visit.send(head[at : at + 1])
                await until(lambda: not unread_bytes(visit.pair.ours))
                ends_s += [timeout.when() for timeout in visit.server.waits._open]
            first_s = ends_s[0]
            assert first_s is not None
            assert begun < first_s < begun + 10
            assert set(ends_s) == {first_s}
            visit.send(head[-1:])
            assert (await visit.head()).status == 200


async def test_who_has_asked_is_no_stranger_any_more(content: FileContent) -> None:
    async with visiting(content) as visit:
        assert visit.server.caps.unproven_count == 1
        assert (await visit.ask("/v1/holdings"))[0] == 200
        assert visit.server.caps.unproven_count == 0


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"x" * HEAD_BYTES_MAX, 431),
        (b"x" * 3 * HEAD_BYTES_MAX, 431),
    ],
)
async def test_what_is_no_head_is_refused_and_ends_the_connection(
    content: FileContent, data: bytes, status: int
) -> None:
    async with visiting(content) as visit:
        visit.send(data)
        head = await visit.head()
        assert (head.status, head.keep_alive) == (status, False)
        assert "error" in json.loads(await visit.body(head.content_length or 0))
        assert await visit.end() == b""
        assert visit.server.caps.refusals == {RefusalReason.HEAD: 1}


async def test_a_head_may_be_as_long_as_the_limit(content: FileContent) -> None:
    head = request("/v1/holdings", x="")
    head = request("/v1/holdings", x="y" * (HEAD_BYTES_MAX - len(head)))
    assert len(head) == HEAD_BYTES_MAX
    async with visiting(content) as visit:
        visit.send(head)
        assert (await visit.answer())[0] == 200


@pytest.mark.parametrize(
    ("fields", "status", "counted"),
    [
        ({"range": "bytes=20-"}, 416, 1),
        ({"range": "items=0-1"}, 400, 1),
        ({"range": "bytes=0-0"}, 206, 0),
    ],
)
async def test_senseless_requests_are_counted_and_cost_no_connection(
    content: FileContent, fields: dict[str, str], status: int, counted: int
) -> None:
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content), **fields))[0] == status
        assert visit.server.caps.refusals[RefusalReason.REQUEST] == counted
        assert (await visit.ask("/v1/holdings"))[0] == 200


# The last answer arrives


async def test_what_the_peer_still_sends_does_not_destroy_the_last_answer(
    content: FileContent,
) -> None:
    """Closed with bytes unread a connection is reset, and an answer on its way is lost."""
    async with visiting(content) as visit:
        visit.send(request("/v1/holdings", connection="close") + bytes(32 * KIB))
        visit.pair.theirs.shutdown(socket.SHUT_WR)
        await visit.task
        assert (await visit.answer())[0] == 200
        assert await visit.end() == b"", "closed and not reset"


async def test_the_peer_learns_that_nothing_more_comes_while_it_may_still_send(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_LINGER_S", 3600)
    async with visiting(content) as visit:
        assert (await visit.ask("/v1/holdings", connection="close"))[0] == 200
        assert await visit.end() == b""
        assert not visit.task.done()
        visit.send(b"more")
        visit.pair.theirs.close()
        await visit.task


async def test_who_goes_on_sending_is_read_for_a_while_only(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_LINGER_S", 3600)
    monkeypatch.setattr(server_module, "_LINGER_BYTES_MAX", 10)
    async with visiting(content) as visit:
        assert (await visit.ask("/v1/holdings", connection="close"))[0] == 200
        visit.send(b"123456789")
        for _ in range(10):
            await asyncio.sleep(0)
        assert not visit.task.done()
        visit.send(b"0")
        await visit.task


async def test_who_does_not_end_its_side_is_waited_for_a_while_only(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_LINGER_S", 0.005)
    async with visiting(content) as visit:
        assert (await visit.ask("/v1/holdings", connection="close"))[0] == 200
        await visit.task


# Bodies that fail


async def test_a_body_that_cannot_be_completed_does_not_look_complete(
    content: FileContent, caplog: pytest.LogCaptureFixture
) -> None:
    def change() -> None:
        (content.directory / "c").write_bytes(b"new")

    content.after_piece = change
    async with visiting(content) as visit:
        visit.send(request(version_of(content)))
        await visit.task
        with pytest.raises(ConnectionResetError):
            await visit.end()
    assert content.is_stale
    assert content.sent["normal"] < 20
    assert "cannot be served" in caplog.text


async def test_a_version_that_cannot_be_read_is_refused_and_the_connection_lives_on(
    content: FileContent,
) -> None:
    (content.directory / "a").write_bytes(b"new")
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content), range="bytes=5-9"))[0] == 410
        assert content.is_stale
        assert (await visit.ask("/v1/holdings"))[0] == 200


async def test_a_version_that_goes_away_is_not_held_and_nothing_is_stale(
    content: FileContent,
) -> None:
    def go_away(path: str = "") -> None:
        raise NotFound(f"version {path}", "its recovery was given up")

    content._check = go_away  # type: ignore[method-assign]
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content)))[0] == 404
        assert (await visit.ask("/v1/holdings"))[0] == 200
    assert not content.is_stale


async def test_a_receiver_that_takes_nothing_loses_its_place(
    big: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    async with visiting(big, buffer_bytes=16 * KIB) as visit:
        visit.send(request(version_of(big)))
        await visit.task
        assert visit.server.caps.refusals == {RefusalReason.READER_SLOW: 1}
        with pytest.raises(ConnectionResetError):
            await visit.end()
        assert 0 < big.sent["normal"] < MIB


async def test_a_reader_that_takes_no_small_answer_loses_its_place_too(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "_PART_S", 0.005)
    content.encoded = bytes(MIB)
    async with visiting(content, buffer_bytes=16 * KIB) as visit:
        visit.send(request(f"/v1/manifests/{content.digest}"))
        await visit.task
        assert visit.server.caps.refusals == {RefusalReason.READER_SLOW: 1}
        with pytest.raises(ConnectionResetError):
            await visit.end()


async def test_a_body_that_is_cut_off_gives_back_what_it_had(big: FileContent) -> None:
    async with visiting(big, buffer_bytes=16 * KIB) as visit:
        visit.send(request(version_of(big)))
        await visit.head()
        workload = visit.server.workloads[Urgency.NORMAL]
        assert (workload.body_count, workload.load_bytes) == (1, MIB)
        visit.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await visit.task
        assert visit.server.load_bytes == 0
        assert (workload.body_count, workload.load_bytes) == (0, 0)
        with pytest.raises(ConnectionResetError):
            await visit.end()


async def test_a_peer_that_goes_away_gives_back_what_it_had(big: FileContent) -> None:
    async with visiting(big, buffer_bytes=16 * KIB) as visit:
        visit.send(request(version_of(big)))
        await visit.head()
        visit.pair.theirs.close()
        await visit.task
        assert visit.server.load_bytes == 0
        assert not visit.server.caps.refusals


async def test_beyond_what_it_can_send_a_receiver_is_turned_away_and_keeps_its_connection(
    content: FileContent,
) -> None:
    async with visiting(content) as visit:
        workload = visit.server.workloads[Urgency.NORMAL]
        for _ in range(BODIES_MIN):
            workload.begin(MIB, now=0)
        visit.send(request(version_of(content)))
        head = await visit.head()
        assert (head.status, head.fields["retry-after"]) == (429, "1")
        await visit.body(head.content_length or 0)
        assert (await visit.ask(version_of(content), ckptd_class="critical"))[0] == 200
        for _ in range(BODIES_MIN):
            workload.end(MIB, 0, now=0)
        assert (await visit.ask(version_of(content)))[0] == 200


async def test_what_was_sent_counts_for_how_much_is_taken_on(content: FileContent) -> None:
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content)))[0] == 200
        workload = visit.server.workloads[Urgency.NORMAL]
        await until(lambda: not workload.body_count)
        assert workload._sent_bytes == 20


class BrokenContent(FileContent):
    def bytes_sent(self, criticality_label: str, size_bytes: int) -> None:
        raise KeyError(criticality_label)


async def test_a_fault_of_this_node_is_logged_and_costs_the_connection_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = BrokenContent(tmp_path, {"a": b"0123456789"})
    async with visiting(content) as visit:
        visit.send(request(version_of(content)))
        await visit.task
        assert "serving a connection failed" in caplog.text
        with pytest.raises(ConnectionResetError):
            await visit.end()


async def test_threads_end_with_the_server(content: FileContent) -> None:
    before = threading.active_count()
    async with visiting(content) as visit:
        assert (await visit.ask(version_of(content)))[0] == 200
        assert threading.active_count() > before
    assert threading.active_count() == before


# With certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    (tmp_path / "certificates").mkdir()
    return Certificates(tmp_path / "certificates")


async def test_a_node_of_the_cluster_is_served_until_its_certificate_is_revoked(
    content: FileContent, certificates: Certificates
) -> None:
    own, guest = certificates.identity(A), certificates.identity(B)
    async with visiting(content, identity=own) as visit:
        connection = await secure_end(visit.pair.theirs, guest.client_context)
        await connection.send(request(version_of(content), range="bytes=0-4"))
        got = b""
        while not got.endswith(b"01234"):
            part = await connection.receive(KIB)
            assert part
            got += part
        assert visit.server.caps._per_node == {B: 1}
        certificates.revoke(certificates.authority.paths_of(B)[0])
        own.refresh()
        await connection.send(request("/v1/holdings"))
        assert await connection.receive(KIB) == b""


async def test_a_node_that_has_its_share_is_not_served(
    content: FileContent, certificates: Certificates
) -> None:
    own, guest = certificates.identity(A), certificates.identity(B)
    async with visiting(content, identity=own, caps=ConnectionCaps(per_node_max=0)) as visit:
        connection = await secure_end(visit.pair.theirs, guest.client_context)
        await connection.send(request("/v1/holdings"))
        answer = b""
        while part := await connection.receive(KIB):
            answer += part
        head = parse_response_head(answer[: head_end(answer)])
        assert (head.status, head.keep_alive) == (503, False)
        assert head.fields["ckptd-refused"] == "node"
        assert visit.server.caps.refusals == {RefusalReason.NODE: 1}


async def test_a_stranger_hears_why_it_is_not_served(
    content: FileContent, certificates: Certificates
) -> None:
    own = certificates.identity(A)
    async with visiting(content, identity=own) as visit:
        connection = await secure_end(visit.pair.theirs, client_context(None))
        await connection.send(request("/v1/holdings") + bytes(32 * KIB))
        visit.pair.theirs.shutdown(socket.SHUT_WR)
        await visit.task
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):  # and no reset before it
            await connection.receive(KIB)
        assert await visit.end() == b""
        assert own.handshakes.failures == {("server", "no_certificate"): 1}
