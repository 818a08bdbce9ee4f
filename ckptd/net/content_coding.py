"""Bodies in zstd (RFC 8878): made where that saves something, and read within bounds.

Names and numbers become a quarter, digests do not get shorter at all: the source decides. A
receiver reads one frame that says how long its content is, in windows of bounded size, so that a
body of a few bytes never becomes memory that its limit does not allow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from io import BytesIO
from typing import Final, NamedTuple

import zstandard

from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB, MIB

ZSTD: Final = "zstd"
CODED_FIELDS: Final = {"Content-Encoding": ZSTD, "Vary": "Accept-Encoding"}
"""Whoever passes an answer on must not give it to those who did not ask for zstd."""

WINDOW_BYTES_MAX: Final = 1 * MIB
"""What the decoder allocates at once, which a frame names before anything of it is read."""
HEADER_BYTES_MAX: Final = 18
"""A frame's header is at most so long; nothing that is worth coding is shorter."""
CODED_FROM_BYTES: Final = 1 * KIB
"""A body that fits one packet takes no less time in half of it."""
_LEVEL: Final = 1
"""Higher levels take twice the time and save no more, of names and of numbers."""
_SAVED_SHARE_MIN: Final = 8
"""An eighth must be saved, or the receiver's time is worth more."""
_ON_LOOP_BYTES_MAX: Final = 64 * KIB
"""Compressed on the event loop in a tenth of a millisecond, which is what a thread costs."""

_SLICE_BYTES: Final = 256
"""Four bytes can stand for 128 KiB: so many are decoded before it is looked what came of them."""
_TURN_BYTES: Final = 1 * MIB
"""Decoded in about a millisecond; then others have the event loop."""


class Lent(NamedTuple):
    """A body that counts as being sent as long as this object of it is kept.

    Attributes:
        body: The bytes.
        is_coded: They are in zstd.
    """

    body: bytes | memoryview
    is_coded: bool = False


def compressed(body: bytes | memoryview) -> bytes | None:
    """Return a body in zstd; ``None`` where that saves too little. Any thread."""
    if len(body) < CODED_FROM_BYTES:
        return None
    coded = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return coded if len(coded) + len(body) // _SAVED_SHARE_MIN <= len(body) else None


async def compressed_off_loop(body: bytes | memoryview) -> bytes | None:
    """Return the same, and let nobody wait while a long one is compressed."""
    if len(body) <= _ON_LOOP_BYTES_MAX:
        return compressed(body)
    return await asyncio.to_thread(compressed, body)


class _Content:
    """Takes what zstd makes of a body, and never more than its frame says.

    It is no part of who decodes: what decodes keeps its target alive, and the collector does not
    see that, so a target that keeps what decodes would stay for good, with its windows. Nor does
    it raise: zstandard forgets the 128 KiB that it just gave to a target that does.
    """

    def __init__(self, into: BytesIO) -> None:
        self._into = into
        self.left_bytes = 0

    def write(self, decoded: bytes) -> int:
        """Take what a slice became; what is too much is only counted."""
        self.left_bytes -= len(decoded)
        if self.left_bytes >= 0:
            self._into.write(decoded)
        return len(decoded)


class Decoder:
    """Reads a body in zstd as it comes.

    Args:
        subject: What a violation is of.
        into: Where the content is written.
        bytes_max: The content may have no more.
        grow: Called with how many bytes were written; it may refuse.
    """

    def __init__(
        self, subject: str, into: BytesIO, bytes_max: int, grow: Callable[[int], None]
    ) -> None:
        self._subject = subject
        self._into = into
        self._bytes_max = bytes_max
        self._grow = grow
        self._head = b""
        self._content = _Content(into)
        self._writer: zstandard.ZstdDecompressionWriter | None = None

    async def feed(self, part: bytes) -> None:
        """Decode what came.

        Raises:
            ProtocolViolation: It is no such frame, or one that is too long.
            Shortage: There is no memory for it.
        """
        if self._writer is None:
            self._head += part
            if len(self._head) < HEADER_BYTES_MAX:
                return
            part, self._head = self._head, b""
            self._writer = self._begin(part)
        coded = memoryview(part)
        turn_begin = grown = self._into.tell()
        for start in range(0, len(coded), _SLICE_BYTES):
            try:
                self._writer.write(coded[start : start + _SLICE_BYTES])
            except zstandard.ZstdError as error:
                raise self._violation(f"is not zstd: {error}") from error
            if self._content.left_bytes < 0:
                raise self._violation("has more content than it says")
            written = self._into.tell()
            if written - turn_begin >= _TURN_BYTES:
                self._grow(written - grown)
                turn_begin = grown = written
                await asyncio.sleep(0)
        self._grow(self._into.tell() - grown)

    def end(self) -> None:
        """Check that all of the content is here.

        Raises:
            ProtocolViolation: It is not.
        """
        if self._writer is None or self._content.left_bytes:
            raise self._violation("has less content than it says")

    def _begin(self, head: bytes) -> zstandard.ZstdDecompressionWriter:
        try:
            frame = zstandard.get_frame_parameters(head)
        except zstandard.ZstdError as error:
            raise self._violation(f"is not zstd: {error}") from error
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            raise self._violation("does not say how long its content is")
        if frame.content_size > self._bytes_max:
            raise self._violation(
                f"has {frame.content_size} bytes of content, more than {self._bytes_max}"
            )
        if frame.window_size > WINDOW_BYTES_MAX or frame.dict_id:
            raise self._violation("asks for a window or a dictionary that is not allowed")
        self._content.left_bytes = frame.content_size
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW_BYTES_MAX)
        # Of a stream it needs write() alone.
        return decompressor.stream_writer(self._content, closefd=False)  # type: ignore[arg-type]

    def _violation(self, problem: str) -> ProtocolViolation:
        return ProtocolViolation(self._subject, problem)
