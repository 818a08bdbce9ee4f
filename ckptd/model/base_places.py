"""Blocks that lie where others lie in another version of the same checkpoint.

Only whole blocks of the same length, at the same place of a unit of the same path, are bases:
then both ends have a digest for the base as well as for the block.
"""

from __future__ import annotations

from typing import Final

from ckptd.model.space import AddressSpace, BlockPlace

UNITS_MAX: Final = 65_536
"""Of a base; their paths are kept while it is used. Of what has more files, the files are small,
and one that changed is another one."""


class BasePlaces:
    """Finds the blocks of a base that lie where blocks of a version lie. One thread at a time.

    Args:
        space: Where the blocks of the version lie.
        base: Where those of the base lie.
    """

    def __init__(self, space: AddressSpace, base: AddressSpace) -> None:
        self._space = space
        self._base = base
        units = base.manifest.units
        self._by_path = (
            {unit.path: number for number, unit in enumerate(units)}
            if len(units) <= UNITS_MAX
            else {}
        )
        self._last: tuple[int, int | None] = (-1, None)

    def of(self, place: BlockPlace) -> BlockPlace | None:
        """Return the block of the base; ``None``: there is none of that length."""
        number = self.unit_of(place.unit)
        if number is None:
            return None
        start, end = self._base.unit_run(number)
        block = start + place.block - self._space.unit_run(place.unit)[0]
        if block >= end:
            return None
        found = next(self._base.places((block, block + 1)))
        return found if found.size_bytes == place.size_bytes else None

    def unit_of(self, unit: int) -> int | None:
        """Return the unit of the base that has the same path, and blocks of the same length."""
        if self._last[0] != unit:
            mine = self._space.manifest.units[unit]
            number = self._by_path.get(mine.path)
            if number is not None:
                theirs = self._base.manifest.units[number]
                if theirs.block_size_bytes != mine.block_size_bytes:
                    number = None
            self._last = (unit, number)
        return self._last[1]
