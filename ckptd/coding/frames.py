"""Bytes as one zstd frame, and back within bounds that the caller knows beforehand."""

from __future__ import annotations

from typing import Final, TypeAlias

import zstandard

from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB

Readable: TypeAlias = "bytes | bytearray | memoryview"

_OF_PLANES: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=6,
    chain_log=6,
    search_log=1,
    min_match=7,
    target_length=0,
)
"""Planes of differences have few repetitions and many bytes that are frequent. Level 1 takes most
of its time to find matches of four bytes that cost more than the literals they stand for. With the
smallest table there is, of 64 places, and matches from seven bytes on the same planes take two
thirds of the time or less, are decoded faster and are up to a tenth shorter (docs/decisions/064).
Zeros are found all the same: they repeat what is just before."""

_OF_BYTES: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=13,
    chain_log=6,
    search_log=1,
    min_match=6,
    target_length=0,
)
"""What is no numbers has repetitions: as fast as level 1 on text, and as short."""

_BLOCK_HEAD_BYTES: Final = 3
_REPEATED: Final = 1
"""The kind of a block of a frame that is one byte, as often as is said."""
_SUM_BYTES: Final = 4
_BLOCK_BYTES_MIN: Final = KIB
"""What a block of a frame holds in the mean, at least: those of this library hold 128 KiB, and each
one costs time here."""
_WINDOW_BYTES_MAX: Final = KIB
"""The least that can be set: what would need a window in memory of its own is refused."""


class Framing:
    """Makes and reads frames. One thread at a time."""

    def __init__(self) -> None:
        self._for_planes = zstandard.ZstdCompressor(compression_params=_OF_PLANES)
        self._for_bytes = zstandard.ZstdCompressor(compression_params=_OF_BYTES)
        self._decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)

    def frame(self, content: Readable) -> bytes:
        """Return any bytes as a frame that says how long it is."""
        return self._for_bytes.compress(content)

    def frame_of_plane(self, plane: Readable) -> bytes:
        """Return bytes of elements, or a bit of each, as such a frame."""
        return self._for_planes.compress(plane)

    def unpack(self, frame: Readable, into: memoryview) -> None:
        """Write what a frame holds; no memory is taken for it.

        A frame that is here as a whole is decoded into its place in one go, whatever window it
        says. One that cannot be would need memory as large as its window, and is refused for that.

        Args:
            frame: All of it, and nothing else.
            into: As many bytes as it has to hold.

        Raises:
            ProtocolViolation: It is no frame, or holds something of another length; what was
                written is nothing.
        """
        length = len(into)
        try:
            facts = zstandard.get_frame_parameters(frame)
            if facts.content_size != length or facts.dict_id:
                raise ProtocolViolation("coded block", f"has a frame that is not of {length} bytes")
            _check_end(frame, length, has_sum=facts.has_checksum)
            if self._decompressor.stream_reader(frame).readinto(into) != length:
                raise ProtocolViolation("coded block", f"has a frame that is not of {length} bytes")
        except zstandard.ZstdError as error:
            raise ProtocolViolation(
                "coded block", f"has a frame that cannot be read: {error}"
            ) from error


def _check_end(frame: Readable, length: int, *, has_sum: bool) -> None:
    """Follow the blocks of a frame; it ends with the last one.

    Raises:
        ProtocolViolation: It ends elsewhere, or has more blocks than anybody makes of its content.
        zstandard.ZstdError: It has no head.
    """
    at = zstandard.frame_header_size(frame)
    for _ in range(length // _BLOCK_BYTES_MIN + 2):
        head = int.from_bytes(frame[at : at + _BLOCK_HEAD_BYTES], "little")
        is_last, kind, size_bytes = head & 1, head >> 1 & 3, head >> 3
        at += _BLOCK_HEAD_BYTES + (1 if kind == _REPEATED else size_bytes)
        if is_last or at > len(frame):
            break
    else:
        raise ProtocolViolation("coded block", "has a frame of very short pieces")
    if at + (_SUM_BYTES if has_sum else 0) != len(frame):
        raise ProtocolViolation("coded block", "has a frame that does not end where it has to")
