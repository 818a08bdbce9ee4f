"""Bytes as one zstd frame, and back within bounds that the caller knows beforehand."""

from __future__ import annotations

from typing import Final, TypeAlias

import zstandard

from ckptd.errors import ProtocolViolation

Readable: TypeAlias = "bytes | bytearray | memoryview"

_FAST: Final = zstandard.ZstdCompressionParameters(
    strategy=zstandard.STRATEGY_FAST,
    window_log=17,
    hash_log=10,
    chain_log=6,
    search_log=1,
    min_match=7,
    target_length=0,
)
"""Planes of differences have few repetitions and many bytes that are frequent. Level 1 takes most
of its time to find matches of four bytes that cost more than the literals they stand for: with a
table of 2¹⁰ and matches from seven bytes on the same planes are coded in half of the time, and
two to five in a hundred shorter (docs/decisions/064)."""


class Framing:
    """Makes and reads frames. One thread at a time."""

    def __init__(self) -> None:
        self._compressor = zstandard.ZstdCompressor(compression_params=_FAST)
        self._decompressor = zstandard.ZstdDecompressor()

    def frame(self, content: Readable) -> bytes:
        """Return content as a frame that says how long it is."""
        return self._compressor.compress(content)

    def content(self, frame: Readable, length: int) -> bytes:
        """Return what a frame holds.

        Args:
            frame: All of it, and nothing else.
            length: How many bytes it has to hold; no more memory is taken.

        Raises:
            ProtocolViolation: It is no frame, or holds something of another length.
        """
        try:
            facts = zstandard.get_frame_parameters(frame)
            if facts.content_size != length or facts.dict_id:
                raise ProtocolViolation("coded block", f"has a frame that is not of {length} bytes")
            return self._decompressor.decompress(
                frame, max_output_size=length, allow_extra_data=False
            )
        except zstandard.ZstdError as error:
            raise ProtocolViolation(
                "coded block", f"has a frame that cannot be read: {error}"
            ) from error
