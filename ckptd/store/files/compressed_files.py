"""Files of units that are kept compressed: seekable zstd, a frame for each block.

What is read is decoded a little at a time, so whoever reads needs little memory however long
blocks are, and what a file says of itself never becomes memory or bytes beyond that. A frame has a
checksum of its own; nothing here replaces the digests of blocks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Final

import zstandard

from ckptd.buffers import page_buffer
from ckptd.coding.seek_tables import (
    FOOTER_BYTES,
    Frame,
    read_seek_table,
    table_bytes,
)
from ckptd.errors import ContentChanged, InvalidFormat
from ckptd.limits import DIGEST_BYTES, KIB, MIB
from ckptd.model.manifest import Unit
from ckptd.store.files.hashing import digest_of_pieces

PIECE_BYTES: Final = 1 * MIB
"""Decoded at once."""

_WINDOW_LOG: Final = 20
_READ_BYTES: Final = 128 * KIB
_LEVEL: Final = 1
"""Weights have few repetitions: level 3 saves no more of them (docs/decisions/068)."""

_PARAMETERS: Final = zstandard.ZstdCompressionParameters.from_level(
    _LEVEL, window_log=_WINDOW_LOG, write_checksum=True, write_content_size=True
)


def compressed_block(block: memoryview) -> bytes:
    """Return a block as a frame."""
    return zstandard.ZstdCompressor(compression_params=_PARAMETERS).compress(block)


class CompressedFile:
    """Reads an open file. One thread at a time.

    Args:
        fd: The file; its position is not used.

    Raises:
        ContentChanged: It does not end with a table that fits it.
        OSError: The disk refused.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._piece = memoryview(b"")
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
        try:
            size_bytes = os.fstat(fd).st_size
            footer = _read(fd, max(size_bytes - FOOTER_BYTES, 0), FOOTER_BYTES)
            length = table_bytes(footer)
            if length > size_bytes:
                raise _changed("is shorter than its seek table")
            self.table = read_seek_table(_read(fd, size_bytes - length, length), size_bytes)
        except InvalidFormat as error:
            raise _changed(error.problem) from error

    def check_is_of(self, unit: Unit) -> None:
        """Check that its frames are as long as the blocks of a unit.

        Raises:
            ContentChanged: They are not.
        """
        is_long_enough = self.table.plain_bytes == unit.size_bytes
        if not (is_long_enough and self.table.has_grain(unit.block_size_bytes)):
            raise _changed("has frames that are not as long as the blocks of its unit")

    def pieces(self, start: int, end: int) -> Iterator[memoryview]:
        """Yield the bytes ``start`` … ``end - 1`` of the content, each piece good until the next.

        The last piece of a frame comes when the frame's checksum was right.

        Raises:
            ContentChanged: They cannot be decoded.
            OSError: The disk refused.
        """
        self._piece = self._piece or page_buffer(PIECE_BYTES)
        done = start
        for frame in self.table.frames(start, end):
            for at, piece in self._decoded(frame):
                part = piece[max(start - at, 0) : max(end - at, 0)]
                if part:
                    done += len(part)
                    yield part
                if at + len(piece) >= end:
                    break
        if done != end:
            raise _changed(f"ends {end - done} bytes too early")

    def read_exactly(self, offset: int, size_bytes: int, buffer: memoryview) -> memoryview:
        """Fill the front of a buffer with content; return that part of it.

        Args:
            offset: Where the bytes begin in the content.
            size_bytes: How many; the buffer holds as many.
            buffer: Where they are decoded to.

        Raises:
            ContentChanged: They are not there, or cannot be decoded.
            OSError: The disk refused.
        """
        filled = 0
        for piece in self.pieces(offset, offset + size_bytes):
            buffer[filled : filled + len(piece)] = piece
            filled += len(piece)
        return buffer[:size_bytes]

    def digest_of(self, frame: Frame) -> bytes:
        """Return the digest of what a frame holds.

        Raises:
            ContentChanged: It cannot be decoded.
            OSError: The disk refused.
        """
        end = frame.plain_start + frame.plain_bytes
        return digest_of_pieces(self.pieces(frame.plain_start, end))

    def wrong_blocks(self, unit: Unit) -> Iterator[tuple[int, bool]]:
        """Yield the length of each block of a unit, and whether it is wrong.

        Raises:
            ContentChanged: The file is not of that unit.
            OSError: The disk refused.
        """
        self.check_is_of(unit)
        for number, frame in enumerate(self.table.frames(0, unit.size_bytes)):
            expected = unit.block_digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
            try:
                is_wrong = self.digest_of(frame) != expected
            except ContentChanged:
                is_wrong = True
            yield frame.plain_bytes, is_wrong

    def _decoded(self, frame: Frame) -> Iterator[tuple[int, memoryview]]:
        """Yield what a frame holds, piece by piece, each with where it begins in the content."""
        source = _FrameSource(self._fd, frame)
        left_bytes, at = frame.plain_bytes, frame.plain_start
        try:
            # Of a file it needs read() alone.
            reader = self._decompressor.stream_reader(
                source,  # type: ignore[arg-type]
                _READ_BYTES,
                closefd=False,
            )
            while left_bytes:
                piece = self._piece[: min(left_bytes, PIECE_BYTES)]
                _fill(reader, piece)
                left_bytes -= len(piece)
                if not left_bytes and (reader.read(1) or not source.is_at_end):
                    raise _changed("has a frame that is longer than its seek table says")
                yield at, piece
                at += len(piece)
        except zstandard.ZstdError as error:
            raise _changed(f"has a frame that cannot be decoded: {error}") from error


class _FrameSource:
    """The bytes of one frame, as zstandard reads them."""

    def __init__(self, fd: int, frame: Frame) -> None:
        self._fd = fd
        self._at = frame.start
        self._end = frame.end

    @property
    def is_at_end(self) -> bool:
        return self._at == self._end

    def read(self, size_bytes: int) -> bytes:
        data = os.pread(self._fd, min(size_bytes, self._end - self._at), self._at)
        self._at += len(data)
        return data


def _fill(reader: zstandard.ZstdDecompressionReader, piece: memoryview) -> None:
    filled = 0
    while filled < len(piece):
        count = reader.readinto(piece[filled:])
        if not count:
            raise _changed("has a frame that is shorter than its seek table says")
        filled += count


def _read(fd: int, offset: int, size_bytes: int) -> bytes:
    data = b""
    while len(data) < size_bytes:
        more = os.pread(fd, size_bytes - len(data), offset + len(data))
        if not more:
            raise _changed("is shorter than its seek table")
        data += more
    return data


def _changed(problem: str) -> ContentChanged:
    return ContentChanged("compressed file", problem)
