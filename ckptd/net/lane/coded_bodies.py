"""Coded blocks as they come: taken off a connection one by one, and decoded.

What a part of the body may have is known before it is read, from its block. A block that
decodes to something wrong is the source's fault if the base here is right, which is looked at then.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import HEAD_BYTES, read_head
from ckptd.errors import ProtocolViolation
from ckptd.model.base_places import BasePlaces
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.coded_bases import Base, BaseLost, BaseReading
from ckptd.wire.body_parts import LAST_PART, LINE_BYTES_MAX, PART_END, parse_part_line

_decoding: Final = threading.Semaphore(max(len(os.sched_getaffinity(0)) // 2, 1))
"""Held by threads that decode, one for two processors. A block takes dozens of short calls, each of
which releases and takes the interpreter lock: threads at once mostly wake each other up. On two
processors, with one at a time beside another one that verifies and writes, recoveries took as long
with four fifths of the processor time (3.2 s for a GiB, and not 4.0)."""

_LOST: Final = "a base is not here any more, or not what it was"


class CodedBodies:
    """Decodes the bodies of one connection. One thread.

    Args:
        peek: Returns up to so many bytes of the connection, at least one, and leaves them there.
        take: Returns up to so many bytes of the connection, at least one.
        fill: Fills memory from the connection.
    """

    def __init__(
        self,
        peek: Callable[[int], bytes],
        take: Callable[[int], bytes],
        fill: Callable[[memoryview], None],
    ) -> None:
        self._peek = peek
        self._take = take
        self._fill = fill
        self._coding = BlockCoding()
        self._for_coded = memoryview(b"")
        self._for_base = memoryview(b"")
        self._space: AddressSpace | None = None
        self._places: dict[Digest, BasePlaces] = {}  # of that space
        self._open = ExitStack()
        self._readings: dict[Digest, BaseReading] = {}  # of one body
        self._used: dict[int, tuple[Base, BlockPlace]] = {}  # by block, of one body

    def block(
        self,
        place: BlockPlace,
        space: AddressSpace,
        bases: tuple[Base, ...],
        into: memoryview,
    ) -> int:
        """Take a block; return how many bytes it was.

        Args:
            place: Which block.
            space: Where it lies.
            bases: What was offered as bases.
            into: Where it goes, as long as it is.

        Raises:
            ProtocolViolation: What comes is no coded block, or of another length.
            BaseLost: Its base is not here any more.
        """
        length = len(into)
        size_bytes = parse_part_line(self._line())
        if not HEAD_BYTES <= size_bytes <= HEAD_BYTES + length:
            raise ProtocolViolation(
                "part of a body", f"has {size_bytes} bytes for a block of {length}"
            )
        head = read_head(self._exactly(HEAD_BYTES), length, len(bases))
        if head.coded_bytes != size_bytes - HEAD_BYTES:
            raise ProtocolViolation("coded block", "has another length than its part")
        coded = into if head.coder is Coder.PLAIN else self._room_for(head.coded_bytes, length)
        self._fill(coded)
        self._end()
        if head.coder is not Coder.PLAIN:
            with _decoding:
                base = self._read(bases[head.base], place, space) if head.coder.needs_base else b""
                self._coding.decode(head, coded, base, into)
        return size_bytes

    def end(self) -> None:
        """Take the end of a body.

        Raises:
            ProtocolViolation: More follows.
        """
        if self._exactly(len(LAST_PART)) != LAST_PART:
            raise ProtocolViolation("coded blocks", "go on behind the last one")

    def let_go(self) -> None:
        """Close what was opened for a body, wherever it ended."""
        self._open.close()
        self._readings.clear()
        self._used.clear()

    def check_bases(self, blocks: Sequence[int]) -> None:
        """Look whether the bases are right of blocks that came out wrong. Blocks.

        Raises:
            BaseLost: One is not.
        """
        for block in blocks:
            if block in self._used:
                base, there = self._used[block]
                if not base.read(there, self._memory_for_base(there.size_bytes)):
                    raise BaseLost(_LOST)

    def _memory_for_base(self, size_bytes: int) -> memoryview:
        if len(self._for_base) < size_bytes:
            self._for_base = page_buffer(size_bytes)
        return self._for_base[:size_bytes]

    def _room_for(self, coded_bytes: int, block_bytes: int) -> memoryview:
        """Return memory for what comes: as much as it takes, seldom a new one."""
        if len(self._for_coded) < coded_bytes:
            more_bytes = min(2 * len(self._for_coded), block_bytes)
            self._for_coded = page_buffer(max(coded_bytes, more_bytes))
        return self._for_coded[:coded_bytes]

    def _read(self, base: Base, place: BlockPlace, space: AddressSpace) -> memoryview:
        """Return the block of a base that lies where a block lies."""
        if self._space is not space:
            self._space = space
            self._places.clear()
        places = self._places.get(base.digest)
        if places is None:
            places = self._places[base.digest] = BasePlaces(space, base.space)
        there = places.of(place)
        if there is None:
            raise ProtocolViolation("coded block", "has a base in which nothing lies there")
        reading = self._readings.get(base.digest)
        if reading is None:
            reading = self._readings[base.digest] = self._open.enter_context(base.reading())
        into = self._memory_for_base(place.size_bytes)
        if not reading.read(there, into):
            raise BaseLost(_LOST)
        self._used[place.block] = (base, there)
        return into

    def _line(self) -> bytes:
        """Take a line, and no byte of what follows it."""
        line = bytearray()
        while len(line) < LINE_BYTES_MAX:
            seen = self._peek(LINE_BYTES_MAX - len(line))
            end = (line + seen).find(PART_END)
            line += self._exactly(len(seen) if end < 0 else end + len(PART_END) - len(line))
            if end >= 0:
                return bytes(line)
        raise ProtocolViolation("part of a body", f"begins with {bytes(line)!r}")

    def _end(self) -> None:
        if self._exactly(len(PART_END)) != PART_END:
            raise ProtocolViolation("part of a body", "goes on behind its end")

    def _exactly(self, count: int) -> bytes:
        taken = bytearray()
        while len(taken) < count:
            taken += self._take(count - len(taken))
        return bytes(taken)
