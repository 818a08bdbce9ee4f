"""Peers that take what they can: connections, time, memory, other people's words."""

import asyncio
import os
import re
import socket
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from ckptd.limits import CONNECTIONS_UNPROVEN_MAX, HEAD_TIMEOUT_NS, KIB, MIB, MS, SECOND
from ckptd.model.words import RefusalReason
from ckptd.net.source.caps import ConnectionCaps
from tests.support.cluster import Cluster, Node, eventually, tree_digest
from tests.support.serving import (
    FileContent,
    client_of,
    on_both_loops,
    request,
    serving,
    until,
)
from tests.support.stallers import stalling

pytestmark = pytest.mark.integration


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    return FileContent(tmp_path, {"a": os.urandom(700 * KIB), "b": b"x" * 1000})


HOSTILE_HEADS = {
    "a body": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nGET /", 400),
    "a body in chunks": (
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "both": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
        400,
    ),
    "a length of 2^64": (
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
        400,
    ),
    "a length below 0": (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
    "another verb": (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    "many fields": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 33 + b"\r\n", 431),
    "fields without end": (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"a: b\r\n" * 100_000, 431),
    "a field without end": (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * MIB, 431),
    "folded fields": (b"GET / HTTP/1.1\r\nHost: a\r\n b: c\r\n\r\n", 400),
}


@pytest.mark.parametrize(("head", "status"), HOSTILE_HEADS.values(), ids=HOSTILE_HEADS.keys())
@on_both_loops
async def test_a_hostile_head_is_refused_counted_and_ends_the_connection(
    content: FileContent, head: bytes, status: int
) -> None:
    async with serving(content) as node:
        async with client_of(node.address) as client:
            client.send(head)
            try:
                assert (await client.response()).status == status
                assert await client.ended()
            except ConnectionResetError:
                assert len(head) > 64 * KIB, "only what is not even read past may be reset"
        assert node.server.caps.refusals == {RefusalReason.HEAD: 1}
        await until(lambda: not node.listener.connection_count)


HOSTILE_RANGES = {
    "bytes=" + ",".join(f"{start}-" for start in range(1000)): 400,
    "bytes=0-0,0-0": 400,
    "bytes=0-,-1": 400,
    "bytes=--1": 400,
    "bytes=-1--1": 400,
    "bytes=5-4": 400,
    "bytes=0-18446744073709551616": 400,
    "bytes=18446744073709551615-": 400,
    "bytes=9223372036854775807-": 416,
    "bytes=-0": 416,
    "blocks=0-1": 400,
    "bytes=0x0-0x1": 400,
}


@on_both_loops
async def test_a_hostile_range_is_refused_and_counted(content: FileContent) -> None:
    target = f"/v1/checkpoints/{content.digest}"
    async with serving(content) as node, client_of(node.address) as client:
        for asked, status in HOSTILE_RANGES.items():
            assert (await client.ask(target, range=asked)).status == status, asked
        assert node.server.caps.refusals == {RefusalReason.REQUEST: len(HOSTILE_RANGES)}
        # Ranges need not begin or end with a block: curl and aria2c know of none.
        assert (await client.ask(target, range="bytes=1-4097")).body == content.data[1:4098]
        assert (await client.ask(target, range="bytes=0-9223372036854775807")).status == 206


@on_both_loops
async def test_a_reader_that_only_trickles_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 1 * MS)
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_MIN_BYTES_PER_S", 2**40)
    content = FileContent(tmp_path, {"a": bytes(32 * MIB)})
    async with serving(content) as node, client_of(node.address) as client:
        client.send(request(f"/v1/checkpoints/{content.digest}"))
        with suppress(asyncio.IncompleteReadError, ConnectionResetError):
            for _ in range(content.size_bytes // KIB):
                await client.reader.readexactly(KIB)
            pytest.fail("all of it was taken")
        await until(lambda: node.server.caps.refusals == {RefusalReason.READER_SLOW: 1})


@on_both_loops
async def test_a_source_that_is_held_up_itself_does_not_blame_the_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_MIN_BYTES_PER_S", 2**40)
    content = FileContent(tmp_path, {name: bytes(KIB) for name in "abc"})
    deadline_s = 0.02
    content.after_piece = lambda: time.sleep(deadline_s)  # a disk that is late
    async with serving(content) as node, client_of(node.address) as client:
        answer = await client.ask(f"/v1/checkpoints/{content.digest}")
        assert answer.body == content.data
        assert not node.server.caps.refusals


@on_both_loops
async def test_those_who_only_sit_there_make_room_for_the_next(content: FileContent) -> None:
    async with (
        serving(content, ConnectionCaps(unproven_max=8)) as node,
        client_of(node.address) as before,
    ):
        assert (await before.ask("/v1/holdings")).status == 200
        sitting = [
            socket.create_connection(node.address, source_address=(f"127.0.1.{number}", 0))
            for number in range(1, 30)
        ]
        await until(lambda: node.server.caps.refusals[RefusalReason.UNPROVEN] == 29 - 8)
        async with client_of(node.address) as client:
            assert (await client.ask("/v1/holdings")).status == 200
            assert node.server.caps.unproven_count <= 8
        assert (await before.ask("/v1/holdings")).status == 200, "one in use is never cut"
        for connection in sitting:
            connection.close()
        await until(lambda: node.server.caps.connection_count == 1)


def descriptors(node: Node) -> int:
    return len(os.listdir(f"/proc/{node.pid}/fd"))


def resident_bytes(node: Node) -> int:
    status = Path(f"/proc/{node.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * KIB


def refusals(node: Node) -> dict[str, float]:
    address = node.client.status().listen.metrics
    with urlopen(f"http://{address}/metrics") as page:
        text = page.read().decode()
    found = re.findall(r'^ckptd_refusals_total\{reason="(\w+)"\} (\S+)$', text, re.MULTILINE)
    return {reason: float(count) for reason, count in found}


STALLERS = 1000
STALLERS_BYTES_MAX = 64 * MIB
"""What they may add to the memory of a source: 64 connections of 20 KiB, and slack."""


def test_a_recovery_completes_beside_a_thousand_stallers(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        (source,) = cluster.sources("a")
        receiver = cluster.node("b", peers=[source.address])
        eventually(receiver.client.checkpoints, "the source is known")
        before_fds, before_bytes = descriptors(source), resident_bytes(source)
        host, port = source.address.rsplit(":", 1)
        with stalling((host, int(port)), STALLERS):
            eventually(
                lambda: refusals(source)["unproven"] >= STALLERS - CONNECTIONS_UNPROVEN_MAX,
                "stallers are cut",
            )
            assert descriptors(source) <= before_fds + CONNECTIONS_UNPROVEN_MAX + 32
            receiver.recover(to=receiver.path("100"))
            assert tree_digest(receiver.path("100")) == tree_digest(source.path("100"))
            assert descriptors(source) <= before_fds + CONNECTIONS_UNPROVEN_MAX + 32
            assert resident_bytes(source) <= before_bytes + STALLERS_BYTES_MAX
        eventually(
            lambda: descriptors(source) <= before_fds + 2,
            "the descriptors of stallers are closed",
            timeout_s=2 * HEAD_TIMEOUT_NS / SECOND,
        )
