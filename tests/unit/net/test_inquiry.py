"""Small questions to peers, to an honest one and to those who answer nonsense."""

import asyncio
import socket
import threading
import time
from itertools import count
from pathlib import Path

import pytest
import zstandard

from ckptd.errors import NotFound, ProtocolViolation
from ckptd.limits import KIB, SECOND, SIGNATURE_DOCUMENT_BYTES_MAX, SIGNATURES_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import HoldingsDelta, apply_delta
from ckptd.model.ids import Digest
from ckptd.model.signatures import KeyId, Signature
from ckptd.model.words import Confirmation, HandshakeFailure
from ckptd.net import inquiry
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.content_coding import Decoder, compressed
from ckptd.net.inquiry import Inquirer
from ckptd.net.manifest_room import ManifestRoom
from ckptd.net.small_answers import TurnedAway
from ckptd.net.source import answers
from ckptd.net.source.caps import ConnectionCaps
from ckptd.wire.holdings_document import encode_holdings
from ckptd.wire.signature_lines import encode_signatures
from tests.support.certificates import A, B, C, Certificates
from tests.support.serving import (
    FileContent,
    Script,
    on_both_loops,
    scripted_source,
    serving,
    take_request,
    until,
)

UNKNOWN = Digest("0" * 64)
ASKED = BlockSet([(1, 3)])
_, HELD, NOT_HELD, NO_ANSWER = Confirmation


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    return FileContent(tmp_path, {"a.bin": bytes(300 * KIB), "b.empty": b""})


@on_both_loops
async def test_a_peer_is_asked_what_it_holds(content: FileContent) -> None:
    content_before = content.holdings()
    async with serving(content) as node, Inquirer() as inquirer:
        first = await inquirer.holdings(node.address)
        assert first.update == content.holdings()
        waiting = asyncio.ensure_future(inquirer.holdings(node.address, etag=first.etag, wait_s=60))
        assert (await inquirer.holdings(node.address, etag=first.etag)).update is None
        content.change()
        changed = (await waiting).update
        assert isinstance(changed, HoldingsDelta)
        assert apply_delta(content_before, changed) == content.holdings()
        content.change()
        assert (await inquirer.holdings(node.address, etag=first.etag)).update == content.holdings()


@on_both_loops
async def test_a_peer_is_asked_for_a_manifest(content: FileContent) -> None:
    async with serving(content) as node, Inquirer() as inquirer:
        received = await inquirer.manifest(node.address, content.digest)
        assert bytes(received.manifest) == content.encoded
        with pytest.raises(NotFound):
            await inquirer.manifest(node.address, UNKNOWN)


@on_both_loops
async def test_a_peer_is_asked_whether_it_stands_by_a_holding(content: FileContent) -> None:
    async with Inquirer() as inquirer:
        async with serving(content) as node:
            address = node.address
            assert await inquirer.confirm(address, content.digest, ASKED) == (HELD, None)
            assert content.questions == [(ASKED, "127.0.0.1")]
            content.wrong = BlockSet.single(2)
            wrong = (NOT_HELD, content.wrong)
            assert await inquirer.confirm(address, content.digest, ASKED) == wrong
            assert await inquirer.confirm(address, UNKNOWN, ASKED) == (NOT_HELD, None)
            content.is_stale = True
            assert await inquirer.confirm(address, content.digest, ASKED) == (NOT_HELD, None)
        assert await inquirer.confirm(address, content.digest, ASKED) == (NO_ANSWER, None)
        with pytest.raises(ConnectionError):
            await inquirer.holdings(address)


@on_both_loops
async def test_a_peer_without_a_place_says_which_cap_is_reached(content: FileContent) -> None:
    async with serving(content, ConnectionCaps(per_address_max=0)) as node, Inquirer() as inquirer:
        for ask in (
            inquirer.holdings(node.address),
            inquirer.manifest(node.address, content.digest),
            inquirer.confirm(node.address, content.digest, ASKED),
        ):
            with pytest.raises(TurnedAway, match=r"listen\.connections_per_address") as away:
                await ask
            assert away.value.pause_ns == 1 * SECOND


@on_both_loops
async def test_one_connection_to_a_peer_is_kept_and_that_for_what_it_holds(
    content: FileContent,
) -> None:
    async with serving(content) as node, Inquirer() as inquirer:
        first = await inquirer.holdings(node.address)
        waiting = asyncio.ensure_future(inquirer.holdings(node.address, etag=first.etag, wait_s=60))
        await inquirer.manifest(node.address, content.digest)
        await inquirer.confirm(node.address, content.digest, ASKED)
        await until(lambda: node.listener.connection_count == 1)
        content.change()
        assert (await waiting).update
        await inquirer.holdings(node.address)
        assert node.listener.connection_count == 1


@on_both_loops
async def test_a_peer_that_needs_the_place_ends_the_wait_and_asks_for_a_pause(
    content: FileContent,
) -> None:
    moments = count()
    caps = ConnectionCaps(per_address_max=1, clock=lambda: float(next(moments)))
    async with serving(content, caps) as node, Inquirer() as inquirer:
        first = await inquirer.holdings(node.address)
        waiting = asyncio.ensure_future(inquirer.holdings(node.address, etag=first.etag, wait_s=60))
        await until(lambda: bool(caps._idle))
        await asyncio.sleep(0.05)
        await inquirer.manifest(node.address, content.digest)
        answer = await waiting
        assert (answer.update, answer.pause_ns) == (None, 5 * SECOND)


@pytest.fixture
def names(tmp_path: Path) -> FileContent:
    """Return a version of many small files, whose manifest is names more than digests."""
    return FileContent(tmp_path, {f"layers-{number:04}.bin": b"\1" for number in range(200)})


@on_both_loops
async def test_what_gets_shorter_travels_in_zstd(
    names: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed: list[int] = []
    feed = Decoder.feed

    async def note(decoder: Decoder, part: bytes) -> None:
        fed.append(len(part))
        await feed(decoder, part)

    monkeypatch.setattr(Decoder, "feed", note)
    names.held = BlockSet((block, block + 1) for block in range(0, 200, 2))
    async with serving(names) as node, Inquirer() as inquirer:
        assert (await inquirer.holdings(node.address)).update == names.holdings()
        assert 0 < sum(fed) < len(encode_holdings(names.holdings())) * 0.7
        fed.clear()
        room = ManifestRoom()
        with room.share() as share:
            received = await inquirer.manifest(node.address, names.digest, share)
            assert share.taken_bytes == len(names.encoded)
        assert bytes(received.manifest) == names.encoded
        assert 0 < sum(fed) < len(names.encoded) * 0.7


@on_both_loops
async def test_a_source_that_knows_no_zstd_answers_as_ever(
    names: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "accepts_zstd", lambda _: False)
    async with serving(names) as node, Inquirer() as inquirer:
        assert (await inquirer.holdings(node.address)).update == names.holdings()
        received = await inquirer.manifest(node.address, names.digest)
        assert bytes(received.manifest) == names.encoded


def answering(head: str, body: bytes = b"") -> Script:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    return script


EMPTY = b'{"node":"a","epoch":1,"revision":2,"holdings":[]}'
EMPTY_CODED = zstandard.compress(EMPTY)
EMPTY_DELTA = b'{"node":"a","epoch":1,"revision":2,"since":1,"holdings":[]}'


@on_both_loops
async def test_only_what_was_asked_for_in_zstd_is_taken_in_it() -> None:
    head = f"HTTP/1.1 200 OK\nContent-Encoding: {{}}\nContent-Length: {len(EMPTY_CODED)}"
    async with Inquirer() as inquirer:
        with scripted_source(answering(head.format("zstd"), EMPTY_CODED)) as address:
            assert (await inquirer.holdings(address)).update is not None
        for ask, coding in (
            (inquirer.holdings, "zstd, zstd"),
            (inquirer.holdings, "gzip"),
            (lambda address: inquirer.signatures(address, UNKNOWN), "zstd"),
        ):
            with (
                scripted_source(answering(head.format(coding), EMPTY_CODED)) as address,
                pytest.raises(ProtocolViolation, match="has the field Content-Encoding"),
            ):
                await ask(address)


@on_both_loops
async def test_a_manifest_with_less_content_than_it_says_is_a_violation_of_its_own() -> None:
    cut = EMPTY_CODED[:-1]
    head = f"HTTP/1.1 200 OK\nContent-Encoding: zstd\nContent-Length: {len(cut)}"
    async with Inquirer() as inquirer:
        with (
            scripted_source(answering(head, cut)) as address,
            pytest.raises(ProtocolViolation, match="has less content than it says"),
        ):
            await inquirer.manifest(address, UNKNOWN)


@pytest.mark.parametrize(
    "script",
    [
        answering("HTTP/1.1 200 OK\nContent-Length: 99999999999"),
        answering("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        answering("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2", b"{}"),
        answering(
            f"HTTP/1.1 200 OK\nContent-Encoding: zstd, zstd\nContent-Length: {len(EMPTY_CODED)}",
            EMPTY_CODED,
        ),
        answering(
            f"HTTP/1.1 200 OK\nContent-Encoding: zstd\nContent-Length: {len(EMPTY_CODED) - 1}",
            EMPTY_CODED[:-1],
        ),
        answering(f"HTTP/1.1 200 OK\nContent-Encoding: zstd\nContent-Length: {len(EMPTY)}", EMPTY),
        answering("HTTP/1.1 200 OK", b"{}"),
        answering("HTTP/1.1 200 OK\nContent-Length: 2", b"{}"),
        answering(f"HTTP/1.1 200 OK\nContent-Length: {len(EMPTY_DELTA)}", EMPTY_DELTA),
        answering("HTTP/1.1 200 OK\nX: " + "x" * 20_000),
        answering("HTTP/1.1 200 OK" + "\nX: y" * 100_000 + "\nContent-Length: 2"),
        answering("HTTP/1.1 200 OK" + "\nX: y" * 32 + f"\nContent-Length: {len(EMPTY)}", EMPTY),
        answering("HTTP/1.1 100 Continue\n\nHTTP/1.1 200 OK\nContent-Length: 2", b"{}"),
        answering("HTTP/1.1 101 Switching Protocols\nUpgrade: x\nConnection: upgrade"),
        answering("SSH-2.0-OpenSSH_9.2"),
    ],
    ids=[
        "endless",
        "chunked",
        "gzip",
        "zstd twice",
        "zstd cut",
        "no zstd",
        "no length",
        "no document",
        "delta",
        "head",
        "fields",
        "33 fields",
        "interim",
        "switch",
        "ssh",
    ],
)
@on_both_loops
async def test_nonsense_from_a_peer_is_a_violation(script: Script) -> None:
    with scripted_source(script) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(ProtocolViolation):
                await inquirer.holdings(address)


@on_both_loops
async def test_interim_answers_without_end_are_a_violation_at_once() -> None:
    def flood(connection: socket.socket) -> None:
        take_request(connection)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)

    with scripted_source(flood) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(ProtocolViolation, match="interim"):
                await inquirer.manifest(address, UNKNOWN)
            assert inquirer.violations == 1


@on_both_loops
async def test_a_redirect_is_not_followed() -> None:
    reached = threading.Event()
    with scripted_source(lambda _: reached.set()) as (host, port):
        redirect = answering(
            f"HTTP/1.1 302 Found\nLocation: http://{host}:{port}/\nContent-Length: 0"
        )
        with scripted_source(redirect) as address:
            async with Inquirer() as inquirer:
                with pytest.raises(ProtocolViolation):
                    await inquirer.holdings(address)
                assert inquirer.violations == 1
    assert not reached.is_set()


@on_both_loops
async def test_an_answer_that_is_cut_short_is_a_broken_connection() -> None:
    with scripted_source(answering("HTTP/1.1 200 OK\nContent-Length: 10", b"{")) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(ConnectionError):
                await inquirer.manifest(address, UNKNOWN)


@on_both_loops
async def test_a_peer_that_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inquiry, "_ANSWER_SILENCE_S", 0.02)
    asked, answered = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        take_request(connection)
        asked.set()
        answered.wait()

    with scripted_source(silent) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(TimeoutError):
                await inquirer.holdings(address)
        answered.set()
    assert asked.is_set()


@on_both_loops
async def test_an_answer_may_be_as_long_as_its_limit_and_no_longer() -> None:
    document = encode_signatures(
        Signature(KeyId(f"{number:016x}"), bytes(64)) for number in range(SIGNATURES_MAX)
    )
    assert len(document) == SIGNATURE_DOCUMENT_BYTES_MAX
    whole = answering(f"HTTP/1.1 200 OK\nContent-Length: {len(document)}", document)
    longer = answering(f"HTTP/1.1 200 OK\nContent-Length: {len(document) + 1}", document + b"x")
    with scripted_source(whole, longer) as address:
        async with Inquirer() as inquirer:
            assert len(await inquirer.signatures(address, UNKNOWN)) == SIGNATURES_MAX
            with pytest.raises(ProtocolViolation, match="more than"):
                await inquirer.signatures(address, UNKNOWN)


@on_both_loops
async def test_attributes_are_taken_as_long_as_they_can_be() -> None:
    reply = answering("HTTP/1.1 200 OK\nContent-Length: 6", b"answer")
    with scripted_source(reply, reply) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.attributes(address, UNKNOWN, 6) == b"answer"
            with pytest.raises(ProtocolViolation, match="has 6 bytes, more than 5"):
                await inquirer.attributes(address, UNKNOWN, 5)


@on_both_loops
async def test_attributes_come_in_zstd_and_within_the_same_bounds() -> None:
    document = b"answer" * 1000
    coded = compressed(document)
    assert coded is not None
    head = f"HTTP/1.1 200 OK\nContent-Encoding: zstd\nContent-Length: {len(coded)}"
    with scripted_source(answering(head, coded), answering(head, coded)) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.attributes(address, UNKNOWN, len(document)) == document
            with pytest.raises(ProtocolViolation, match="bytes of content, more than 5999"):
                await inquirer.attributes(address, UNKNOWN, len(document) - 1)


@on_both_loops
async def test_a_peer_that_knows_no_attributes_has_none(content: FileContent) -> None:
    async with serving(content) as node, Inquirer() as inquirer:
        assert await inquirer.attributes(node.address, content.digest, 1000) is None


@on_both_loops
async def test_a_peer_without_signatures_has_none() -> None:
    with scripted_source(answering("HTTP/1.1 404 Not Found\nContent-Length: 0")) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.signatures(address, UNKNOWN) == ()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, ProtocolViolation),
        (204, ProtocolViolation),
        (500, ConnectionError),
        (499, ProtocolViolation),
    ],
)
@on_both_loops
async def test_a_peer_that_fails_is_gone_and_one_that_refuses_speaks_another_protocol(
    status: int, error: type[Exception]
) -> None:
    head = f"HTTP/1.1 {status} X\nContent-Length: 0\nDate: x"
    with scripted_source(answering(head), answering(head)) as address:
        async with Inquirer() as inquirer:
            with pytest.raises(error):
                await inquirer.holdings(address)
            with pytest.raises(error):
                await inquirer.date(address)


@on_both_loops
async def test_a_peer_is_asked_what_time_it_is(content: FileContent) -> None:
    async with serving(content) as node, Inquirer() as inquirer:
        assert (await inquirer.date(node.address)).endswith(" GMT")
    with scripted_source(answering("HTTP/1.1 200 OK\nContent-Length: 5")) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.date(address) == ""


@pytest.mark.parametrize(
    ("status", "confirmation"),
    [
        (200, Confirmation.HELD),
        (206, Confirmation.HELD),
        (404, Confirmation.NOT_HELD),
        (410, Confirmation.NOT_HELD),
        (304, Confirmation.NO_ANSWER),
        (503, Confirmation.NO_ANSWER),
    ],
)
@on_both_loops
async def test_only_a_clear_answer_confirms_or_denies(
    status: int, confirmation: Confirmation
) -> None:
    with scripted_source(answering(f"HTTP/1.1 {status} X\nContent-Length: 0")) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.confirm(address, UNKNOWN, ASKED) == (confirmation, None)


@pytest.mark.parametrize(
    ("field", "denied"),
    [("1-2", ASKED), ("2,9", BlockSet.single(2)), ("9", None), ("all of them", None)],
)
@on_both_loops
async def test_only_blocks_that_were_asked_about_are_denied(
    field: str, denied: BlockSet | None
) -> None:
    head = f"HTTP/1.1 410 Gone\nCkptd-Blocks: {field}\nContent-Length: 0"
    with scripted_source(answering(head)) as address:
        async with Inquirer() as inquirer:
            assert await inquirer.confirm(address, UNKNOWN, ASKED) == (NOT_HELD, denied)


@on_both_loops
async def test_who_was_wrong_and_has_another_copy_stands_by_that() -> None:
    head = "HTTP/1.1 200 OK\nCkptd-Blocks: 1\nContent-Length: 0"
    with scripted_source(answering(head)) as address:
        async with Inquirer() as inquirer:
            wrong = BlockSet.single(1)
            assert await inquirer.confirm(address, UNKNOWN, ASKED) == (HELD, wrong)


# With certificates


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    (tmp_path / "certificates").mkdir()
    return Certificates(tmp_path / "certificates")


@on_both_loops
async def test_nodes_of_one_cluster_ask_each_other(
    content: FileContent, certificates: Certificates
) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    async with serving(content, identity=host, node=A) as node, Inquirer(guest) as inquirer:
        answer = await inquirer.holdings(node.address)
        assert answer.update == content.holdings()
        guest.handshakes._failed[node.address] = (time.monotonic(), HandshakeFailure.TIMEOUT, "")
        with pytest.raises(HandshakeFailed, match="timeout"):
            await inquirer.holdings(node.address)
        assert (await inquirer.holdings(node.address, etag=answer.etag)).update is None
        assert not guest.handshakes._failed, "it answers"


@on_both_loops
async def test_a_peer_that_names_another_node_than_its_certificate_is_not_believed(
    content: FileContent, certificates: Certificates
) -> None:
    host, guest = certificates.identity(A), certificates.identity(B)
    async with serving(content, identity=host, node=C) as node, Inquirer(guest) as inquirer:
        with pytest.raises(HandshakeFailed, match="it is node-a and calls itself 'node-c'"):
            await inquirer.holdings(node.address)
        assert guest.handshakes.failures == {("client", "wrong_node"): 1}
    content.node = C
    async with serving(content, identity=host, node=A) as node, Inquirer(guest) as inquirer:
        with pytest.raises(ProtocolViolation, match="is of node-c, and came from node-a"):
            await inquirer.holdings(node.address)


@on_both_loops
async def test_a_stranger_is_not_asked_and_one_who_refuses_is_left_alone(
    content: FileContent, certificates: Certificates
) -> None:
    host = certificates.identity(A)
    foreign = Certificates(certificates.directory / "foreign")
    guest = foreign.identity(B)
    async with serving(content, identity=host, node=A) as node, Inquirer(guest) as inquirer:
        with pytest.raises(HandshakeFailed):
            await inquirer.holdings(node.address)
        assert guest.handshakes.failures == {("client", "untrusted"): 1}
    revoked = certificates.identity(B)
    certificates.revoke(certificates.authority.paths_of(B)[0])
    host.refresh()
    async with serving(content, identity=host, node=A) as node, Inquirer(revoked) as inquirer:
        with pytest.raises(HandshakeFailed, match="refused"):
            await inquirer.holdings(node.address)
        assert revoked.handshakes.failures == {("client", "refused"): 1}
