"""What blocks of a version are coded as for one receiver.

For each unit it is tried which coder makes a block shortest, against which of the bases; that
counts for the blocks that follow, and is tried again now and then.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.buffers import page_buffer
from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import NO_BASE
from ckptd.coding.fitting import Fit, fit
from ckptd.model.base_places import BasePlaces
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.coded_bases import Base
from ckptd.net.source.shared_coding_time import SharedCodingTime

AGAIN_BLOCKS: Final = 32
"""So many blocks of a unit are coded as the first one; then it is tried again."""


_PLAIN: Final = Fit()


@dataclass(slots=True)
class _Fitted:
    unit: int = -1
    fit: Fit = _PLAIN
    base: int = NO_BASE
    left: int = 0


class CodedBlocks:
    """Codes blocks of one version, in ascending order. One thread.

    Args:
        space: Where the blocks lie.
        bases: What the receiver has, by the place in its list; ``None``: not here.
        coders: What it can decode.
        time_left: What coding may take.
    """

    def __init__(
        self,
        space: AddressSpace,
        bases: Sequence[Base | None],
        coders: Collection[Coder],
        time_left: SharedCodingTime,
    ) -> None:
        self._coders = coders
        self._time = time_left
        self._coding = BlockCoding()
        self._space = space
        self._bases = bases
        self._places: dict[int, BasePlaces] = {}
        self._fitted = _Fitted()
        self._memory = memoryview(b"")

    def coded(self, place: BlockPlace, block: memoryview) -> bytes:
        """Return a block as it is sent. Blocks while bases are read."""
        if not self._time.may_code():
            return self._coding.encode(block, Coder.PLAIN)
        began_ns = time.thread_time_ns()
        try:
            return self._code(place, block)
        finally:
            self._time.spend(time.thread_time_ns() - began_ns)

    def _code(self, place: BlockPlace, block: memoryview) -> bytes:
        known = self._fitted
        base = None
        if known.unit != place.unit or not known.left:
            base = self._fit(place, block)
            known = self._fitted
        elif known.fit.coder.needs_base:
            base = self._read(known.base, place)
            if base is None:
                return self._coding.encode(block, Coder.PLAIN)
        known.left -= 1
        return self._coding.encode(
            block, known.fit.coder, known.fit.width, base=base or b"", base_number=known.base
        )

    def _fit(self, place: BlockPlace, block: memoryview) -> memoryview | None:
        """Find out how blocks of a unit are coded best; return the block of the base."""
        base_number, base = NO_BASE, None
        for number in range(len(self._bases)):
            base = self._read(number, place)
            if base is not None:
                base_number = number
                break
        found = fit(self._coding, block, base, self._coders)
        if not found.coder.needs_base:
            base_number, base = NO_BASE, None
        self._fitted = _Fitted(place.unit, found, base_number, AGAIN_BLOCKS)
        return base

    def _read(self, number: int, place: BlockPlace) -> memoryview | None:
        """Return the block of a base that lies where a block lies, if there is one."""
        base = self._bases[number]
        if base is None:
            return None
        places = self._places.get(number)
        if places is None:
            places = self._places[number] = BasePlaces(self._space, base.space)
        there = places.of(place)
        if there is None:
            return None
        if len(self._memory) < place.size_bytes:
            self._memory = page_buffer(place.size_bytes)
        into = self._memory[: place.size_bytes]
        return into if base.read(there, into) else None
