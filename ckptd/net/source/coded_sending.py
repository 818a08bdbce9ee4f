"""Sending blocks of a version coded: one after another, in one thread.

A block that is coded here is read and hashed before: whoever gets its coded form later relies on
what it is of. One that somebody else had coded is not even read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from concurrent.futures import Executor
from contextlib import closing, nullcontext
from typing import NoReturn, Protocol

from ckptd.buffers import page_buffer
from ckptd.coding.coded_block import CodedHead
from ckptd.errors import ContentChanged
from ckptd.model.blocks import BlockRun
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.connection.transports import Connection
from ckptd.net.source.sending import Piece, Sending, ServedBytes
from ckptd.net.source.shared_coding import SharedCoding
from ckptd.net.throttle import Throttle
from ckptd.traffic.buckets import Flow
from ckptd.wire.body_parts import LAST_PART, PART_END, part_line
from ckptd.wire.byte_ranges import ByteRange


class BlockCoder(Protocol):
    """Makes what is sent of a block."""

    def close(self) -> None:
        """Close what is open for that."""

    def coded(
        self, place: BlockPlace, read: Callable[[BlockPlace], memoryview]
    ) -> tuple[bytes, ...] | None:
        """Return the head of a block and the pieces behind it; ``None``: it goes as it is. Blocks.

        Args:
            place: Which block.
            read: Reads it, if that is necessary.
        """


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
        shared: Lends memory for it. While there is none, blocks go from their files as they are.
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
        shared: SharedCoding,
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
        self._shared = shared
        self._lent_bytes = 0
        self._memory = memoryview(b"")
        self._coded_bytes = 0

    @property
    def left_bytes(self) -> int:
        """Bytes of the blocks that are still to be coded."""
        return self._range.size_bytes - self._coded_bytes

    async def run(self, threads: Executor) -> None:
        """See :meth:`Sending.run`; what is coded meanwhile is kept for others."""
        with self._shared.answering():
            await super().run(threads)

    def _send(self) -> None:
        try:
            self._send_blocks()
        finally:
            self._shared.memory.give_back(self._lent_bytes)
        self._connection.send_all(LAST_PART)
        self._connection.cork(is_on=False)

    def _send_blocks(self) -> None:
        coder = self._make_coder()
        with closing(coder) if coder is not None else nullcontext():
            self._send_each(coder)

    def _send_each(self, coder: BlockCoder | None) -> None:
        for place in self._space.places(self._blocks):
            # A form that somebody else had made is kept as well, by whoever takes it slowly.
            may_keep = coder is not None and self._may_keep(place.size_bytes)
            coded = coder.coded(place, self._read) if coder is not None and may_keep else None
            if coded is None:
                self._send_plain(place)
                continue
            if not self.has_begun:
                self._begin()
            self._coded_bytes += place.size_bytes
            line = part_line(sum(map(len, coded)))
            self._send_data(memoryview(b"".join((line, *coded, PART_END))))

    def _may_keep(self, block_bytes: int) -> bool:
        """Return whether there is memory for blocks of a length, which is kept until the end."""
        more_bytes = block_bytes - self._lent_bytes
        if more_bytes > 0:
            if not self._shared.memory.borrow(more_bytes):
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

    def _read(self, place: BlockPlace) -> memoryview:
        """Read a block and hash it."""
        size_bytes = place.size_bytes
        if len(self._memory) < size_bytes:
            self._memory = page_buffer(size_bytes)
        block = self._memory[:size_bytes]
        pieces, filled = self._pieces(place), 0
        with closing(pieces):
            for piece in pieces:
                part = block[filled : filled + piece.size_bytes]
                filled += piece.size_bytes
                if piece.data is not None:
                    part[:] = piece.data
                elif not _fill(piece.fd, piece.offset, part):
                    _throw(pieces, "a file of it cannot be read")
                if filled == size_bytes and not self._version.is_right(place, block):
                    _throw(pieces, "a block of it is not what was published")
        return block


def _throw(pieces: Generator[Piece, None, None], reason: str) -> NoReturn:
    """Say of the file that is being read that it is not what was published."""
    error = ContentChanged("version", reason)
    pieces.throw(error)
    raise error


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
