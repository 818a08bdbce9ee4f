"""The difference of one tensor in a file of a delta version, decompressed while it is read.

However long it is, and whatever a frame says of itself, memory is taken for what is asked for and
for the window of a frame, which is bounded.
"""

from __future__ import annotations

from typing import IO, Final, NamedTuple, cast

import zstandard

from ckptd.chains.delta_index import ZSTD
from ckptd.errors import InvalidFormat
from ckptd.limits import KIB, MIB
from ckptd.store.materialising.verified_blocks import VerifiedUnit

_WINDOW_BYTES_MAX: Final = 8 * MIB
"""What every reader of zstd has to take: RFC 8878, 3.1.1.1.2. Of a chain many are open at once;
what level 1 makes, which publishers use, has half a MiB."""
_READ_BYTES: Final = 64 * KIB


class Difference(NamedTuple):
    """Where the difference of a tensor lies.

    Attributes:
        unit: The file that has it.
        start: Where in it the difference begins.
        end: Where it ends.
        compression: How it is compressed, as the index says.
    """

    unit: VerifiedUnit
    start: int
    end: int
    compression: str

    def opened(self) -> DifferenceReading:
        """Return a reading from the beginning."""
        return DifferenceReading(self)


class DifferenceReading:
    """Reads a difference once, from its beginning.

    Args:
        difference: Which one.
    """

    def __init__(self, difference: Difference) -> None:
        self._label = difference.unit.label
        stored = _Stored(difference)
        self._frame: zstandard.ZstdDecompressionReader | _Stored = stored
        if difference.compression == ZSTD:
            decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_BYTES_MAX)
            self._frame = decompressor.stream_reader(
                cast("IO[bytes]", stored), read_size=_READ_BYTES
            )

    def read(self, size_bytes: int) -> bytes:
        """Return the next so many bytes, fewer only at the end.

        Raises:
            InvalidFormat: It cannot be decompressed.
            ContentChanged: The file is not what was published.
            StorageError: The disk refused.
        """
        parts = []
        while size_bytes:
            try:
                part = self._frame.read(size_bytes)
            except (zstandard.ZstdError, MemoryError) as error:
                raise InvalidFormat(
                    f"file {self._label}", f"has a frame that cannot be read: {error}"
                ) from error
            if not part:
                break
            parts.append(part)
            size_bytes -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


class _Stored:
    """The bytes of a difference as they are stored."""

    def __init__(self, difference: Difference) -> None:
        self._unit = difference.unit
        self._at, self._end = difference.start, difference.end

    def read(self, size_bytes: int) -> bytes:
        start, self._at = self._at, min(self._at + size_bytes, self._end)
        return self._unit.read(start, self._at)
