"""What blocks of a version are coded as for one receiver.

For each unit it is tried which coder makes a block shortest, against which of the bases; that
counts for the blocks that follow, and is tried again now and then. What was made for another
receiver that has the same base is not made again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple, TypeAlias

from ckptd.buffers import page_buffer
from ckptd.coding.block_coding import BlockCoding
from ckptd.coding.coded_block import NO_BASE, CodedHead
from ckptd.coding.fitting import adapted, fit
from ckptd.model.base_places import BasePlaces
from ckptd.model.formats.element_types import ELEMENTS_FACT, width_at
from ckptd.model.ids import Digest
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.model.words import Coder
from ckptd.net.coded_bases import Base, BaseReading
from ckptd.net.source.coded_forms import CodedForm, FormKey
from ckptd.net.source.shared_coding import SharedCoding
from ckptd.net.source.unit_fits import FitKey, UnitFit

Read: TypeAlias = Callable[[BlockPlace], memoryview]
"""Reads a block, which is good until the next one is read."""

_PLAIN: Final = CodedForm(Coder.PLAIN, 1)


class CodedVersion(NamedTuple):
    """What is asked for.

    Attributes:
        digest: Identity of the version.
        space: Where its blocks lie.
        coders: What the receiver can decode.
        bases: What it has, by the place in its list; ``None``: not here.
    """

    digest: Digest
    space: AddressSpace
    coders: frozenset[Coder]
    bases: Sequence[Base | None]


class _BaseBlock(NamedTuple):
    number: int
    base: Base
    place: BlockPlace


class CodedBlocks:
    """Codes blocks of one version, in ascending order; to be closed. One thread.

    Args:
        version: Of which blocks, for whom.
        shared: What others who send have, too.
    """

    def __init__(self, version: CodedVersion, shared: SharedCoding) -> None:
        self._version = version
        self._shared = shared
        self._coding = BlockCoding()
        self._places: dict[int, BasePlaces] = {}
        self._open = ExitStack()
        self._readings: dict[int, BaseReading] = {}
        self._lost: set[tuple[int, int]] = set()  # base and unit
        self._memory = memoryview(b"")

    def close(self) -> None:
        """Close the files of bases."""
        self._open.close()
        self._readings.clear()

    def coded(self, place: BlockPlace, read: Read) -> tuple[bytes, ...] | None:
        """Return the head of a block and the pieces behind it; ``None``: it goes as it is. Blocks.

        Args:
            place: Which block.
            read: Reads it, if that is necessary; what it raises goes through.
        """
        base = self._base_of(place)
        key = FormKey(place.digest, base.place.digest if base else b"", self._version.coders)
        forms = self._shared.forms
        form = forms.claim(key)
        if form is None:
            try:
                form = self._make(place, base, read)
            finally:
                forms.release(key, form)
        if form is None or form.coder is Coder.PLAIN:
            return None
        number = base.number if base and form.coder.needs_base else NO_BASE
        head = CodedHead(form.coder, form.width, number, form.coded_bytes)
        return head.encoded(), *form.coded

    def _base_of(self, place: BlockPlace) -> _BaseBlock | None:
        """Return the block that a block may be coded against: of the first base that has one."""
        for number, base in enumerate(self._version.bases):
            if base is None or (number, place.unit) in self._lost:
                continue
            places = self._places.get(number)
            if places is None:
                places = self._places[number] = BasePlaces(self._version.space, base.space)
            there = places.of(place)
            if there is not None:
                return _BaseBlock(number, base, there)
        return None

    def _make(self, place: BlockPlace, base: _BaseBlock | None, read: Read) -> CodedForm | None:
        """Code a block; ``None``: not now, or not against this base."""
        shared = self._shared
        if not shared.time.may_code():
            return None
        key = FitKey(
            self._version.digest,
            place.unit,
            base.base.digest if base else None,
            self._version.coders,
            self._width_of(place),
        )
        known = shared.fits.take(key)
        if known is not None and known.coder is Coder.PLAIN:
            return None
        block = read(place)
        began_ns = time.thread_time_ns()
        try:
            was = None
            if base is not None and (known is None or known.coder.needs_base):
                was = self._read_base(base)
                if was is None:
                    self._lost.add((base.number, place.unit))
                    return None
            if known is None:
                how = self._fit(key, block, was)
            elif was is None:
                how = known
            else:
                coder = adapted(known.coder, known.width, block, was, key.coders)
                how = UnitFit(coder, known.width)
            coder, coded = self._coding.pieces(block, how.coder, how.width, base=was or b"")
            return _PLAIN if coder is Coder.PLAIN else CodedForm(coder, how.width, tuple(coded))
        finally:
            shared.time.spend(time.thread_time_ns() - began_ns)

    def _fit(self, key: FitKey, block: memoryview, base: memoryview | None) -> UnitFit:
        """Find out how a block is coded best, and let that count for those that follow."""
        found = fit(self._coding, block, base, key.coders, key.width)
        how = UnitFit(found.coder, found.width)
        if found.is_representative:
            self._shared.fits.put(key, how)
        return how

    def _width_of(self, place: BlockPlace) -> int | None:
        """Return how wide elements of a block are, if its publisher said so."""
        facts = self._version.space.manifest.units[place.unit].facts
        return width_at(facts.get(ELEMENTS_FACT, ""), place.offset, place.offset + place.size_bytes)

    def _read_base(self, base: _BaseBlock) -> memoryview | None:
        size_bytes = base.place.size_bytes
        if len(self._memory) < size_bytes:
            self._memory = page_buffer(size_bytes)
        into = self._memory[:size_bytes]
        reading = self._readings.get(base.number)
        if reading is None:
            reading = self._open.enter_context(base.base.reading())
            self._readings[base.number] = reading
        return into if reading.read_right(base.place, into) else None
