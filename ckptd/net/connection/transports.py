"""A connection as both ends of a lane use it: plain, or with TLS in between.

The socket is non-blocking or blocking as its user wants it, and never an ``SSLSocket``: TLS works
on memory (``ssl.MemoryBIO``), so the loop and the threads move ciphertext as they would move
anything, ``shutdown`` wakes whoever waits, and nothing can fall back to plaintext. One thread may
read while the loop sends: a lock keeps them apart, and nobody waits for the network while holding
it.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
import struct
import threading
from contextlib import suppress
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.limits import KIB, SECOND
from ckptd.model.words import HandshakeFailure, Urgency
from ckptd.net.connection.handshakes import HandshakeFailed, failure_of
from ckptd.net.connection.marking import mark, pace_sending
from ckptd.net.connection.pace import Pace

_CIPHERTEXT_BYTES: Final = 512 * KIB
"""Taken from the kernel at once by a thread; 32 records."""
_PLAINTEXT_BYTES: Final = 64 * KIB
"""Encrypted at once by a thread, four records: the receiver has something to do sooner. Three times
in turns with 256 KiB a recovery had 1.05 to 1.13 of the rate, and sources 1.02 to 1.08 of the
processor time; with 32 KiB it was as slow as with 256."""
_HEAD_CIPHERTEXT_BYTES: Final = 16 * KIB
"""Taken from the kernel at once by the loop, which expects heads."""


_decrypting: Final = threading.Lock()
"""Held by the one thread of this process that decrypts. OpenSSL opens one record of 16 KiB at a
call, and each call releases and takes the interpreter lock: four threads at once mostly wake each
other up. One at a time they are as fast with less than two thirds of the work."""

_plaintext: Final = threading.local()
"""The buffer of each thread that encrypts."""


class Connection:
    """A connection; this one without TLS.

    Attributes:
        socket: Connected.
        urgency: The class that it is marked with.
        paced_bytes_per_s: How fast the kernel sends at most; ``None``: as fast as it can.
    """

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.urgency: Urgency | None = None
        self.paced_bytes_per_s: int | None = None
        self._loop = asyncio.get_running_loop()
        self._readable = select.poll()
        self._readable.register(connected, select.POLLIN)
        self._pace = Pace(connected)

    @property
    def peer_address(self) -> str:
        """The IP address of the other end; empty if it is gone."""
        with suppress(OSError):
            return str(self.socket.getpeername()[0]).removeprefix("::ffff:")
        return ""

    # On the loop.

    def mark(self, urgency: Urgency) -> None:
        """Tell the kernel and the network how urgent is what is sent from now on."""
        if urgency is not self.urgency:
            mark(self.socket, urgency)
            self.urgency = urgency

    async def receive(self, size_bytes: int) -> bytes:
        """Receive up to so many bytes; ``b""`` at the end."""
        return await self._loop.sock_recv(self.socket, size_bytes)

    async def send(self, data: bytes | memoryview) -> None:
        """Send everything."""
        await self._loop.sock_sendall(self.socket, data)
        self._pace.given_bytes += len(data)

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; tell whether all of it was taken."""
        return self.socket.send(data, socket.MSG_DONTWAIT) == len(data)

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    @property
    def taken_bytes(self) -> int:
        """What the other end has acknowledged of what was sent."""
        return self._pace.taken_bytes

    # In a thread that reads.

    def read_in_intervals(self, interval_ns: int) -> None:
        """Make reading block, but not for longer than this: then it is ``BlockingIOError``."""
        self.socket.settimeout(None)
        seconds, rest_ns = divmod(interval_ns, SECOND)
        interval = struct.pack("ll", seconds, rest_ns // 1000)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)

    def wait(self, timeout_ms: int | None = None) -> bool:
        """Wait until something can be read, or until the time is over; tell whether it can."""
        return bool(self._readable.poll(timeout_ms))

    def peek(self, size_bytes: int) -> bytes:
        """Return up to so many bytes and leave them; ``b""`` at the end."""
        return self.socket.recv(size_bytes, socket.MSG_PEEK)

    def take(self, size_bytes: int) -> bytes:
        """Return up to so many bytes; ``b""`` at the end."""
        return self.socket.recv(size_bytes)

    def fill(self, memory: memoryview) -> int:
        """Read into memory until it is full or the interval is over; return how much.

        0 is the end of the connection.
        """
        return self.socket.recv_into(memory, len(memory), socket.MSG_WAITALL)

    # In a thread that sends; the socket is non-blocking.

    def cork(self, *, is_on: bool) -> None:
        """Let small parts wait until they make a full segment."""
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_on)

    def wait_for_room(self) -> None:
        """Wait until the kernel takes something; blocks.

        Raises:
            TimeoutError: The receiver takes less than it must.
        """
        self._pace.wait()

    def pace(self, rate_bytes_per_s: int | None) -> None:
        """Let the kernel spread what is sent over time; ``None``: not any more."""
        if rate_bytes_per_s != self.paced_bytes_per_s:
            pace_sending(self.socket, rate_bytes_per_s)
            self.paced_bytes_per_s = rate_bytes_per_s

    def push(self) -> None:
        """Send what waits for a full segment."""
        self.cork(is_on=False)
        self.cork(is_on=True)

    def send_all(self, data: bytes | memoryview) -> None:
        """Send everything; blocks.

        Raises:
            TimeoutError: The receiver takes less than it must.
        """
        rest = memoryview(data)
        while rest:
            try:
                count = self.socket.send(rest)
            except BlockingIOError:
                self._pace.wait()
            else:
                self._pace.given_bytes += count
                rest = rest[count:]

    def send_file(self, fd: int, offset: int, size_bytes: int) -> int:
        """Send some of a file; blocks until there is room for a long stretch.

        Returns:
            How much; 0 at the end of the file.

        Raises:
            TimeoutError: The receiver takes less than it must.
        """
        while True:
            self._pace.wait()
            with suppress(BlockingIOError):
                count = os.sendfile(self.socket.fileno(), fd, offset, size_bytes)
                self._pace.given_bytes += count
                return count


class SecureConnection(Connection):
    """A connection with TLS; of no use before its ``handshake``.

    Attributes:
        tls: Says who the other end is.
    """

    def __init__(
        self, connected: socket.socket, context: ssl.SSLContext, *, is_server: bool
    ) -> None:
        super().__init__(connected)
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._lock = threading.Lock()
        self._ciphertext = memoryview(b"")
        self._seen = b""

    async def handshake(self) -> None:
        """Shake hands.

        Raises:
            HandshakeFailed: It came to nothing.
            OSError: The connection broke.
        """
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
            except ssl.SSLError as error:
                with suppress(OSError):
                    await self._flush()  # tell the other end why
                raise HandshakeFailed(failure_of(error), _detail(error)) from error
            else:
                await self._flush()
                return
            ciphertext = await self._loop.sock_recv(self.socket, _HEAD_CIPHERTEXT_BYTES)
            if not ciphertext:
                raise HandshakeFailed(HandshakeFailure.DISCONNECTED)
            self._incoming.write(ciphertext)

    async def receive(self, size_bytes: int) -> bytes:
        """Receive up to so many bytes; ``b""`` at the end."""
        while True:
            data = self._decrypt(size_bytes)
            if data is not None:
                return data
            ciphertext = await self._loop.sock_recv(self.socket, _HEAD_CIPHERTEXT_BYTES)
            if not ciphertext:
                return b""
            with self._lock:
                self._incoming.write(ciphertext)

    async def send(self, data: bytes | memoryview) -> None:
        """Send everything."""
        await super().send(self._encrypt(data))

    def send_now(self, data: bytes) -> bool:
        """Send without waiting; tell whether all of it was taken."""
        with self._lock:  # held while it is sent: records must leave in order
            self.tls.write(data)
            ciphertext = self._outgoing.read()
            return self.socket.send(ciphertext, socket.MSG_DONTWAIT) == len(ciphertext)

    async def finish(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(ssl.SSLError), self._lock:
            self.tls.unwrap()  # does not wait for the answer: that is an error we expect
        await self._flush()
        await super().finish()

    def wait(self, timeout_ms: int | None = None) -> bool:
        """Wait until something can be read, or until the time is over; tell whether it can."""
        is_here = bool(self._seen or self._incoming.pending or self.tls.pending())
        return is_here or super().wait(timeout_ms)

    def peek(self, size_bytes: int) -> bytes:
        """Return up to so many bytes and leave them; ``b""`` at the end."""
        while not self._seen:
            data = self._decrypt(size_bytes)
            if data is not None:
                self._seen = data
                break
            ciphertext = self._take_ciphertext()
            if not ciphertext:
                break
            with self._lock:
                self._incoming.write(ciphertext)
        return self._seen[:size_bytes]

    def take(self, size_bytes: int) -> bytes:
        """Return up to so many bytes; ``b""`` at the end."""
        data = self.peek(size_bytes)
        self._seen = self._seen[len(data) :]
        return data

    def fill(self, memory: memoryview) -> int:
        """Read into memory what has come, at least a byte; return how much.

        0 is the end of the connection.
        """
        filled = min(len(self._seen), len(memory))
        memory[:filled] = self._seen[:filled]
        self._seen = self._seen[filled:]
        ciphertext = memoryview(b"")
        while not filled:
            with _decrypting, self._lock:
                self._incoming.write(ciphertext)
                filled = self._decrypt_into(memory)
            if not filled:
                ciphertext = self._take_ciphertext()
                if not ciphertext:
                    return 0
        return max(filled, 0)

    def cork(self, *, is_on: bool) -> None:
        """Do nothing: records are larger than segments."""

    def send_all(self, data: bytes | memoryview) -> None:
        """Send everything; blocks.

        Raises:
            TimeoutError: The receiver takes less than it must.
        """
        rest = memoryview(data)
        while rest:
            super().send_all(self._encrypt(rest[:_PLAINTEXT_BYTES]))
            rest = rest[_PLAINTEXT_BYTES:]

    def send_file(self, fd: int, offset: int, size_bytes: int) -> int:
        """Send some of a file; blocks until that is taken.

        Returns:
            How much; 0 at the end of the file.

        Raises:
            TimeoutError: The receiver takes less than it must.
        """
        buffer = getattr(_plaintext, "buffer", None)
        if buffer is None:
            buffer = _plaintext.buffer = page_buffer(_PLAINTEXT_BYTES)
        piece = buffer[: min(size_bytes, _PLAINTEXT_BYTES)]
        count = os.preadv(fd, [piece], offset)
        if count:
            self.send_all(piece[:count])
        return count

    def _encrypt(self, data: bytes | memoryview) -> bytes:
        with self._lock:
            self.tls.write(data)
            return self._outgoing.read()

    def _decrypt(self, size_bytes: int) -> bytes | None:
        """Return what is here, ``b""`` at the end; ``None``: more ciphertext is needed."""
        with self._lock:
            try:
                return self.tls.read(size_bytes)
            except ssl.SSLWantReadError:
                self._answer()
                return None
            except ssl.SSLZeroReturnError:
                return b""

    def _decrypt_into(self, memory: memoryview) -> int:
        """Read all that is here; return how much, 0 if more ciphertext is needed, -1 at the end.

        The caller holds the locks.
        """
        rest, read = memory, self.tls.read
        try:
            while rest:
                count = int(read(len(rest), rest))
                if not count:
                    break
                rest = rest[count:]
        except ssl.SSLWantReadError:
            self._answer()
            return len(memory) - len(rest)
        except ssl.SSLZeroReturnError:
            pass  # the end, after this end was closed as well
        return len(memory) - len(rest) or -1

    def _answer(self) -> None:
        """Send what TLS wants to send because of what was read, e.g. a key update; never waits."""
        if self._outgoing.pending:
            ciphertext = self._outgoing.read()
            if self.socket.send(ciphertext, socket.MSG_DONTWAIT) != len(ciphertext):
                raise ConnectionAbortedError("no room to answer")

    def _take_ciphertext(self) -> memoryview:
        """Take what has come from the kernel; nothing at the end. Good until the next call."""
        if not self._ciphertext:
            self._ciphertext = page_buffer(_CIPHERTEXT_BYTES)
        return self._ciphertext[: self.socket.recv_into(self._ciphertext)]

    async def _flush(self) -> None:
        with self._lock:
            ciphertext = self._outgoing.read()
        if ciphertext:
            await self._loop.sock_sendall(self.socket, ciphertext)


def _detail(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).lower().replace("_", " ")


def reset_on_close(connection: socket.socket) -> None:
    """Let closing a connection reset it: its peer must not take what came for everything."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
