"""How much of a version is new, compared with the one before, by the digests of their blocks.

What a node has the blocks of need not travel again, wherever in the version they stand, so a block
counts as changed if its digest is nowhere in the version before. Of a version of very many blocks
only a sample is kept: the blocks whose digests, as numbers, are lowest. Digests are as good as
drawn, so that is a fair sample, and the same blocks are in the samples of both versions.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.limits import DIGEST_BYTES
from ckptd.model.manifest import Unit

BLOCKS_SAMPLED_MAX: Final = 65_536
"""About so many blocks are compared, in some 10 MiB: of a share of one half that is ± 0.4 %."""

_WORD_BYTES: Final = 8
_ALL: Final = 2 ** (8 * _WORD_BYTES)
_STRIDE: Final = DIGEST_BYTES // _WORD_BYTES


@dataclass(frozen=True, slots=True)
class BlockSample:
    """Blocks of a version.

    Attributes:
        below: Those are in it whose digest begins with a number lower than this.
        starts: With which numbers their digests begin …
        sizes: … and how long each is.
    """

    below: int
    starts: array[int]
    sizes: array[int]

    @property
    def is_exact(self) -> bool:
        """All blocks are in it."""
        return self.below == _ALL

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return sum(column.itemsize * len(column) for column in (self.starts, self.sizes))


def sample_of(units: Sequence[Unit]) -> BlockSample:
    """Return a sample of the blocks of a version.

    Args:
        units: The files it consists of.

    Cost: O(blocks); for a thread.
    """
    block_count = sum(unit.block_count for unit in units)
    below = _ALL if block_count <= BLOCKS_SAMPLED_MAX else _ALL * BLOCKS_SAMPLED_MAX // block_count
    starts, sizes = array("Q"), array("I")
    for unit in units:
        words = array("Q")
        words.frombytes(unit.block_digests)
        block_bytes, last = unit.block_size_bytes, unit.block_count - 1
        for block, start in enumerate(words[::_STRIDE]):
            if start < below:
                starts.append(start)
                end = unit.size_bytes - last * block_bytes
                sizes.append(end if block == last else block_bytes)
    return BlockSample(below, starts, sizes)


def changed_share(before: BlockSample, after: BlockSample) -> float | None:
    """Return which share of the bytes of a version is not in the one before.

    Args:
        before: Of the one before.
        after: Of the version.

    Returns:
        Exact if both samples are; ``None`` if the version has no bytes.
    """
    below = min(before.below, after.below)
    known = {start for start in before.starts if start < below}
    compared_bytes = changed_bytes = 0
    for start, size_bytes in zip(after.starts, after.sizes, strict=True):
        if start < below:
            compared_bytes += size_bytes
            changed_bytes += size_bytes * (start not in known)
    return changed_bytes / compared_bytes if compared_bytes else None
