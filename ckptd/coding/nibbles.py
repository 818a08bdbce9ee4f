"""Where nearly all differences are small: half a byte for each, the others listed.

So half as many bytes go through entropy coding as there are elements, and each stands for two of
them. Where a third of the elements changed that is as short as a list of those, and is decoded in
half of the time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import numpy
from numpy.typing import NDArray

from ckptd.coding.differences import Differences
from ckptd.coding.element_planes import Elements, Plane, Planes, slice_of, slices
from ckptd.coding.frames import Framing
from ckptd.errors import ProtocolViolation
from ckptd.limits import KIB

_LENGTH: Final = struct.Struct("<I")
HALF_LEAST: Final = 7
HALF_MAX: Final = 15
"""Half a byte stands for a difference from -7 to 8: for 7 less than it is."""
_LISTED_SHARE_MAX: Final = 1 / 16
"""Where more elements differ by more, differences of all are as short, and faster."""
_GAP_BYTES: Final = 4
_LISTED_AT_ONCE: Final = 16 * KIB


class Nibbles:
    """Codes differences as half bytes. One thread at a time.

    Args:
        width: Bytes of an element.
        framing: Makes and reads frames.
        planes: Makes and reads those of the differences that are listed; half bytes are in its
            memory, too.
    """

    def __init__(self, width: int, framing: Framing, planes: Planes) -> None:
        self._framing = framing
        self._planes = planes
        self._gaps = Planes(_GAP_BYTES, framing)
        self._differences = Differences(width)
        self._slice = slice_of(width)
        self._small = numpy.empty(len(self._slice), numpy.uint8)
        self._signed = numpy.dtype(f"<i{width}")
        self._steps = numpy.empty(_LISTED_AT_ONCE, "<u4")

    def coded(self, elements: Elements, base: Elements) -> list[bytes] | None:
        """Return half bytes, and what is listed; ``None``: that would be too many."""
        count = len(elements)
        middle = -(-count // 2)
        halves = self._planes.memory(2 * middle)[: 2 * middle]
        halves[count:] = 0
        listed, places, values = 0, [], []
        for start, end in slices(elements):
            part = self._slice[: end - start]
            numpy.subtract(elements[start:end], base[start:end], out=part)
            part += HALF_LEAST
            large = numpy.flatnonzero(part > HALF_MAX)
            listed += len(large)
            if listed > count * _LISTED_SHARE_MAX:
                return None
            places.append(large + start)
            values.append(part.take(large))
            part[large] = HALF_LEAST
            numpy.copyto(halves[start:end], part, casting="unsafe")
        pairs = halves[middle:]
        pairs *= HALF_MAX + 1
        pairs |= halves[:middle]
        frame = self._framing.frame_of_plane(pairs.data)
        return [_LENGTH.pack(len(frame)), frame, *self._list(places, values, listed)]

    def _list(
        self, places: list[NDArray[numpy.intp]], values: list[Elements], count: int
    ) -> Iterator[bytes]:
        """Return how many are listed, the steps from each to the next one, and the differences."""
        yield _LENGTH.pack(count)
        if not count:
            return
        gaps = numpy.diff(numpy.concatenate(places), prepend=0).astype("<u4")
        differences = numpy.concatenate(values)
        differences -= HALF_LEAST
        for start, end in slices(differences):
            self._differences.fold(differences[start:end])
        for planes, listed in ((self._gaps, gaps), (self._planes, differences)):
            planes.room_for(count, self._planes.memory(_GAP_BYTES * count))
            for start, end in slices(listed):
                planes.put(listed[start:end], start)
            yield from planes.coded()

    def apply(self, coded: memoryview, base: Elements, out: Elements) -> int:
        """Write the elements; return how many bytes of the input that took.

        Raises:
            ProtocolViolation: It is nothing of the kind; what was written is nothing.
        """
        if len(coded) < _LENGTH.size:
            raise ProtocolViolation("coded block", "ends before its half bytes")
        length: int = _LENGTH.unpack_from(coded)[0]
        at = _LENGTH.size + length
        if at + _LENGTH.size > len(coded):
            raise ProtocolViolation("coded block", f"has half bytes of {length} bytes, not there")
        count: int = _LENGTH.unpack_from(coded, at)[0]
        if count > len(base) * _LISTED_SHARE_MAX:
            raise ProtocolViolation("coded block", f"lists {count} of {len(base)} elements")
        middle = -(-len(base) // 2)
        memory = self._planes.memory(middle + (_GAP_BYTES + base.itemsize) * count)
        pairs = memory[:middle]
        self._framing.unpack(coded[_LENGTH.size : at], pairs.data)
        self._apply_halves(pairs, base, out)
        at += _LENGTH.size
        if not count:
            return at
        gaps, gaps_bytes = self._gaps.read(coded[at:], count, memory[middle:])
        at += gaps_bytes
        values, values_bytes = self._planes.read(
            coded[at:], count, memory[middle + _GAP_BYTES * count :]
        )
        last = 0
        for start in range(0, count, _LISTED_AT_ONCE):
            steps = self._steps[: min(_LISTED_AT_ONCE, count - start)]
            self._gaps.join(gaps, start, steps)
            places = steps.cumsum(dtype=numpy.int64)
            places += last
            last = int(places[-1])
            if last >= len(base) or not steps[0 if start else 1 :].all():
                raise ProtocolViolation("coded block", "lists elements that are not there")
            differences = self._slice[: len(places)]
            self._planes.join(values, start, differences)
            self._differences.unfold(differences)
            differences += base.take(places)
            out[places] = differences
        return at + values_bytes

    def _apply_halves(self, pairs: Plane, base: Elements, out: Elements) -> None:
        middle = len(pairs)
        for half, halves in ((0, slice(0, middle)), (4, slice(middle, None))):
            was, now = base[halves], out[halves]
            for start, end in slices(was):
                small = self._small[: end - start]
                if half:
                    numpy.right_shift(pairs[start:end], half, out=small)
                else:
                    numpy.bitwise_and(pairs[start:end], HALF_MAX, out=small)
                small -= HALF_LEAST
                part = self._slice[: end - start]
                numpy.copyto(part.view(self._signed), small.view(numpy.int8))
                numpy.add(part, was[start:end], out=now[start:end])
