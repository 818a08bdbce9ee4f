"""What a lane delivers, verified before anything of it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ckptd.model.space import BlockPlace
from ckptd.store.files.hashing import digest_of
from ckptd.store.staging.held import HeldBlocks


class BlockWrite(NamedTuple):
    """Consecutive good blocks of one unit.

    Attributes:
        unit: Which one.
        offset: Where they begin in its file.
        start: Where they begin in the delivered bytes …
        end: … and where they end there.
    """

    unit: int
    offset: int
    start: int
    end: int


class Delivery(NamedTuple):
    """A delivery after its blocks were verified.

    Attributes:
        rejected: Blocks whose digest is wrong.
        accepted: Blocks that are right and were not held, in the order of their bytes.
        writes: How to write those.
    """

    rejected: tuple[int, ...]
    accepted: list[BlockPlace]
    writes: list[BlockWrite]


def verify_delivery(places: Sequence[BlockPlace], data: memoryview, held: HeldBlocks) -> Delivery:
    """Verify blocks and say how to write those that are right and not held yet.

    Args:
        places: The blocks, in the order of their bytes.
        data: Their bytes, end to end.
        held: Blocks that need not be written again.
    """
    rejected: list[int] = []
    accepted: list[BlockPlace] = []
    writes: list[BlockWrite] = []
    end = 0
    for place in places:
        start, end = end, end + place.size_bytes
        if digest_of(data[start:end]) != place.digest:
            rejected.append(place.block)
        elif place.block not in held:
            if accepted and writes[-1].end == start and accepted[-1].unit == place.unit:
                writes[-1] = writes[-1]._replace(end=end)
            else:
                writes.append(BlockWrite(place.unit, place.offset, start, end))
            accepted.append(place)
    assert end == len(data), "the bytes are not those of the blocks"
    return Delivery(tuple(rejected), accepted, writes)
