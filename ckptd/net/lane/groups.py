"""How many blocks a lane takes off its connection at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockRun
from ckptd.model.space import AddressSpace, BlockPlace
from ckptd.traffic.buckets import GRANT_BYTES_MAX

GROUP_BYTES_MIN: Final = 1 * MIB
"""Enough for the calls around a group to cost little, and what a slow lane holds unverified."""

GROUP_BYTES_MAX: Final = GRANT_BYTES_MAX
"""What a limit grants at once, and the best of what was measured. On two busy cores, four sources,
recoveries took 2.29 s of 2 GiB with 1 MiB, 2.17 with 2, 1.80 with 4; bare threads 1.35, 1.32, 1.15,
and 1.28 with 8."""

_GROUP_NS: Final = 20 * MS
"""A group is what comes in this time: so much a crash, or the end of the lane, may cost."""


class Groups:
    """Cuts the ranges of one lane into groups of blocks, larger ones while it is fast.

    The first group is one block, so that a lane to a source that lies costs no more.

    Attributes:
        size_bytes: What a group has at most, unless it is one block that is longer.
    """

    def __init__(self) -> None:
        self.size_bytes = GROUP_BYTES_MIN
        self._is_first = True

    def of(self, space: AddressSpace, blocks: BlockRun) -> Iterator[tuple[list[BlockPlace], int]]:
        """Yield some blocks in groups to be taken together, and each group's bytes."""
        places: list[BlockPlace] = []
        size_bytes = 0
        for place in space.places(blocks):
            is_full = size_bytes + place.size_bytes > self.size_bytes
            if places and (is_full or self._is_first):
                self._is_first = False
                yield places, size_bytes
                places, size_bytes = [], 0
            places.append(place)
            size_bytes += place.size_bytes
        self._is_first = False
        yield places, size_bytes

    def adapt(self, size_bytes: int, took_ns: int) -> None:
        """Learn from a group how many bytes the next one should have.

        Args:
            size_bytes: What the group had.
            took_ns: How long it took to come.
        """
        wanted_bytes = size_bytes * _GROUP_NS // max(took_ns, 1)
        self.size_bytes = min(max(wanted_bytes, GROUP_BYTES_MIN), GROUP_BYTES_MAX)
