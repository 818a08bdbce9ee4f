"""Small questions to peers, to an honest one and to those who answer nonsense."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from ckptd.errors import NotFound, ProtocolViolation
from ckptd.limits import KIB
from ckptd.model.holdings import HoldingsDelta, apply_delta
from ckptd.model.ids import Digest
from ckptd.model.words import Confirmation
from ckptd.net import inquiry
from ckptd.net.inquiry import Inquirer
from tests.support.serving import (
    FileContent,
    Script,
    on_both_loops,
    scripted_source,
    serving,
    take_request,
)

UNKNOWN = Digest("0" * 64)


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
        assert await inquirer.manifest(node.address, content.digest) == content.encoded
        with pytest.raises(NotFound):
            await inquirer.manifest(node.address, UNKNOWN)


@on_both_loops
async def test_a_peer_is_asked_whether_it_stands_by_a_holding(content: FileContent) -> None:
    async with Inquirer() as inquirer:
        async with serving(content) as node:
            address = node.address
            assert await inquirer.confirm(address, content.digest) is Confirmation.HELD
            assert await inquirer.confirm(address, UNKNOWN) is Confirmation.NOT_HELD
            content.is_stale = True
            assert await inquirer.confirm(address, content.digest) is Confirmation.NOT_HELD
        assert await inquirer.confirm(address, content.digest) is Confirmation.NO_ANSWER
        with pytest.raises(ConnectionError):
            await inquirer.holdings(address)


def answering(head: str, body: bytes = b"") -> Script:
    def script(connection: socket.socket) -> None:
        take_request(connection)
        connection.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)

    return script


EMPTY = b'{"node":"a","epoch":1,"revision":2,"holdings":[]}'
EMPTY_DELTA = b'{"node":"a","epoch":1,"revision":2,"since":1,"holdings":[]}'


@pytest.mark.parametrize(
    "script",
    [
        answering("HTTP/1.1 200 OK\nContent-Length: 99999999999"),
        answering("HTTP/1.1 200 OK\nTransfer-Encoding: chunked", b"2\r\n{}\r\n0\r\n\r\n"),
        answering("HTTP/1.1 200 OK\nContent-Encoding: gzip\nContent-Length: 2", b"{}"),
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
