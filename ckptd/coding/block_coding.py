"""Codes blocks and decodes them: which coder does what, and what is common to all.

Called by whoever sends a coded answer and by whoever receives one, each with an object of its own
for a thread. What comes in is bounded before it is decoded: a decoder takes memory for its block
and once more as much, whatever the input says.
"""

from __future__ import annotations

from typing import Final

import numpy

from ckptd.coding.changed_elements import ChangedElements
from ckptd.coding.coded_block import NO_BASE, CodedHead
from ckptd.coding.differences import Differences
from ckptd.coding.element_planes import Elements, Planes, slice_of, slices
from ckptd.coding.frames import Framing, Readable
from ckptd.coding.nibbles import Nibbles
from ckptd.errors import ProtocolViolation
from ckptd.model.words import Coder

_LISTING: Final[dict[Coder, type[ChangedElements | Nibbles]]] = {
    Coder.SPARSE: ChangedElements,
    Coder.NIBBLES: Nibbles,
}
"""What lists some elements, and can say that it would be too many."""


class BlockCoding:
    """Codes and decodes. One thread at a time; keeps memory for as much as a block."""

    def __init__(self) -> None:
        self._framing = Framing()
        self._by_width: dict[int, _OfWidth] = {}

    def encode(
        self,
        block: Readable,
        coder: Coder,
        width: int = 1,
        *,
        base: Readable = b"",
        base_number: int = NO_BASE,
    ) -> bytes:
        """Return a block with its head; as it is if the coder does not make it shorter.

        Where more would be listed than may be it is coded as differences of all elements.

        Args:
            block: The bytes.
            coder: How to code it.
            width: Bytes of an element.
            base: As many bytes of the base, for coders that need one.
            base_number: What the receiver calls that base.
        """
        coder, pieces = self.pieces(block, coder, width, base=base)
        number = base_number if coder.needs_base else NO_BASE
        width = 1 if coder is Coder.PLAIN else width
        head = CodedHead(coder, width, number, sum(map(len, pieces)))
        return b"".join((head.encoded(), *pieces))

    def pieces(
        self,
        block: Readable,
        coder: Coder,
        width: int = 1,
        *,
        base: Readable = b"",
    ) -> tuple[Coder, list[bytes]]:
        """Return what is behind the head, in pieces one behind another, and by which coder it is.

        Args:
            block: The bytes.
            coder: How to code it.
            width: Bytes of an element.
            base: As many bytes of the base, for coders that need one.
        """
        view = memoryview(block)
        coder, parts = self._parts(view, coder, width, memoryview(base))
        if coder is Coder.PLAIN or sum(map(len, parts)) >= len(view):
            return Coder.PLAIN, [bytes(view)]
        return coder, parts

    def _parts(
        self, block: memoryview, coder: Coder, width: int, base: memoryview
    ) -> tuple[Coder, list[bytes]]:
        if coder is Coder.PLAIN:
            return coder, []
        if coder is Coder.ZSTD:
            return coder, [self._framing.frame(block)]
        elements, rest = _cut(block, width)
        of_width = self._of(width)
        if coder is Coder.PLANES:
            return coder, [bytes(rest), *of_width.split(elements)]
        was, _ = _cut(base, width)
        listing = of_width.listing(coder)
        listed = listing.coded(elements, was) if listing else None
        if listed is not None:
            return coder, [bytes(rest), *listed]
        return Coder.DELTA, [bytes(rest), *of_width.split_differences(elements, was)]

    def decode(self, head: CodedHead, coded: Readable, base: Readable, into: memoryview) -> None:
        """Write the block that coded bytes stand for.

        Args:
            head: What was said of it.
            coded: Its bytes, without the head.
            base: As many bytes of the base as the block has; nothing if its coder needs none.
            into: Where the block goes, as long as it is.

        Raises:
            ProtocolViolation: The bytes are not what the head says; what was written is nothing.
        """
        view = memoryview(coded)
        if head.coder is Coder.PLAIN:
            into[:] = view
            return
        if head.coder is Coder.ZSTD:
            self._framing.unpack(view, into)
            return
        elements, rest = _cut(into, head.width)
        if len(view) < len(rest):
            raise ProtocolViolation("coded block", "ends before its elements")
        rest[:] = view[: len(rest)]
        view = view[len(rest) :]
        of_width = self._of(head.width)
        if head.coder is Coder.PLANES:
            length = of_width.join(view, elements)
        else:
            was, _ = _cut(memoryview(base), head.width)
            listing = of_width.listing(head.coder)
            apply = listing.apply if listing else of_width.join_differences
            length = apply(view, was, elements)
        if length != len(view):
            raise ProtocolViolation("coded block", "has bytes behind its end")

    def _of(self, width: int) -> _OfWidth:
        """Return what works on elements of a width; the memory of another one is given back."""
        if width not in self._by_width:
            self._by_width = {width: _OfWidth(width, self._framing)}
        return self._by_width[width]


class _OfWidth:
    """What works on elements of one width."""

    def __init__(self, width: int, framing: Framing) -> None:
        self._planes = Planes(width, framing)
        self._differences = Differences(width)
        self._width = width
        self._framing = framing
        self._listing: dict[Coder, ChangedElements | Nibbles] = {}
        self._slice = slice_of(width)

    def listing(self, coder: Coder) -> ChangedElements | Nibbles | None:
        """Return what lists some elements; the memory of another one is given back."""
        make = _LISTING.get(coder)
        if make is None:
            return None
        if coder not in self._listing:
            self._listing = {coder: make(self._width, self._framing, self._planes)}
        return self._listing[coder]

    def split(self, elements: Elements) -> list[bytes]:
        self._planes.room_for(len(elements))
        for start, end in slices(elements):
            self._planes.put(elements[start:end], start)
        return list(self._planes.coded())

    def split_differences(self, elements: Elements, base: Elements) -> list[bytes]:
        self._planes.room_for(len(elements))
        for start, end in slices(elements):
            part = self._slice[: end - start]
            self._differences.between(elements[start:end], base[start:end], part)
            self._planes.put(part, start)
        return list(self._planes.coded())

    def join(self, coded: memoryview, into: Elements) -> int:
        planes, length = self._planes.read(coded, len(into))
        for start, end in slices(into):
            self._planes.join(planes, start, into[start:end])
        return length

    def join_differences(self, coded: memoryview, base: Elements, into: Elements) -> int:
        planes, length = self._planes.read(coded, len(into))
        for start, end in slices(into):
            part = self._slice[: end - start]
            self._planes.join(planes, start, part)
            self._differences.apply(part, base[start:end], into[start:end])
        return length


def _cut(block: memoryview, width: int) -> tuple[Elements, memoryview]:
    """Return a block's elements, and what is left behind them: fewer bytes than an element."""
    end = len(block) // width * width
    return numpy.frombuffer(block[:end], numpy.dtype(f"<u{width}")), block[end:]
