"""The units of a manifest, read from its bytes whenever one is used.

As objects the units of a large version take ten times the bytes of the manifest. Here they take
four bytes each beside it, and half a microsecond whenever they are looked at.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, overload

import msgspec

from ckptd.model.encoded.outline import WINDOW_BYTES, array_of
from ckptd.model.manifest import Unit

_UNIT: Final = msgspec.msgpack.Decoder(Unit)
_UNITS: Final = msgspec.msgpack.Decoder(list[Unit])


class EncodedUnits(Sequence[Unit]):
    """The units of an encoded manifest. Any thread may use them.

    Args:
        data: The manifest.
        starts: Where each unit begins in it, and where the last one ends.

    Using one raises ``msgspec.ValidationError`` if it is no unit; none is, where the manifest was
    checked.
    """

    __slots__ = ("_data", "_latest", "_starts")

    def __init__(self, data: memoryview, starts: array[int]) -> None:
        self._data = data
        self._starts = starts
        self._latest: tuple[int, Unit] | None = None  # in one piece: threads share it

    @property
    def data(self) -> memoryview:
        """The manifest that they are in."""
        return self._data

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> Unit: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Unit, ...]: ...  # type: ignore[explicit-any]
    def __getitem__(  # type: ignore[explicit-any]
        self, index: int | slice
    ) -> Unit | tuple[Unit, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        latest = self._latest
        if latest is not None and latest[0] == index:
            return latest[1]
        count = len(self._starts) - 1
        if not -count <= index < count:
            raise IndexError(f"unit {index} of {count}")
        first = index % count
        unit = _UNIT.decode(self._data[self._starts[first] : self._starts[first + 1]])
        self._latest = (index, unit)
        return unit

    def __iter__(self) -> Iterator[Unit]:
        starts, first = self._starts, 0
        while first < len(self):
            # As many as fit into a window; one that does not fit is read where it lies.
            end = bisect_right(starts, starts[first] + WINDOW_BYTES, first + 1) - 1
            if end <= first + 1:
                end = first + 1
                yield self[first]
            else:
                piece = self._data[starts[first] : starts[end]]
                yield from _UNITS.decode(array_of(end - first, piece))
            first = end

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, tuple | EncodedUnits):
            return NotImplemented
        return len(self) == len(other) and all(
            one == another for one, another in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} encoded units>"
