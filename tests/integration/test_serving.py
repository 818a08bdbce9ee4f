"""The serving side on real sockets and files, asked by our own client, curl and aria2c."""

import asyncio
import gc
import json
import os
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest

from ckptd.errors import NotFound
from ckptd.limits import HEAD_BYTES_MAX, KIB, MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import HoldingsDelta, apply_delta
from ckptd.model.ids import Digest
from ckptd.model.words import RefusalReason, UnservedReason, Urgency
from ckptd.net.source import server
from ckptd.net.source.caps import ConnectionCaps
from ckptd.traffic.workload import BODIES_MIN, RETRY_AFTER_S
from ckptd.wire.holdings_document import decode_holdings
from tests.support.serving import (
    EPOCH,
    NODE,
    Client,
    FileContent,
    client_of,
    on_both_loops,
    request,
    serving,
    until,
)

pytestmark = pytest.mark.integration

UNKNOWN = Digest("0" * 64)


@pytest.fixture
def content(tmp_path: Path) -> FileContent:
    """Three files, one of them empty; 700 KiB in all."""
    return FileContent(
        tmp_path,
        {"a.bin": os.urandom(300 * KIB), "b.empty": b"", "c.bin": os.urandom(400 * KIB)},
    )


@pytest.fixture
def big(tmp_path: Path) -> FileContent:
    """More than the kernel takes into its buffers."""
    return FileContent(tmp_path, {"big.bin": os.urandom(MIB) * 48})


def version_of(content: FileContent) -> str:
    return f"/v1/checkpoints/{content.digest}"


@on_both_loops
async def test_a_version_is_answered_whole(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        response = await client.ask(version_of(content))
    assert response.status == 200
    assert response.body == content.data
    assert response.fields["etag"] == f'"{content.digest}"'
    assert response.fields["accept-ranges"] == "bytes"
    assert response.fields["ckptd-node"] == NODE
    assert response.fields["ckptd-epoch"] == str(EPOCH)
    assert response.fields["ckptd-load"] == "0"
    assert content.sent == {"normal": len(content.data)}


@on_both_loops
async def test_a_range_is_answered_206(content: FileContent) -> None:
    size, border = content.size_bytes, 300 * KIB
    ranges = {
        "0-0": (0, 1),
        "5-99": (5, 100),
        f"{border - 1}-{border}": (border - 1, border + 1),
        f"{border}-": (border, size),
        f"{size - 1}-": (size - 1, size),
        "-1": (size - 1, size),
        f"-{size + 1}": (0, size),
        f"0-{10**18}": (0, size),
    }
    async with serving(content) as node, client_of(node.address) as client:
        for text, (start, end) in ranges.items():
            response = await client.ask(
                version_of(content), range=f"bytes={text}", ckptd_class="critical"
            )
            assert response.status == 206, text
            assert response.fields["content-range"] == f"bytes {start}-{end - 1}/{size}"
            assert response.body == content.data[start:end], text
    assert content.sent == {"critical": sum(end - start for start, end in ranges.values())}


@on_both_loops
async def test_head_is_answered_without_a_body(content: FileContent) -> None:
    targets = [version_of(content), f"/v1/manifests/{content.digest}", "/v1/holdings"]
    async with serving(content) as node, client_of(node.address) as client:
        for target in targets:
            head = await client.ask(target, "HEAD")
            whole = await client.ask(target)
            assert (head.status, head.body) == (200, b"")
            assert head.fields["content-length"] == str(len(whole.body))
        assert (await client.ask(f"/v1/manifests/{UNKNOWN}", "HEAD")).status == 404


@on_both_loops
async def test_what_cannot_be_answered_is_explained(content: FileContent) -> None:
    version = version_of(content)
    asked = {
        request(version, range=f"bytes={content.size_bytes}-"): 416,
        request(version, range="bytes=0-0,5-9"): 400,
        request(version, range="items=0-1"): 400,
        request(version + "?a=b"): 400,
        request("/v1/nothing"): 404,
        request("/v1/checkpoints/../etc/passwd"): 404,
        request(f"/v1/checkpoints/{UNKNOWN}"): 404,
        request(f"/v1/manifests/{UNKNOWN}"): 404,
    }
    async with serving(content) as node, client_of(node.address) as client:
        for head, status in asked.items():
            client.send(head)
            response = await client.response()
            assert response.status == status, head
            assert set(json.loads(response.body)["error"]) == {"code", "message"}
            if status == 416:
                assert response.fields["content-range"] == f"bytes */{content.size_bytes}"
        assert node.server.unserved == {UnservedReason.NOT_HELD: 2}, "the others are mistakes"
        assert (await client.ask(f"/v1/signatures/{UNKNOWN}")).status == 404
        assert node.server.unserved == {UnservedReason.NOT_HELD: 2}, "most have none"
        # A refusal does not cost the connection.
        assert (await client.ask(version)).body == content.data


@on_both_loops
async def test_what_is_no_request_is_refused_and_the_connection_closed(
    content: FileContent,
) -> None:
    hostile = {
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx": 405,
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx": 400,
        b"GET / HTTP/1.1\r\n\r\n": 400,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n": 400,
        b"GET / HTTP/3.0\r\nHost: a\r\n\r\n": 400,
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * HEAD_BYTES_MAX: 431,
        b"x" * 3 * HEAD_BYTES_MAX: 431,
    }
    async with serving(content) as node:
        for data, status in hostile.items():
            async with client_of(node.address) as client:
                client.send(data)
                response = await client.response()
                assert response.status == status, data[:40]
                assert response.fields["connection"] == "close"
                assert await client.ended()


@on_both_loops
async def test_a_head_may_come_in_single_bytes(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        for byte in request(version_of(content), range="bytes=1-2"):
            client.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await client.response()).body == content.data[1:3]


@on_both_loops
async def test_a_head_that_does_not_end_is_answered_408(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_NS", 20 * MS)
    async with serving(content) as node, client_of(node.address) as client:
        client.send(b"GET / HT")
        assert (await client.response()).status == 408
        assert await client.ended()


@on_both_loops
async def test_an_idle_connection_is_closed_without_a_word(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_TIMEOUT_NS", 20 * MS)
    async with serving(content) as node, client_of(node.address) as client:
        assert (await client.ask("/v1/holdings")).status == 200
        assert await client.ended()
        assert not node.server.caps.refusals


@on_both_loops
async def test_a_connection_that_asks_nothing_is_closed_sooner(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_NS", 20 * MS)
    async with serving(content) as node, client_of(node.address) as client:
        assert await client.ended()
        assert node.server.caps.refusals == {RefusalReason.HEAD_LATE: 1}


@on_both_loops
async def test_a_second_head_that_has_begun_must_end_in_time_too(
    content: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_NS", 20 * MS)
    async with serving(content) as node, client_of(node.address) as client:
        client.send(request("/v1/holdings") + b"G")
        assert (await client.response()).status == 200
        assert (await client.response()).status == 408
        assert await client.ended()


@on_both_loops
async def test_requests_that_come_at_once_are_answered_in_order(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        client.send(
            request(version_of(content), range="bytes=0-299999")
            + request(f"/v1/manifests/{UNKNOWN}")
            + request("/v1/holdings", "HEAD")
            + request(version_of(content), range="bytes=7-9")
        )
        assert (await client.response()).body == content.data[:300_000]
        assert (await client.response()).status == 404
        assert (await client.response("HEAD")).status == 200
        assert (await client.response()).body == content.data[7:10]


@on_both_loops
async def test_a_connection_ends_when_the_client_wants_it_to(content: FileContent) -> None:
    async with serving(content) as node:
        async with client_of(node.address) as client:
            assert (await client.ask("/v1/holdings", connection="close")).status == 200
            assert await client.ended()
        async with client_of(node.address) as client:
            client.send(b"GET /v1/holdings HTTP/1.0\r\n\r\n")
            assert (await client.response()).fields["connection"] == "close"
            assert await client.ended()
        async with client_of(node.address) as client:
            client.send(b"GET /v1/holdings HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 2)
            assert (await client.response()).fields["connection"] == "keep-alive"
            assert (await client.response()).status == 200


@on_both_loops
async def test_conditions_are_heeded(content: FileContent) -> None:
    version, etag = version_of(content), f'"{content.digest}"'
    async with serving(content) as node, client_of(node.address) as client:
        ask = client.ask
        assert (await ask(version, range="bytes=0-1", if_range=etag)).status == 206
        assert (await ask(version, range="bytes=0-1", if_range='"other"')).status == 200
        assert (await ask(version, if_none_match=f'"x", W/{etag}')).status == 304
        assert (await ask(version, if_none_match="*", range="bytes=0-1")).status == 304
        assert (await ask(version, if_none_match='"x"')).status == 200
        manifest = await ask(f"/v1/manifests/{content.digest}")
        assert manifest.body == content.encoded
        assert "immutable" in manifest.fields["cache-control"]
        assert (await ask(f"/v1/manifests/{content.digest}", if_none_match=etag)).status == 304


@on_both_loops
async def test_an_empty_version_has_an_empty_body_and_no_ranges(tmp_path: Path) -> None:
    content = FileContent(tmp_path, {"empty": b""})
    async with serving(content) as node, client_of(node.address) as client:
        assert (await client.ask(version_of(content)))[0::2] == (200, b"")
        assert (await client.ask(version_of(content), range="bytes=0-")).status == 416


@on_both_loops
async def test_a_range_that_is_not_held_is_answered_404(tmp_path: Path) -> None:
    contents = {"a": os.urandom(600 * KIB)}
    content = FileContent(tmp_path, contents, held=BlockSet([(0, 1)]))
    async with serving(content) as node, client_of(node.address) as client:
        version, border = version_of(content), 256 * KIB
        assert (await client.ask(version, range=f"bytes=0-{border - 1}")).status == 206
        assert (await client.ask(version, range=f"bytes=0-{border}")).status == 404
        assert (await client.ask(version)).status == 404
        # HEAD asks whether the node stands by its holding, whichever blocks that are.
        assert (await client.ask(version, "HEAD")).status == 200


@on_both_loops
async def test_many_small_files_are_one_range(tmp_path: Path) -> None:
    contents = {f"{index:04}": os.urandom(1 + index % 97) for index in range(1500)}
    content = FileContent(tmp_path, contents)
    async with serving(content) as node, client_of(node.address) as client:
        response = await client.ask(version_of(content), range="bytes=3-")
    assert response.body == content.data[3:]


# Holdings


@on_both_loops
async def test_holdings_have_an_entity_tag_of_epoch_and_revision(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        first = await client.ask("/v1/holdings")
        assert first.fields["etag"] == f'"{EPOCH}-1"'
        again = await client.ask("/v1/holdings", if_none_match=first.fields["etag"])
        assert (again.status, again.body) == (304, b"")
        content.change()
        assert (await client.ask("/v1/holdings", if_none_match=f'"{EPOCH}-1"')).status == 200


@on_both_loops
async def test_the_answer_about_holdings_waits_for_a_change(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        client.send(request("/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60"))
        # A second connection is answered meanwhile, so the first is waiting by now.
        async with client_of(node.address) as other:
            await other.ask("/v1/holdings")
        content.change()
        response = await client.response()
    assert (response.status, response.fields["etag"]) == (200, f'"{EPOCH}-2"')


@on_both_loops
async def test_whoever_wants_to_is_told_only_what_changed(content: FileContent) -> None:
    first, before = f'"{EPOCH}-1"', content.holdings()
    async with serving(content) as node, client_of(node.address) as client:
        content.change()
        told = await client.ask("/v1/holdings", if_none_match=first, ckptd_delta="1")
        assert (told.status, told.fields["etag"]) == (200, f'"{EPOCH}-2"')
        assert told.fields["cache-control"] == "no-store"
        delta = decode_holdings(told.body)
        assert isinstance(delta, HoldingsDelta)
        assert apply_delta(before, delta) == content.holdings()
        for etag, wanted in (
            (first, ""),
            (first, "2"),
            (f'"{EPOCH + 1}-1"', "1"),
            (f'"{EPOCH}-0"', "1"),
            (f'"{EPOCH}-9"', "1"),
            ('"x"', "1"),
        ):
            told = await client.ask("/v1/holdings", if_none_match=etag, ckptd_delta=wanted)
            assert decode_holdings(told.body) == content.holdings()


@on_both_loops
async def test_a_drain_ends_the_wait_for_a_change(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        client.send(request("/v1/holdings", if_none_match=f'"{EPOCH}-1"', prefer="wait=60"))
        async with client_of(node.address) as other:
            await other.ask("/v1/holdings")
            node.server.drain()
            response = await client.response()
            assert (response.status, response.fields["connection"]) == (304, "close")
            assert await client.ended()
            assert await other.ended()


# Content that changes


@on_both_loops
async def test_a_file_that_changes_while_it_is_sent_leaves_the_body_unfinished(
    content: FileContent,
) -> None:
    path = content.directory / "c.bin"
    before = threading.active_count()

    def overwrite() -> None:
        content.after_piece = lambda: None
        path.write_bytes(b"new")

    content.after_piece = overwrite
    async with serving(content) as node:
        async with client_of(node.address) as client:
            client.send(request(version_of(content), range=f"bytes={300 * KIB}-"))
            head = await client.head()
            assert head.status == 206
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.reader.readexactly(head.content_length or 0)
        async with client_of(node.address) as client:
            assert (await client.ask(version_of(content))).status == 410
        assert node.server.unserved == {UnservedReason.CUT_CHANGED: 1, UnservedReason.CHANGED: 1}
    assert content.sent["normal"] < 400 * KIB
    assert threading.active_count() == before
    assert not [fd for fd in open_paths() if fd.startswith(str(content.directory))]


@on_both_loops
async def test_a_file_that_changed_before_it_is_sent_is_answered_410(content: FileContent) -> None:
    (content.directory / "a.bin").write_bytes(b"new")
    async with serving(content) as node, client_of(node.address) as client:
        response = await client.ask(version_of(content), range="bytes=5-9")
        assert response.status == 410
        assert node.server.unserved == {UnservedReason.CHANGED: 1}
        assert str(content.directory) not in response.body.decode()
        assert content.is_stale
        # The connection lives on.
        assert (await client.ask("/v1/holdings")).status == 200


@on_both_loops
async def test_a_file_that_became_shorter_leaves_the_body_unfinished(content: FileContent) -> None:
    # Behind the back of every check: the size is the same until the bytes are sent.
    content._check = lambda path: None  # type: ignore[method-assign]
    os.truncate(content.directory / "c.bin", 1)
    async with serving(content) as node, client_of(node.address) as client:
        client.send(request(version_of(content)))
        head = await client.head()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reader.readexactly(head.content_length or 0)
    assert content.is_stale


@on_both_loops
async def test_a_version_that_goes_away_is_not_held_and_nothing_is_stale(
    content: FileContent,
) -> None:
    def go_away(path: str = "") -> None:
        raise NotFound(f"version {path}", "its recovery was given up")

    content.after_piece = go_away
    async with serving(content) as node:
        async with client_of(node.address) as client:
            client.send(request(version_of(content)))
            head = await client.head()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.reader.readexactly(head.content_length or 0)
        content._check = go_away  # type: ignore[method-assign]
        async with client_of(node.address) as client:
            assert (await client.ask(version_of(content), range="bytes=5-9")).status == 404
            assert (await client.ask("/v1/holdings")).status == 200
        assert node.server.unserved == {UnservedReason.CUT_FAILED: 1, UnservedReason.NOT_HELD: 1}
    assert not content.is_stale


# Many connections, slow connections, the end


@on_both_loops
async def test_a_reader_that_takes_nothing_is_cut_off(
    big: FileContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 20 * MS)
    async with serving(big) as node, client_of(node.address) as client:
        client.send(request(version_of(big)))
        assert (await client.head()).status == 200
        await until(lambda: not node.listener.connection_count)
        assert node.server.caps.refusals == {RefusalReason.READER_SLOW: 1}
        assert node.server.unserved == {UnservedReason.CUT_BY_RECEIVER: 1}
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.reader.readexactly(big.size_bytes)


@on_both_loops
async def test_slow_readers_hold_up_nobody_and_their_threads_end(big: FileContent) -> None:
    before = threading.active_count()
    async with serving(big) as node:
        slow = [client_of(node.address) for _ in range(4)]
        clients = [await opened.__aenter__() for opened in slow]
        for client in clients:
            client.send(request(version_of(big)))
            assert (await client.head()).status == 200
        async with client_of(node.address) as fast:
            response = await fast.ask(version_of(big), range="bytes=0-999999")
            assert response.body == big.data[:1_000_000]
            assert int(response.fields["ckptd-load"]) > 4 * 20 * MIB
    assert threading.active_count() == before
    assert node.server.load_bytes == 0
    assert node.server.unserved == {UnservedReason.CUT_STOPPED: 4}
    for opened in slow:
        await opened.__aexit__(None, None, None)


@on_both_loops
async def test_beyond_what_it_can_send_receivers_are_turned_away_and_keep_their_connection(
    big: FileContent,
) -> None:
    caps = ConnectionCaps(per_address_max=2 * BODIES_MIN)
    async with (
        serving(big, caps) as node,
        client_of(node.address) as late,
        AsyncExitStack() as readers,
    ):
        for _ in range(BODIES_MIN):
            client = await readers.enter_async_context(client_of(node.address))
            client.send(request(version_of(big)))
            assert (await client.head()).status == 200
        refused = await late.ask(version_of(big), range="bytes=0-9")
        assert (refused.status, refused.fields["retry-after"]) == (429, str(RETRY_AFTER_S))
        assert json.loads(refused.body)["error"]["code"] == "busy"
        assert int(refused.fields["ckptd-load"]) > 0
        assert node.server.unserved == {UnservedReason.BUSY: 1}
        assert (await late.ask(version_of(big), "HEAD")).status == 200, "it stands by what it has"
        assert (await late.ask("/v1/holdings")).status == 200
        await readers.aclose()
        workload = node.server.workloads[Urgency.NORMAL]
        await until(lambda: workload.body_count < BODIES_MIN)
        assert (await late.ask(version_of(big), range="bytes=0-9")).body == big.data[:10]
    assert (workload.body_count, workload.load_bytes) == (0, 0)


@on_both_loops
async def test_a_running_response_is_finished_when_the_node_stops(big: FileContent) -> None:
    async with serving(big) as node:
        async with client_of(node.address) as client:
            client.send(request(version_of(big)))
            head = await client.head()
            # This one is too late, and must not cost the end of the first response.
            client.send(request(version_of(big)))
            node.server.drain()
            drained = asyncio.ensure_future(node.listener.drain())
            body = await client.reader.readexactly(head.content_length or 0)
            assert body == big.data
            assert await client.ended()
        await drained
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*node.address)


@on_both_loops
async def test_idle_connections_cost_the_others_nothing(content: FileContent) -> None:
    async with serving(content, ConnectionCaps(per_address_max=200, unproven_max=200)) as node:
        idle = [socket.create_connection(node.address) for _ in range(100)]
        async with client_of(node.address) as client:
            assert (await client.ask(version_of(content))).body == content.data
            assert node.listener.connection_count == 101
        for connection in idle:
            connection.close()


@on_both_loops
async def test_one_connection_too_many_hears_why_and_is_closed(content: FileContent) -> None:
    nobody_idle = ConnectionCaps(connections_max=2, clock=lambda: 0.0)
    async with (
        serving(content, nobody_idle) as node,
        client_of(node.address) as first,
        client_of(node.address) as second,
    ):
        assert (await first.ask("/v1/holdings")).status == 200
        assert (await second.ask("/v1/holdings")).status == 200
        async with client_of(node.address) as third:
            answer = await third.ask("/v1/holdings")
            assert (answer.status, answer.fields["ckptd-refused"]) == (503, "connections")
            assert await third.ended()
        assert node.server.caps.refusals == {RefusalReason.CONNECTIONS: 1}
        assert (await first.ask("/v1/holdings")).status == 200


@on_both_loops
async def test_the_listener_survives_running_out_of_descriptors(
    content: FileContent, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(content) as node:
        with socket.socket() as waiting, socket.socket() as probe:
            waiting.settimeout(0)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (probe.fileno() + 50, limits[1]))
            taken: list[int] = []
            try:
                with suppress(OSError):
                    while True:
                        taken.append(os.dup(probe.fileno()))
                await asyncio.get_running_loop().sock_connect(waiting, node.address)
                await until(lambda: "no connection can be accepted" in caplog.text)
            finally:
                for fd in taken:
                    os.close(fd)
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            reader, writer = await asyncio.open_connection(sock=waiting.dup())
            client = Client(reader, writer)
            assert (await client.ask("/v1/holdings")).status == 200
            writer.close()
            await writer.wait_closed()


@on_both_loops
async def test_serving_leaves_nothing_behind(content: FileContent) -> None:
    async with serving(content) as node, client_of(node.address) as client:
        await client.ask(version_of(content))
    gc.collect()  # what earlier tests dropped
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        async with serving(content) as node, client_of(node.address) as client:
            await client.ask(version_of(content))
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == descriptors


def open_paths() -> Iterator[str]:
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            yield os.readlink(f"/proc/self/fd/{fd}")


# Other programs


async def run(program: str, *arguments: str) -> bytes:
    """Run a program to its end; return what it writes."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    process = await asyncio.create_subprocess_exec(
        program, *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors
    return output


@on_both_loops
async def test_curl_gets_ranges_heads_and_refusals(content: FileContent, tmp_path: Path) -> None:
    async with serving(content) as node:
        url = f"http://{node.address[0]}:{node.address[1]}{version_of(content)}"
        status = ("-o", "/dev/null", "-w", "%{http_code}")
        assert await run("curl", "-sS", url) == content.data
        assert await run("curl", "-sS", "-r", "5-99", url) == content.data[5:100]
        assert await run("curl", "-sS", "-r", "-7", url) == content.data[-7:]
        head = await run("curl", "-sSI", url)
        assert f"Content-Length: {content.size_bytes}".encode() in head
        assert await run("curl", "-sS", "-r", "9999999-", *status, url) == b"416"
        assert await run("curl", "-sS", "-r", "0-1,4-5", *status, url) == b"400"
        assert await run("curl", "-sS", "-X", "DELETE", *status, url) == b"405"
        assert await run("curl", "-sS", "--http1.0", url) == content.data
        assert await run("curl", "-sS", "--http2", url) == content.data
        # A download that broke goes on where it was.
        part = tmp_path / "part"
        part.write_bytes(content.data[:1000])
        await run("curl", "-sS", "-C", "-", "-o", str(part), url)
        assert part.read_bytes() == content.data


@on_both_loops
async def test_aria2c_downloads_over_four_connections(big: FileContent, tmp_path: Path) -> None:
    async with serving(big) as node:
        url = f"http://{node.address[0]}:{node.address[1]}{version_of(big)}"
        options = ("--no-conf", "-q", "-x4", "-s4", "-k1M", "--file-allocation=none")
        await run("aria2c", *options, "-d", str(tmp_path), "-o", "copy", url)
    assert (tmp_path / "copy").read_bytes() == big.data
