"""Sending blocks of a version coded: read, coded and sent one after another, in one thread."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from typing import Protocol

from ckptd.buffers import page_buffer
from ckptd.coding.coded_block import CodedHead
from ckptd.errors import ContentChanged
from ckptd.model.blocks import BlockRun
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.connection.transports import Connection
from ckptd.net.source.coding_memory import CodingMemory
from ckptd.net.source.sending import Piece, Sending, ServedBytes
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
            ``None``: it cannot be loaded, and blocks go as they are.
        lent: Lends memory for it. While there is none, blocks go from their files as they are.
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
        make_coder: Callable[[], BlockCoder | None],
        lent: CodingMemory,
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
        self._lent = lent
        self._lent_bytes = 0
        self._coded_bytes = 0

    @property
    def left_bytes(self) -> int:
        """Bytes of the blocks that are still to be coded."""
        return self._range.size_bytes - self._coded_bytes

    def _send(self) -> None:
        try:
            self._send_blocks()
        finally:
            self._lent.give_back(self._lent_bytes)
        self._connection.send_all(LAST_PART)
        self._connection.cork(is_on=False)

    def _send_blocks(self) -> None:
        coder, memory = self._make_coder(), memoryview(b"")
        for place in self._space.places(self._blocks):
            if coder is None or not self._may_keep(place.size_bytes):
                self._send_plain(place)
                continue
            if len(memory) < place.size_bytes:
                memory = page_buffer(place.size_bytes)
            block = memory[: place.size_bytes]
            self._read(place, block)
            coded = coder.coded(place, block)
            if not self.has_begun:
                self._begin()
            self._coded_bytes += place.size_bytes
            self._send_data(memoryview(b"".join((part_line(len(coded)), coded, PART_END))))

    def _may_keep(self, block_bytes: int) -> bool:
        """Return whether there is memory for blocks of a length, which is kept until the end."""
        more_bytes = block_bytes - self._lent_bytes
        if more_bytes > 0:
            if not self._lent.borrow(more_bytes):
                return False
            self._lent_bytes = block_bytes
        return True

    def _send_plain(self, place: BlockPlace) -> None:
        """Send a block as it is, from its files; it ends when those were looked at again."""
        head = CodedHead(Coder.PLAIN, coded_bytes=place.size_bytes).encoded()
        before: bytes = part_line(len(head) + place.size_bytes) + head
        pieces = self._pieces(place)
        for piece in pieces:
            if not self.has_begun:
                self._begin()
            try:
                self._send_data(memoryview(before))
                if piece.data is not None:
                    self._send_data(piece.data)
                else:
                    self._send_file(piece, piece.size_bytes)
            except ContentChanged as error:
                pieces.throw(error)
                raise
            before = b""
        self._coded_bytes += place.size_bytes
        self._send_data(memoryview(PART_END))

    def _pieces(self, place: BlockPlace) -> Generator[Piece, None, None]:
        start = self._space.block_start(place.block)
        return self._version.pieces(start, start + place.size_bytes, drops_used=self._drops_sent)

    def _read(self, place: BlockPlace, into: memoryview) -> None:
        pieces, filled = self._pieces(place), 0
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
