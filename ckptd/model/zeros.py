"""Blocks of zeros: what they must hash to is known before they come, so they need not come.

Sparse files have them, and buffers that were allocated and not filled. A recovery holds them from
its start: it gives the file its length and writes the other blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from ckptd.limits import DIGEST_BYTES
from ckptd.model.blocks import BlockSet
from ckptd.model.manifest import Unit
from ckptd.model.space import AddressSpace

TAIL_LENGTHS_MAX: Final = 256
"""Shorter blocks at the ends of units are hashed in so many lengths, 4 GiB at most; the others are
blocks like any other. A manifest may have half a million of them."""


def zero_blocks(space: AddressSpace, digest_of_zeros: Callable[[int], bytes]) -> BlockSet:
    """Return the blocks that consist of zeros, of units that have several blocks.

    A shorter block at the end of a unit counts if the block before it does too. A unit of one
    block is at most one small request, and its file is made when it comes.

    Args:
        space: All blocks.
        digest_of_zeros: Returns the digest of so many zeros; asked once for each length.

    Cost: O(bytes of the manifest), and zeros hashed for each length.
    """
    known: dict[int, bytes] = {}
    tail_lengths: set[int] = set()
    runs: list[tuple[int, int]] = []

    def digest(size_bytes: int) -> bytes:
        if size_bytes not in known:
            known[size_bytes] = digest_of_zeros(size_bytes)
        return known[size_bytes]

    for index, unit in enumerate(space.manifest.units):
        if unit.block_count <= 1:
            continue
        first, end = space.unit_run(index)
        size_bytes = unit.block_size_bytes
        found = list(_found(unit, digest(size_bytes)))
        tail_bytes = unit.size_bytes % size_bytes
        if tail_bytes and found and found[-1][1] == end - first - 1:
            tail_lengths.add(tail_bytes)
            is_known = tail_bytes in known or len(tail_lengths) <= TAIL_LENGTHS_MAX
            if is_known and unit.block_digests[-DIGEST_BYTES:] == digest(tail_bytes):
                found.append((end - first - 1, end - first))
        runs += [(first + start, first + stop) for start, stop in found]
    return BlockSet(runs)


def data_stretches(space: AddressSpace, unit: int, zeros: BlockSet) -> Iterator[tuple[int, int]]:
    """Yield where a unit has other blocks than those of zeros: offset and length in bytes."""
    run = space.unit_run(unit)
    unit_start = space.block_start(run[0])
    for start, end in (BlockSet.of_run(run) - zeros).runs():
        yield space.block_start(start) - unit_start, space.run_bytes((start, end))


def bytes_by_unit(space: AddressSpace, blocks: BlockSet) -> Mapping[int, int]:
    """Return how many bytes some blocks have in each unit; units without one are left out."""
    return {
        unit: space.set_bytes(blocks.within(*space.unit_run(unit)))
        for unit in space.units_of(blocks)
    }


def _found(unit: Unit, digest: bytes) -> Iterator[tuple[int, int]]:
    """Yield the runs of a unit's blocks that have a digest."""
    digests = bytes(unit.block_digests)
    at = digests.find(digest)
    while at >= 0:
        if at % DIGEST_BYTES:
            at = digests.find(digest, at + 1)
            continue
        end = at + DIGEST_BYTES
        while digests.startswith(digest, end):
            end += DIGEST_BYTES
        yield at // DIGEST_BYTES, end // DIGEST_BYTES
        at = digests.find(digest, end)
