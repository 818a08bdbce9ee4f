"""Who may ask, and who may answer: handshakes on real sockets, good ones and bad ones."""

import asyncio
import gc
import logging
import os
import ssl
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import get_args

import pytest

from ckptd.errors import NotFound, ProtocolViolation
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import Digest
from ckptd.model.words import HandshakeFailure, HandshakeSide, RangeOutcome, RefusalReason
from ckptd.net.connection import identity
from ckptd.net.connection.handshakes import HandshakeFailed, Handshakes
from ckptd.net.inquiry import Inquirer
from ckptd.net.source.caps import ConnectionCaps
from ckptd.net.source.sending import ServedBytes
from ckptd.wire.targets import CodedTarget, HoldingsTarget, Target
from tests.support.certificates import (
    STRANGERS,
    A,
    B,
    C,
    Certificates,
    Stranger,
    client_context,
    server_context,
)
from tests.support.serving import (
    Address,
    Client,
    FileContent,
    MemorySink,
    client_of,
    on_both_loops,
    receiving,
    request,
    serving,
    until,
)

pytestmark = pytest.mark.integration

ROUTES = get_args(Target)
ALERT_BYTES_MAX = 7
"""A record with an alert: what somebody may get who does not speak TLS."""


class WatchedContent(FileContent):
    """Notes who gets as far as asking for something."""

    def __init__(self, directory: Path, contents: Mapping[str, bytes]) -> None:
        super().__init__(directory, contents)
        self.asked: list[str] = []

    def holdings_document(self) -> bytes:
        self.asked.append("holdings")
        return super().holdings_document()

    async def manifest(self, digest: Digest) -> bytes:
        self.asked.append("manifest")
        return await super().manifest(digest)

    async def signatures(self, digest: Digest) -> bytes:
        self.asked.append("signatures")
        return b""

    async def attributes(self, digest: Digest) -> bytes:
        self.asked.append("attributes")
        return b""

    async def open_version(self, digest: Digest) -> ServedBytes:
        self.asked.append("version")
        return await super().open_version(digest)


@pytest.fixture
def content(tmp_path: Path) -> WatchedContent:
    directory = tmp_path / "content"
    directory.mkdir()
    sizes = {"a": 700 * KIB, "b": 1, "c": 5 * MIB + 3}
    return WatchedContent(directory, {path: os.urandom(size) for path, size in sizes.items()})


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Certificates, Mapping[str, Stranger]]:
    made = Certificates(tmp_path_factory.mktemp("crowd"))
    strangers = made.strangers(A)
    assert tuple(strangers) == STRANGERS
    return made, strangers


def path_of(route: type[Target], digest: Digest) -> str:
    if route is CodedTarget:
        return CodedTarget(digest, BlockRun(0, 1)).path
    return HoldingsTarget.path if route is HoldingsTarget else route(digest).path  # type: ignore[call-arg]


async def all_that_comes(
    address: Address, data: bytes, context: ssl.SSLContext | None = None
) -> bytes:
    """Send something and return what is answered until the connection ends."""
    try:
        reader, writer = await asyncio.open_connection(*address, ssl=context)
    except (ssl.SSLError, ConnectionError):
        return b""
    got = b""
    try:
        writer.write(data)
        while part := await reader.read(64 * KIB):
            got += part
    except (ssl.SSLError, ConnectionError):
        pass
    finally:
        writer.transport.abort()
    return got


@asynccontextmanager
async def tls_client(address: Address, context: ssl.SSLContext) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


# Strangers that dial


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
@on_both_loops
async def test_no_route_answers_a_stranger(
    route: type[Target],
    name: str,
    crowd: tuple[Certificates, Mapping[str, Stranger]],
    content: WatchedContent,
) -> None:
    certificates, strangers = crowd
    own = certificates.identity(A)
    files, reason = strangers[name]
    async with serving(content, identity=own) as node:
        question = request(path_of(route, content.digest))
        assert await all_that_comes(node.address, question, client_context(files)) == b""
    assert own.handshakes.failures == {("server", reason): 1}
    assert content.asked == []


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
@on_both_loops
async def test_every_route_answers_who_belongs_to_the_cluster(
    route: type[Target], certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    files = certificates.authority.issue(B)
    async with (
        serving(content, identity=own) as node,
        tls_client(node.address, client_context(files)) as client,
    ):
        response = await client.ask(path_of(route, content.digest))
        assert (response.status, response.fields["ckptd-node"]) == (200, A)
    assert content.asked != []
    assert not own.handshakes.failures


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.__name__)
@on_both_loops
async def test_plaintext_gets_nothing(
    route: type[Target], certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    async with serving(content, identity=own) as node:
        question = request(path_of(route, content.digest))
        assert len(await all_that_comes(node.address, question)) <= ALERT_BYTES_MAX
    assert own.handshakes.failures == {("server", HandshakeFailure.PLAINTEXT): 1}
    assert content.asked == []


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("ckptd/2", "h2")], ids=str)
@on_both_loops
async def test_another_protocol_gets_nothing(
    alpn: tuple[str, ...], certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    context = client_context(certificates.authority.issue(B), alpn=alpn)
    async with serving(content, identity=own) as node:
        question = request(HoldingsTarget.path)
        assert await all_that_comes(node.address, question, context) == b""
    assert own.handshakes.failures == {("server", HandshakeFailure.PROTOCOL): 1}
    assert content.asked == []


@on_both_loops
async def test_an_older_tls_gets_nothing(
    certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    context = client_context(certificates.authority.issue(B))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with serving(content, identity=own) as node:
        question = request(HoldingsTarget.path)
        assert await all_that_comes(node.address, question, context) == b""
    assert own.handshakes.failures == {("server", HandshakeFailure.PROTOCOL): 1}
    assert content.asked == []


@on_both_loops
async def test_who_says_nothing_is_sent_away(
    certificates: Certificates, content: WatchedContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "HANDSHAKE_TIMEOUT_S", 0.02)
    own = certificates.identity(A)
    async with serving(content, identity=own) as node:
        assert await all_that_comes(node.address, b"\x16\x03\x01") == b""
    assert own.handshakes.failures == {("server", HandshakeFailure.TIMEOUT): 1}


@on_both_loops
async def test_who_is_refused_is_told_why(
    certificates: Certificates, content: WatchedContent
) -> None:
    files = certificates.another("foreign").issue(B)
    async with serving(content, identity=certificates.identity(A)) as node:
        reader, writer = await asyncio.open_connection(*node.address, ssl=client_context(files))
        try:
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await reader.read()
        finally:
            writer.transport.abort()


@on_both_loops
async def test_a_handshake_that_stalls_makes_room_for_the_next(
    certificates: Certificates, content: WatchedContent
) -> None:
    caps = ConnectionCaps(unproven_max=1)
    async with serving(content, caps, identity=certificates.identity(A)) as node:
        slow, writer = await asyncio.open_connection(*node.address)
        try:
            await until(lambda: caps.unproven_count == 1)
            async with Inquirer(certificates.identity(B)) as inquirer:
                assert (await inquirer.holdings(node.address)).update is not None
            with pytest.raises(ConnectionResetError):
                await slow.read()
        finally:
            writer.close()
    assert caps.refusals == {RefusalReason.UNPROVEN: 1}


@on_both_loops
async def test_a_node_has_its_share_of_connections_whatever_its_addresses(
    certificates: Certificates, content: WatchedContent
) -> None:
    caps = ConnectionCaps(per_address_max=3, per_node_max=2, clock=lambda: 0.0)
    context = client_context(certificates.authority.issue(B))
    async with serving(content, caps, identity=certificates.identity(A)) as node:
        async with AsyncExitStack() as stack:
            for _ in range(2):
                client = await stack.enter_async_context(client_of(node.address, context))
                assert (await client.ask(HoldingsTarget.path)).status == HTTPStatus.OK
            third = await stack.enter_async_context(client_of(node.address, context))
            answer = await third.ask(HoldingsTarget.path)
            assert (answer.status, answer.fields["ckptd-refused"]) == (503, "node")
            assert await third.ended()
        assert caps.refusals == {RefusalReason.NODE: 1}
        other = client_context(certificates.authority.issue(C))
        async with client_of(node.address, other) as client:
            assert (await client.ask(HoldingsTarget.path)).status == HTTPStatus.OK


@on_both_loops
async def test_a_peer_that_is_revoked_gets_no_further_answer(
    certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    files = certificates.authority.issue(B)
    async with (
        serving(content, identity=own) as node,
        tls_client(node.address, client_context(files)) as client,
    ):
        assert (await client.ask(HoldingsTarget.path)).status == 200
        certificates.revoke(files[0])
        own.refresh()
        client.send(request(HoldingsTarget.path))
        assert await client.ended()
    assert content.asked == ["holdings"]


# Strangers that answer


@asynccontextmanager
async def answering(files: tuple[str, str]) -> AsyncIterator[tuple[Address, list[bytes]]]:
    """Somebody who takes every handshake, and notes what is sent to him after it."""
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            got.append(await reader.read(64 * KIB))
        except (ssl.SSLError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(take, "127.0.0.1", 0, ssl=server_context(files))
    try:
        host, port = listening.sockets[0].getsockname()
        yield (host, port), got
    finally:
        listening.close()


@pytest.mark.parametrize("name", [name for name in STRANGERS if name != "none"])
@on_both_loops
async def test_a_lane_asks_no_stranger(
    name: str, crowd: tuple[Certificates, Mapping[str, Stranger]], content: WatchedContent
) -> None:
    certificates, strangers = crowd
    own = certificates.identity(A)
    files, reason = strangers[name]
    assert files is not None
    async with (
        answering(files) as (address, got),
        receiving(address, content, peer=(own, B)) as receiver,
    ):
        receiver.fetch()
        assert await receiver.ended() == [RangeOutcome.UNREACHABLE]
        assert [part for part in got if part] == []
    assert own.handshakes.failures == {("client", reason): 1}


@on_both_loops
async def test_a_lane_asks_only_the_node_that_is_meant(
    certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    async with (
        serving(content, identity=certificates.identity(B), node=B) as node,
        receiving(node.address, content, peer=(own, C)) as receiver,
    ):
        receiver.fetch()
        assert await receiver.ended() == [RangeOutcome.UNREACHABLE]
    assert own.handshakes.failures == {("client", HandshakeFailure.WRONG_NODE): 1}
    assert content.asked == []


@on_both_loops
async def test_a_lane_takes_nothing_from_who_claims_to_be_another(
    certificates: Certificates, content: WatchedContent
) -> None:
    own, sink = certificates.identity(A), MemorySink(content.space)
    async with (
        serving(content, identity=certificates.identity(B), node=C) as node,
        receiving(node.address, content, sink=sink, peer=(own, B)) as receiver,
    ):
        receiver.fetch()
        assert await receiver.ended() == [RangeOutcome.MISBEHAVED]
    assert sink.delivered == []


@on_both_loops
async def test_an_answer_of_who_claims_to_be_another_does_not_count(
    certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    other = certificates.identity(B)
    async with serving(content, identity=other, node=C) as node, Inquirer(own) as inquirer:
        with pytest.raises(HandshakeFailed, match="it is node-b and calls itself 'node-c'"):
            await inquirer.holdings(node.address)
    assert own.handshakes.failures == {("client", HandshakeFailure.WRONG_NODE): 1}


@on_both_loops
async def test_a_node_speaks_of_its_own_holdings_alone(
    certificates: Certificates, content: WatchedContent
) -> None:
    own, other = certificates.identity(A), certificates.identity(B)
    content.node = C
    async with serving(content, identity=other, node=B) as node, Inquirer(own) as inquirer:
        with pytest.raises(ProtocolViolation, match="is of node-c, and came from node-b"):
            await inquirer.holdings(node.address)


@on_both_loops
async def test_a_question_to_this_node_itself_is_refused(
    certificates: Certificates, content: WatchedContent
) -> None:
    own = certificates.identity(A)
    async with serving(content, identity=own) as node, Inquirer(own) as inquirer:
        with pytest.raises(HandshakeFailed) as failed:
            await inquirer.holdings(node.address)
    assert failed.value.failure is HandshakeFailure.SELF
    assert content.asked == []


# Friends


@on_both_loops
async def test_ranges_arrive_over_tls(certificates: Certificates, content: WatchedContent) -> None:
    own, other = certificates.identity(A), certificates.identity(B)
    sink = MemorySink(content.space)
    async with (
        serving(content, identity=other, node=B) as node,
        receiving(node.address, content, sink=sink, peer=(own, B)) as receiver,
    ):
        count = content.space.block_count
        receiver.fetch(0, 1), receiver.fetch(1, 6), receiver.fetch(6, count)
        assert await receiver.ended(3) == [RangeOutcome.DELIVERED] * 3
        assert node.listener.connection_count == 1
    assert sink.data == content.data
    assert content.sent == {"critical": content.size_bytes}
    assert not own.handshakes.failures
    assert not other.handshakes.failures


@on_both_loops
async def test_questions_are_answered_over_tls(
    certificates: Certificates, content: WatchedContent
) -> None:
    own, other = certificates.identity(A), certificates.identity(B)
    content.node = B
    async with serving(content, identity=other, node=B) as node, Inquirer(own) as inquirer:
        assert (await inquirer.holdings(node.address)).update is not None
        received = await inquirer.manifest(node.address, content.digest)
        assert bytes(received.manifest) == content.encoded
        with pytest.raises(NotFound):
            await inquirer.manifest(node.address, Digest("0" * 64))
    assert not own.handshakes.failures


@on_both_loops
async def test_a_lane_that_is_closed_in_a_body_ends_at_once(
    certificates: Certificates, content: WatchedContent
) -> None:
    own, other = certificates.identity(A), certificates.identity(B)
    async with (
        serving(content, identity=other, node=B) as node,
        receiving(node.address, content, peer=(own, B)) as receiver,
    ):
        receiver.fetch()
        await receiver.reported(lambda: bool(receiver.progress))
        receiver.lane.close()
        await receiver.ended()
        await until(lambda: node.server.load_bytes == 0)
    assert not own.handshakes.failures


# When a peer refuses


def test_a_remembered_failure_keeps_nothing_alive(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # pytest would keep what is logged
    handshakes = Handshakes()

    class Held:
        pass

    held = Held()
    reference = weakref.ref(held)

    def fail(something: Held) -> None:
        raise HandshakeFailed(HandshakeFailure.REFUSED, type(something).__name__)

    try:
        fail(held)
    except HandshakeFailed as failed:
        handshakes.note(HandshakeSide.CLIENT, ("127.0.0.1", 1), failed)
    del held
    gc.collect()
    assert reference() is None
    with pytest.raises(HandshakeFailed, match="Held"):
        handshakes.check_dial(("127.0.0.1", 1))


@on_both_loops
async def test_a_peer_that_refuses_is_dialled_once_in_five_seconds(
    certificates: Certificates, content: WatchedContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    own = certificates.identity(A)
    own.handshakes._clock_s = lambda: now_s
    certificates.revoke(certificates.authority.paths_of(A)[0])
    other = certificates.identity(B)
    async with serving(content, identity=other, node=B) as node, Inquirer(own) as inquirer:
        for _ in range(60):
            with pytest.raises(HandshakeFailed) as failed:
                await inquirer.holdings(node.address)
            assert failed.value.failure is HandshakeFailure.REFUSED
            async with receiving(node.address, content, peer=(own, B)) as receiver:
                receiver.fetch()
                await receiver.ended()
            now_s += 1
    assert other.handshakes.failures == {("server", HandshakeFailure.REVOKED): 12}
    assert own.handshakes.failures == {("client", HandshakeFailure.REFUSED): 12}
