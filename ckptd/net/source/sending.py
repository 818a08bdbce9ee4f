"""Sending the bytes of a version from a thread, one thread hop for each response.

The connection stays non-blocking, because the event loop reads requests from it; the thread
waits with ``poll`` when the kernel's send buffer is full. Shutting the connection down wakes
the thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import suppress
from typing import Final, Protocol

from ckptd.errors import ContentChanged
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.net.connection.transports import Connection
from ckptd.net.throttle import SEND_TRICKLE_BYTES, Throttle
from ckptd.traffic.buckets import Flow
from ckptd.traffic.workload import BODIES_MIN
from ckptd.wire.byte_ranges import ByteRange

SEND_THREADS: Final = BODIES_MIN
"""Bodies that are sent at the same time; the next one waits for a thread."""

_SHORTER: Final = ("version", "a file of it is shorter than it was")


class Piece(Protocol):
    """A part of one open file, or bytes."""

    @property
    def fd(self) -> int:
        """The file; open until the next piece is asked for."""

    @property
    def offset(self) -> int:
        """Where the piece begins in the file, in bytes."""

    @property
    def size_bytes(self) -> int:
        """Its length, at least 1."""

    @property
    def data(self) -> memoryview | None:
        """The bytes, if there is no file; good until the next piece is asked for."""


class ServedBytes(Protocol):
    """The bytes of one version, as far as they are here."""

    @property
    def size_bytes(self) -> int:
        """Length of the whole version."""

    @property
    def space(self) -> AddressSpace:
        """Where each of its blocks lies."""

    def holds(self, start: int, end: int) -> bool:
        """Tell whether the bytes ``start`` … ``end - 1`` are here and verified."""

    def is_right(self, place: BlockPlace, block: memoryview) -> bool:
        """Return whether what was read of a block is what was published. Blocks."""

    def pieces(
        self, start: int, end: int, *, drops_used: bool = False
    ) -> Generator[Piece, None, None]:
        """Yield the pieces of files these bytes consist of, in order; blocks.

        A file is checked when its piece is asked for, and again when the next one is. Then
        the piece leaves the page cache, too, if that is wanted. That a piece cannot be read is
        thrown in, so that it is known of which file.

        Raises:
            ContentChanged: A file is not what was published.
            StorageError: A file cannot be opened for another reason.
        """


class Sending:
    """One response with bytes of a version as its body.

    Attributes:
        has_begun: The head is on its way; before that another answer can be given.
        sent_bytes: Bytes of the body the kernel has taken.

    Args:
        connection: Its socket is non-blocking.
        head: The response head.
        version: What the body is part of.
        byte_range: Which part.
        throttle: Says when, if anything limits ``flow``.
        flow: What the body belongs to.
        drops_sent: What was sent leaves the page cache.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        connection: Connection,
        head: bytes,
        version: ServedBytes,
        byte_range: ByteRange,
        *,
        throttle: Throttle,
        flow: Flow,
        drops_sent: bool,
    ) -> None:
        self.has_begun = False
        self.sent_bytes = 0
        self._connection = connection
        self._head = head
        self._version = version
        self._range = byte_range
        self._throttle = throttle
        self._flow = flow
        self._drops_sent = drops_sent
        self._is_cancelled = False

    @property
    def left_bytes(self) -> int:
        """Bytes of the body that are still to be sent."""
        return self._range.size_bytes - self.sent_bytes

    async def run(self, threads: Executor) -> None:
        """Send in one of these threads. Cancelling shuts the connection down.

        Raises:
            ContentChanged: A file is not what was published. If the response ``has_begun``
                its body ends short of what the head promised.
            StorageError: A file cannot be opened.
            OSError: The connection broke.
            TimeoutError: The receiver takes less than it must.
        """
        job = threads.submit(self._send)
        done = asyncio.wrap_future(job)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            self._is_cancelled = True
            if not job.cancel():
                with suppress(OSError):  # the receiver was faster
                    self._connection.socket.shutdown(socket.SHUT_RDWR)
            while not done.done():  # the thread uses the socket: nothing may close it before
                try:
                    await asyncio.wait([done])
                except asyncio.CancelledError:
                    continue  # one is on its way already
            raise

    def _send(self) -> None:
        last_byte = b""
        pieces = self._version.pieces(*self._range, drops_used=self._drops_sent)
        for piece in pieces:
            if not self.has_begun:
                self._begin()
            assert piece.size_bytes <= self.left_bytes
            try:
                last_byte = self._send_piece(piece)
            except ContentChanged as error:
                pieces.throw(error)
                raise
        if self.left_bytes:
            assert self.left_bytes == 1
            if not last_byte:
                raise ContentChanged(*_SHORTER)
            self._connection.send_all(last_byte)
            self.sent_bytes += 1
        self._connection.cork(is_on=False)

    def _send_piece(self, piece: Piece) -> bytes:
        """Send a piece; return the last byte of the body instead if the piece ends with it.

        It follows only when the last file has been checked as well, so that a body that is
        complete is right.
        """
        if piece.data is not None:
            self._send_data(piece.data)  # its files were checked after it was read
            return b""
        if piece.size_bytes < self.left_bytes:
            self._send_file(piece, piece.size_bytes)
            return b""
        self._send_file(piece, piece.size_bytes - 1)
        return os.pread(piece.fd, 1, piece.offset + piece.size_bytes - 1)

    def _begin(self) -> None:
        self.has_begun = True
        # Corked, the head and small pieces leave in full segments.
        self._connection.cork(is_on=True)
        self._connection.send_all(self._head)

    def _send_data(self, data: memoryview) -> None:
        while data:
            is_limited = self._throttle.is_limiting
            size_bytes = self._wait_for_permit(len(data), is_limited=is_limited)
            self._connection.send_all(data[:size_bytes])
            self.sent_bytes += size_bytes
            data = data[size_bytes:]
            if is_limited:
                self._settle(size_bytes, size_bytes)

    def _send_file(self, piece: Piece, size_bytes: int) -> None:
        offset, end = piece.offset, piece.offset + size_bytes
        while offset < end:
            is_limited = self._throttle.is_limiting
            granted = self._wait_for_permit(end - offset, is_limited=is_limited)
            count = 0
            try:
                count = self._connection.send_file(piece.fd, offset, granted)
            except OSError as error:
                if error.errno == errno.EIO:
                    raise ContentChanged("version", "a file of it cannot be read") from error
                raise
            finally:
                if is_limited:
                    self._settle(granted, count)
            if count == 0:
                raise ContentChanged(*_SHORTER)
            offset += count
            self.sent_bytes += count

    def _wait_for_permit(self, size_bytes: int, *, is_limited: bool) -> int:
        """Wait until some of a piece may be sent; return how much.

        Room in the send buffer comes first: bytes that are granted and cannot be sent would be
        kept from others.

        Args:
            size_bytes: How much there is.
            is_limited: Something is limited; to be looked at for each piece, for that can change
                at any time.
        """
        if not is_limited:
            self._connection.pace(None)
            return size_bytes
        self._connection.wait_for_room()
        granted = self._throttle.take(self._flow, size_bytes, unless=lambda: self._is_cancelled)
        if not granted:
            raise ConnectionAbortedError("cancelled while waiting for its turn")
        self._connection.pace(self._throttle.limit_of(self._flow))
        return granted

    def _settle(self, granted_bytes: int, sent_bytes: int) -> None:
        """Give back what was not sent, and let little things go at once."""
        if sent_bytes < granted_bytes:
            self._throttle.give_back(self._flow, granted_bytes - sent_bytes)
        if sent_bytes <= SEND_TRICKLE_BYTES:
            self._connection.push()
