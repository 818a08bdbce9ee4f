"""Both kinds of connection over a real one: bytes arrive as they were sent, and ends are told."""

import asyncio
import os
import socket
import ssl
import struct
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.words import HandshakeFailure, Urgency
from ckptd.net.connection.handshakes import HandshakeFailed
from ckptd.net.connection.transports import Connection, SecureConnection, reset_on_close
from tests.support.certificates import client_context
from tests.support.pairs import Contexts, Pair, connected_pair, fill, secure, secure_end

DATA = os.urandom(300 * KIB)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with connected_pair() as pair:
        yield pair


Ends = tuple[Connection, Connection]


@pytest.fixture(params=["plain", "secure"])
async def ends(
    request: pytest.FixtureRequest, pair: Pair, contexts: Contexts
) -> AsyncIterator[Ends]:
    """Two ends that do not block, on the loop."""
    if request.param == "plain":
        pair.theirs.setblocking(False)
        yield Connection(pair.ours), Connection(pair.theirs)
    else:
        yield await secure(pair, contexts)


async def receive(connection: Connection, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        part = await connection.receive(min(size_bytes - len(data), 10_000))
        assert part, f"the end after {len(data)} bytes"
        data += part
    return data


async def test_what_is_sent_on_the_loop_is_received_on_the_loop(ends: Ends) -> None:
    ours, theirs = ends
    async with asyncio.TaskGroup() as group:
        group.create_task(ours.send(DATA))
        group.create_task(theirs.send(memoryview(DATA)))
        assert await receive(theirs, len(DATA)) == DATA
        assert await receive(ours, len(DATA)) == DATA


async def test_the_end_of_what_is_sent_is_received(ends: Ends) -> None:
    ours, theirs = ends
    await ours.send(b"the last")
    await ours.finish()
    assert await receive(theirs, 8) == b"the last"
    assert await theirs.receive(10) == b""
    await theirs.send(b"heard")
    assert await ours.receive(10) == b"heard"


async def test_an_end_without_a_word_is_an_end(ends: Ends) -> None:
    ours, theirs = ends
    ours.socket.close()
    assert await theirs.receive(10) == b""


async def test_what_is_sent_at_once_arrives(ends: Ends) -> None:
    ours, theirs = ends
    assert ours.send_now(b"a request") is True
    assert await receive(theirs, 9) == b"a request"


@pytest.mark.parametrize("size_bytes", [1, 256 * KIB, 256 * KIB + 1, 300 * KIB])
async def test_a_thread_sends_everything_it_has(ends: Ends, size_bytes: int) -> None:
    ours, theirs = ends
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as threads:
        sending = loop.run_in_executor(threads, ours.send_all, DATA[:size_bytes])
        assert await receive(theirs, size_bytes) == DATA[:size_bytes]
        await sending
    assert ours._pace.given_bytes >= size_bytes


@pytest.mark.parametrize(("offset", "size_bytes"), [(0, 1), (7, 100), (5, 300 * KIB - 5)])
async def test_a_thread_sends_from_a_file(ends: Ends, offset: int, size_bytes: int) -> None:
    ours, theirs = ends

    def send(fd: int) -> None:
        sent = 0
        while sent < size_bytes:
            count = ours.send_file(fd, offset + sent, size_bytes - sent)
            assert 0 < count <= size_bytes - sent
            sent += count
        assert ours.send_file(fd, len(DATA), 1) == 0, "the end of the file"

    with tempfile.TemporaryFile() as file, ThreadPoolExecutor(1) as threads:
        file.write(DATA)
        file.flush()
        before = ours._pace.given_bytes
        sending = asyncio.get_running_loop().run_in_executor(threads, send, file.fileno())
        assert await receive(theirs, size_bytes) == DATA[offset : offset + size_bytes]
        await sending
    assert ours._pace.given_bytes - before >= size_bytes


async def test_a_receiver_that_takes_nothing_is_not_waited_for(
    contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.net.connection.pace.BODY_RATE_WINDOW_NS", 5 * MS)
    for is_secure in (False, True):
        with connected_pair(buffer_bytes=16 * KIB) as pair:
            ours = (await secure(pair, contexts))[0] if is_secure else Connection(pair.ours)
            fill(pair.ours)
            with pytest.raises(TimeoutError):
                ours.send_all(bytes(MIB))
            with pytest.raises(TimeoutError):
                ours.wait_for_room()
            with tempfile.TemporaryFile() as file:
                file.write(DATA)
                file.flush()
                with pytest.raises(TimeoutError):
                    ours.send_file(file.fileno(), 0, len(DATA))


# In a thread that reads


async def test_a_reader_looks_at_what_it_leaves_and_takes_it_later(ends: Ends) -> None:
    ours, theirs = ends
    theirs.read_in_intervals(SECOND)
    assert not theirs.wait(0)
    await ours.send(b"0123456789")
    assert theirs.wait()
    assert theirs.peek(20) == b"0123456789"
    assert theirs.peek(4) == b"0123"
    assert theirs.wait(0)
    assert theirs.take(3) == b"012"
    assert theirs.peek(20) == b"3456789"
    assert theirs.wait(0)
    assert theirs.take(20) == b"3456789"
    assert not theirs.wait(0)


async def test_what_a_reader_did_not_look_at_is_there_to_be_read(ends: Ends) -> None:
    ours, theirs = ends
    theirs.read_in_intervals(SECOND)
    await ours.send(b"0123456789")
    assert theirs.peek(4) == b"0123"
    assert theirs.wait(0)
    assert theirs.take(4) == b"0123"
    assert theirs.wait(0)
    assert theirs.take(20) == b"456789"


async def test_a_reader_fills_memory_with_what_it_saw_and_what_follows(ends: Ends) -> None:
    ours, theirs = ends
    theirs.read_in_intervals(SECOND)
    await ours.send(b"head" + DATA[:1000])
    assert theirs.peek(5)[:4] == b"head"
    assert theirs.take(4) == b"head"
    memory = bytearray(1000)
    filled = 0
    while filled < len(memory):
        count = theirs.fill(memoryview(memory)[filled:])
        assert count > 0
        filled += count
    assert memory == DATA[:1000]


async def test_a_reader_that_saw_more_than_it_has_memory_for_loses_nothing(ends: Ends) -> None:
    ours, theirs = ends
    theirs.read_in_intervals(SECOND)
    await ours.send(b"0123456789")
    assert theirs.peek(10) == b"0123456789"
    memory = bytearray(4)
    assert theirs.fill(memoryview(memory)) == 4
    assert memory == b"0123"
    assert theirs.take(10) == b"456789"


async def test_the_end_is_told_to_a_reader_however_it_reads(ends: Ends) -> None:
    ours, theirs = ends
    theirs.read_in_intervals(SECOND)
    await ours.send(b"last")
    await ours.finish()
    memory = bytearray(10)
    assert theirs.fill(memoryview(memory)) == 4
    assert theirs.fill(memoryview(memory)) == 0
    assert theirs.peek(1) == b""
    assert theirs.take(1) == b""
    assert theirs.wait(0), "the end can be read"


async def test_a_read_returns_after_the_interval(ends: Ends) -> None:
    _, theirs = ends
    theirs.read_in_intervals(1 * SECOND + 5 * MS)
    interval = theirs.socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16)
    seconds, microseconds = struct.unpack("ll", interval)
    assert theirs.socket.getblocking()
    assert seconds == 1
    assert 5_000 <= microseconds <= 12_000, "the kernel counts in ticks"
    theirs.read_in_intervals(1 * MS)
    memory = memoryview(bytearray(1))
    for read in (lambda: theirs.peek(1), lambda: theirs.take(1), lambda: theirs.fill(memory)):
        with pytest.raises(BlockingIOError):
            read()


# Marks, corks and ends


async def test_a_connection_is_marked_once_for_each_class(pair: Pair) -> None:
    connection = Connection(pair.ours)
    assert connection.urgency is None
    connection.mark(Urgency.DEFERRED)
    assert pair.ours.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 8 << 2
    pair.ours.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0)
    connection.mark(Urgency.DEFERRED)
    assert pair.ours.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 0, "it has its mark"
    connection.mark(Urgency.CRITICAL)
    assert pair.ours.getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 18 << 2


async def test_a_connection_is_paced_once_for_each_rate(pair: Pair) -> None:
    connection = Connection(pair.ours)
    connection.pace(MIB)
    assert pair.ours.getsockopt(socket.SOL_SOCKET, 47) == MIB * 5 // 4
    pair.ours.setsockopt(socket.SOL_SOCKET, 47, 2 * MIB)
    connection.pace(MIB)
    assert pair.ours.getsockopt(socket.SOL_SOCKET, 47) == 2 * MIB
    connection.pace(None)
    assert pair.ours.getsockopt(socket.SOL_SOCKET, 47) % 2**32 == 2**32 - 1


async def test_what_waits_for_a_full_segment_is_pushed_and_the_next_waits_again(
    pair: Pair,
) -> None:
    connection = Connection(pair.ours)
    pair.theirs.setblocking(False)
    connection.cork(is_on=True)
    connection.send_all(b"a part")
    with pytest.raises(BlockingIOError):
        pair.theirs.recv(10)
    connection.push()
    assert pair.theirs.recv(10) == b"a part"
    connection.send_all(b"more")
    with pytest.raises(BlockingIOError):
        pair.theirs.recv(10)
    connection.cork(is_on=False)
    assert pair.theirs.recv(10) == b"more"


async def test_records_are_not_corked(pair: Pair, contexts: Contexts) -> None:
    ours, _ = await secure(pair, contexts)
    ours.cork(is_on=True)
    assert pair.ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK) == 0


async def test_the_other_end_has_an_address_as_long_as_it_is_there(pair: Pair) -> None:
    connection = Connection(pair.ours)
    assert connection.peer_address == "127.0.0.1"
    pair.ours.close()
    assert connection.peer_address == ""


async def test_an_ipv4_address_is_written_as_one() -> None:
    with (
        socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening,
        socket.create_connection(("127.0.0.1", listening.getsockname()[1])),
    ):
        accepted, _ = listening.accept()
        with accepted:
            assert Connection(accepted).peer_address == "127.0.0.1"


async def test_what_was_taken_is_what_was_acknowledged(ends: Ends) -> None:
    ours, theirs = ends
    await ours.send(b"0123456789")
    await receive(theirs, 10)
    while ours.taken_bytes < 10:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_a_connection_that_is_reset_does_not_look_complete(pair: Pair) -> None:
    pair.ours.send(b"part")
    reset_on_close(pair.ours)
    pair.ours.close()
    with pytest.raises(ConnectionResetError):
        pair.heard_to_the_end()


async def test_a_request_that_does_not_fit_is_not_sent_in_part_unnoticed(
    contexts: Contexts,
) -> None:
    for is_secure in (False, True):
        with connected_pair(buffer_bytes=16 * KIB) as pair:
            ours = (await secure(pair, contexts))[0] if is_secure else Connection(pair.ours)
            assert ours.send_now(bytes(MIB)) is False


# Handshakes


async def test_who_closes_in_the_handshake_is_disconnected(pair: Pair, contexts: Contexts) -> None:
    ours = SecureConnection(pair.ours, contexts.server, is_server=True)
    pair.theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(HandshakeFailed) as failed:
        await ours.handshake()
    assert failed.value.failure is HandshakeFailure.DISCONNECTED


async def test_who_is_refused_learns_why(pair: Pair, contexts: Contexts) -> None:
    pair.theirs.setblocking(False)
    ours = SecureConnection(pair.ours, contexts.server, is_server=True)
    refused = asyncio.ensure_future(ours.handshake())
    theirs = await secure_end(pair.theirs, client_context(None))
    with pytest.raises(HandshakeFailed, match="peer did not return a certificate") as failed:
        await refused
    assert failed.value.failure is HandshakeFailure.NO_CERTIFICATE
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        await theirs.receive(1)


async def test_who_does_not_trust_says_what_it_found(pair: Pair, contexts: Contexts) -> None:
    pair.theirs.setblocking(False)
    strict = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    strict.check_hostname = False
    ours = SecureConnection(pair.ours, contexts.server, is_server=True)
    serving = asyncio.ensure_future(ours.handshake())
    with pytest.raises(
        HandshakeFailed, match="self-signed certificate in certificate chain"
    ) as failed:
        await secure_end(pair.theirs, strict)
    assert failed.value.failure is HandshakeFailure.UNTRUSTED
    with suppress(HandshakeFailed):
        await serving


@pytest.mark.parametrize("read", [SecureConnection.peek, SecureConnection.fill])
async def test_what_reading_makes_tls_say_goes_out_though_nobody_sends(
    pair: Pair, contexts: Contexts, read: Callable[..., object]
) -> None:
    """As when a key is updated."""
    ours, theirs = await secure(pair, contexts)
    ours.read_in_intervals(1 * MS)
    ours.tls.write(b"an answer")
    with pytest.raises(BlockingIOError):
        read(ours, 1 if read is SecureConnection.peek else memoryview(bytearray(1)))
    assert await theirs.receive(20) == b"an answer"


async def end_of_tls_alone(connection: SecureConnection) -> None:
    """Say the end in TLS, and not in TCP."""
    with suppress(ssl.SSLError):
        connection.tls.unwrap()
    await connection._flush()


@pytest.mark.parametrize("is_finished", [False, True])
async def test_the_end_in_tls_is_the_end_whatever_tcp_says(
    pair: Pair, contexts: Contexts, *, is_finished: bool
) -> None:
    ours, theirs = await secure(pair, contexts)
    if is_finished:
        await theirs.finish()
    theirs.read_in_intervals(1 * MS)
    await ours.send(b"last")
    await end_of_tls_alone(ours)
    memory = memoryview(bytearray(10))
    assert theirs.fill(memory) == 4
    assert theirs.fill(memory) == 0
    assert theirs.peek(1) == b""


async def test_the_end_is_said_in_tls_as_well(pair: Pair, contexts: Contexts) -> None:
    ours, theirs = await secure(pair, contexts)
    await ours.finish()
    assert await theirs.receive(1) == b""
    assert theirs.tls.read(1) == b"", "and not that more must come"


async def test_a_reader_does_not_wait_for_room_to_answer(contexts: Contexts) -> None:
    with connected_pair(buffer_bytes=16 * KIB) as pair:
        ours, _ = await secure(pair, contexts)
        ours.tls.write(bytes(MIB))
        with pytest.raises(ConnectionAbortedError):
            ours.peek(1)


async def test_a_thread_encrypts_a_little_at_once_however_much_it_sends(
    pair: Pair, contexts: Contexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = await secure(pair, contexts)
    sizes: list[int] = []
    encrypt = SecureConnection._encrypt

    def noted(self: SecureConnection, data: bytes | memoryview) -> bytes:
        sizes.append(len(data))
        return encrypt(self, data)

    monkeypatch.setattr(SecureConnection, "_encrypt", noted)
    sending = asyncio.ensure_future(asyncio.to_thread(ours.send_all, DATA))
    assert await receive(theirs, len(DATA)) == DATA
    await sending
    assert max(sizes) <= 64 * KIB
