"""Sending blocks of a version coded: read, coded and sent one after another, in one thread."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from ckptd.buffers import page_buffer
from ckptd.errors import ContentChanged
from ckptd.model.blocks import BlockRun
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.net.connection.transports import Connection
from ckptd.net.source.sending import Sending, ServedBytes
from ckptd.net.throttle import Throttle
from ckptd.traffic.buckets import Flow
from ckptd.wire.body_parts import LAST_PART, PART_END, part_line
from ckptd.wire.byte_ranges import ByteRange


class BlockCoder(Protocol):
    """Makes what is sent of a block."""

    def coded(self, place: BlockPlace, block: memoryview) -> bytes:
        """Return a block as it is sent. Blocks."""


class CodedSending(Sending):
    """One response with coded blocks of a version as its body.

    ``sent_bytes`` are those that were sent, so fewer than the blocks have.

    Args:
        connection: Its socket is non-blocking.
        head: The response head.
        version: What the blocks are part of.
        space: Where they lie.
        blocks: Which ones.
        make_coder: Makes what codes them, in the thread that sends: loading it takes a while.
        throttle: Says when, if anything limits ``flow``.
        flow: What the body belongs to.
        drops_sent: What was sent leaves the page cache.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        connection: Connection,
        head: bytes,
        version: ServedBytes,
        *,
        space: AddressSpace,
        blocks: BlockRun,
        make_coder: Callable[[], BlockCoder],
        throttle: Throttle,
        flow: Flow,
        drops_sent: bool,
    ) -> None:
        start, end = map(space.block_start, blocks)
        super().__init__(
            connection,
            head,
            version,
            ByteRange(start, end),
            throttle=throttle,
            flow=flow,
            drops_sent=drops_sent,
        )
        self._space = space
        self._blocks = blocks
        self._make_coder = make_coder
        self._coded_bytes = 0

    @property
    def left_bytes(self) -> int:
        """Bytes of the blocks that are still to be coded."""
        return self._range.size_bytes - self._coded_bytes

    def _send(self) -> None:
        coder, memory = self._make_coder(), memoryview(b"")
        for place in self._space.places(self._blocks):
            if len(memory) < place.size_bytes:
                memory = page_buffer(place.size_bytes)
            block = memory[: place.size_bytes]
            self._read(place, block)
            coded = coder.coded(place, block)
            if not self.has_begun:
                self._begin()
            self._coded_bytes += place.size_bytes
            self._send_data(memoryview(b"".join((part_line(len(coded)), coded, PART_END))))
        self._connection.send_all(LAST_PART)
        self._connection.cork(is_on=False)

    def _read(self, place: BlockPlace, into: memoryview) -> None:
        start = self._space.block_start(place.block)
        pieces = self._version.pieces(start, start + place.size_bytes, drops_used=self._drops_sent)
        filled = 0
        with closing(pieces):
            for piece in pieces:
                part = into[filled : filled + piece.size_bytes]
                if piece.data is not None:
                    part[:] = piece.data
                elif not _fill(piece.fd, piece.offset, part):
                    error = ContentChanged("version", "a file of it cannot be read")
                    pieces.throw(error)
                    raise error
                filled += piece.size_bytes


def _fill(fd: int, offset: int, into: memoryview) -> bool:
    done = 0
    while done < len(into):
        try:
            count = os.preadv(fd, [into[done:]], offset + done)
        except OSError:
            return False
        if not count:
            return False
        done += count
    return True
