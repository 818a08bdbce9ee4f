"""Blocks of other versions on this node's disks that have the digest of one that is wanted.

There is no index of them: the manifests of what stands here are in the database anyway, and are
always what is true of the catalog. Only the digests that are wanted are kept in memory; those of
the other versions pass by. Finding them is no proof: what is taken is verified.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple, final

from ckptd.limits import DIGEST_BYTES
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.store.trees.local_blocks import LocalBlock
from ckptd.store.trees.standing_files import KnownPlace


class SimilarPlace(NamedTuple):
    """A place of another version.

    Attributes:
        known: What the catalog knows of it.
        space: How that version is laid out.
    """

    known: KnownPlace
    space: AddressSpace


@final
class EqualBlocks:
    """Finds wanted blocks in other versions, each once.

    Args:
        space: The version that is wanted.
        wanted: Which of its blocks.
        places: Where to look, the likeliest first.

    Attributes:
        blocks: The blocks that were found.
        found_bytes: How many bytes of them lie at each place, in their order.

    Cost: 190 bytes for each wanted block while it looks, 20 for each that was found; 0.3 to 0.6 µs
        for each block that is wanted and each of the places.
    """

    def __init__(
        self, space: AddressSpace, wanted: BlockSet, places: tuple[SimilarPlace, ...]
    ) -> None:
        self._space = space
        self._places = places
        self._blocks, self._offsets = array("I"), array("Q")
        self._place_of, self._unit_of = array("I"), array("I")
        self._left: dict[bytes, int] = {}
        self._twins: dict[bytes, list[int]] = {}  # the others, where several are equal
        for place in (each for run in wanted.runs() for each in space.places(run)):
            digest = bytes(place.digest)
            if self._left.setdefault(digest, place.block) != place.block:
                self._twins.setdefault(digest, []).append(place.block)
        self.found_bytes = tuple(self._look_in(index) for index in range(len(places)))
        self._left, self._twins = {}, {}
        self._sort()
        self.blocks = BlockSet((block, block + 1) for block in self._blocks)

    def find(self, wanted: BlockSet) -> Iterator[LocalBlock]:
        """Yield where some of the blocks that were found lie."""
        for run in (wanted & self.blocks).runs():
            index = bisect_left(self._blocks, run.start)
            for row, block in enumerate(self._space.places(run), index):
                place, unit = self._places[self._place_of[row]], self._unit_of[row]
                yield LocalBlock(
                    block,
                    place.known.root,
                    place.known.path_of(place.space.manifest, unit),
                    self._offsets[row],
                    place.known.number,
                    unit,
                )

    def _look_in(self, index: int) -> int:
        """Take down what one place has of what is left to be found; return how many bytes."""
        known, found_bytes = self._places[index].known, 0
        for unit, facts in enumerate(self._places[index].space.manifest.units):
            if not self._left:
                break
            if not known.files.has(unit) or unit in known.changed:
                continue
            digests = facts.block_digests
            for row in range(facts.block_count):
                digest = bytes(digests[row * DIGEST_BYTES : (row + 1) * DIGEST_BYTES])
                first = self._left.pop(digest, None)
                for block in () if first is None else (first, *self._twins.get(digest, ())):
                    self._blocks.append(block)
                    self._place_of.append(index)
                    self._unit_of.append(unit)
                    self._offsets.append(row * facts.block_size_bytes)
                    found_bytes += self._space.block_size(block)
        return found_bytes

    def _sort(self) -> None:
        order = sorted(range(len(self._blocks)), key=self._blocks.__getitem__)
        self._blocks = array("I", (self._blocks[row] for row in order))
        self._offsets = array("Q", (self._offsets[row] for row in order))
        self._place_of = array("I", (self._place_of[row] for row in order))
        self._unit_of = array("I", (self._unit_of[row] for row in order))
