"""What the version of a recovery consists of, once its manifest is here."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality


@dataclass(frozen=True, slots=True)
class Described:
    """A version whose manifest is here.

    Attributes:
        version: Which version.
        digest: Its identity.
        space: Its address space.
        class_ends: Where runs of equal criticality end: the block behind the last one.
        critical: All blocks of critical units.
        optional: All blocks of optional units; the version is complete without them.
        piece_ends: Where pieces end that no range crosses: the block behind each; none: there are
            no pieces.
    """

    version: Version
    digest: Digest
    space: AddressSpace
    class_ends: tuple[int, ...]
    critical: BlockSet
    optional: BlockSet
    piece_ends: Sequence[int] = ()

    @classmethod
    def of(
        cls,
        version: Version,
        digest: Digest,
        space: AddressSpace,
        piece_ends: Sequence[int] = (),
    ) -> Described:
        """Describe a version by its address space.

        Args:
            version: Which version.
            digest: Its identity.
            space: Its address space.
            piece_ends: Where its pieces end, if it was joined of shards.
        """
        critical, optional = space.of_criticality(Criticality.CRITICAL), space.optional_blocks()
        return cls(version, digest, space, space.class_ends(), critical, optional, piece_ends)

    def class_of(self, block: int) -> BlockRun:
        """Return the blocks around one that are as urgent by what the manifest says."""
        index = bisect_right(self.class_ends, block)
        return BlockRun(self.class_ends[index - 1] if index else 0, self.class_ends[index])

    def piece_end(self, block: int) -> int:
        """Return where a range has to end that begins with a block, as far as pieces go."""
        if not self.piece_ends:
            return self.space.block_count
        return self.piece_ends[bisect_right(self.piece_ends, block)]
