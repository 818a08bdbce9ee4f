"""Several shards of a version as one: a joined manifest, and where each block of it stands.

A recovery of a job is one recovery of what its shards consist of together. Their manifests are
joined to one, with all units in urgency order; a file that several shards have alike is there once.
The joined manifest exists on one node, for one recovery: peers are asked for the shards' blocks.
So blocks are mapped both ways, by *pieces*: runs of blocks that follow each other here and in each
shard that has them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joined_manifest import JoinedManifest
from ckptd.model.manifest import Manifest
from ckptd.model.shards import Shard, split_shard
from ckptd.model.space import AddressSpace


class Member(NamedTuple):
    """A shard that is joined with others.

    Attributes:
        digest: Identity of its version.
        manifest: What that consists of.
    """

    digest: Digest
    manifest: Manifest


class Joint:
    """What some shards of a version consist of together, and which block stands where.

    Args:
        job: The job whose shards they are.
        version: Of which version.
        members: The shards, in any order, each once, all of one layout.

    Raises:
        Conflict: The same path is not the same in two of them; both are named.
        InvalidManifest: Together they are more than one manifest may hold.
        ValueError: They are not different shards of one version in one layout.

    Attributes:
        manifest: The joined manifest: its checkpoint is the job.
        space: Where its blocks lie.
        shards: Which shard each member is, by digest, in ascending order.
        block_counts: How many blocks each member has, by digest.
    """

    def __init__(self, job: CheckpointName, version: Version, members: Iterable[Member]) -> None:
        found = [(_shard_of(job, version, each), each) for each in members]
        found.sort(key=lambda each: each[0])
        self.shards = {member.digest: shard for shard, member in found}
        if len({shard.count for shard in self.shards.values()}) != 1:
            raise ValueError(f"no shards of one layout of {job}@{version}")
        if len(self.shards) != len(found) or len(set(self.shards.values())) != len(found):
            raise ValueError(f"a shard of {job}@{version} is given twice")
        self._digests = tuple(self.shards)
        manifests = [member.manifest for _, member in found]
        joining = JoinedManifest(job, version, list(self.shards.values()), manifests)
        self.manifest = joining.manifest
        self.space = AddressSpace(self.manifest)
        firsts = [_first_blocks(manifest) for manifest in manifests]
        block_counts = (blocks[-1] for blocks in firsts)
        self.block_counts = dict(zip(self._digests, block_counts, strict=True))
        units = _units_of_members(joining.owners, manifests)
        self._units = dict(zip(self._digests, units, strict=True))
        self._starts = array("I")  # of pieces, and where the last one ends
        self._holders: list[tuple[tuple[int, int], ...]] = []
        self._find_pieces(joining.owners, firsts)
        self._inward, self._outward = self._mappings(len(found))

    @property
    def piece_ends(self) -> Sequence[int]:
        """Where pieces end: the block behind each. No range crosses one."""
        return self._starts[1:]

    def piece_end(self, block: int) -> int:
        """Return where the piece ends that a block belongs to."""
        return self._starts[bisect_right(self._starts, block)]

    def from_member(self, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return which blocks here some blocks of a member are.

        Args:
            digest: Which member.
            blocks: Its blocks; what it does not have is nothing here.

        Raises:
            KeyError: No such member.
        """
        return self._inward[digest].image(blocks)

    def to_member(self, digest: Digest, blocks: BlockSet) -> BlockSet:
        """Return which blocks of a member some blocks are; of those it has.

        Args:
            digest: Which member.
            blocks: Blocks of the joined manifest.

        Raises:
            KeyError: No such member.
        """
        return self._outward[digest].image(blocks)

    def to_members(self, run: tuple[int, int]) -> list[tuple[Digest, BlockRun]]:
        """Return where a run stands in each member that has it, in order of the shards.

        Args:
            run: Some blocks of one piece.

        Raises:
            ValueError: They are of several pieces.
        """
        start, end = run
        if not 0 <= start < end <= self.piece_end(start):
            raise ValueError(f"no run within a piece: [{start}, {end})")
        index = bisect_right(self._starts, start) - 1
        inside = start - self._starts[index]
        return [
            (self._digests[member], BlockRun(first + inside, first + inside + end - start))
            for member, first in self._holders[index]
        ]

    def blocks_of(self, digest: Digest) -> BlockSet:
        """Return all blocks that a member has, also those that others have, too.

        Raises:
            KeyError: No such member.
        """
        return self._inward[digest].everything

    def units_of(self, digest: Digest) -> Sequence[int]:
        """Return which unit here each unit of a member is, in the member's order.

        Raises:
            KeyError: No such member.
        """
        return self._units[digest]

    def _find_pieces(
        self, owners: Sequence[Sequence[tuple[int, int]]], firsts: Sequence[Sequence[int]]
    ) -> None:
        """Find the pieces: what follows each other in every member that has it.

        Args:
            owners: Of each unit, the members that have it, and which of their units it is.
            firsts: Of each member, the first block of each of its units.
        """
        expected: tuple[tuple[int, int], ...] = ()
        for unit, held in enumerate(owners):
            start, end = self.space.unit_run(unit)
            if start == end:
                continue
            holders = tuple((member, firsts[member][index]) for member, index in held)
            if holders != expected:
                self._starts.append(start)
                self._holders.append(holders)
            expected = tuple((member, first + end - start) for member, first in holders)
        self._starts.append(self.space.block_count)

    def _mappings(self, member_count: int) -> tuple[dict[Digest, _Mapping], dict[Digest, _Mapping]]:
        """Return the way from each member's blocks to those here, and the way back."""
        parts: list[list[tuple[int, int, int]]] = [[] for _ in range(member_count)]
        for (start, end), holders in zip(pairwise(self._starts), self._holders, strict=True):
            for member, first in holders:
                parts[member].append((first, start, end - start))
        inward = {
            digest: _Mapping(sorted(each))
            for digest, each in zip(self._digests, parts, strict=True)
        }
        outward = {
            digest: _Mapping((there, here, count) for here, there, count in each)
            for digest, each in zip(self._digests, parts, strict=True)
        }
        return inward, outward


class _Mapping:
    """Where runs of blocks lie elsewhere.

    Args:
        parts: Where each run begins, where it begins there, and how long it is, in order.

    Attributes:
        everything: All blocks there.
    """

    __slots__ = ("_counts", "_starts", "_targets", "everything")

    def __init__(self, parts: Iterable[tuple[int, int, int]]) -> None:
        self._starts, self._targets, self._counts = array("I"), array("I"), array("I")
        for start, target, count in parts:
            self._starts.append(start)
            self._targets.append(target)
            self._counts.append(count)
        self.everything = BlockSet(
            (target, target + count)
            for target, count in zip(self._targets, self._counts, strict=True)
        )

    def image(self, blocks: BlockSet) -> BlockSet:
        """Return where some blocks are there; those that are in no run are left out.

        Cost: O(runs of the set, and runs here that they meet).
        """
        starts, found = self._starts, []
        for start, end in blocks.runs():
            index = max(bisect_right(starts, start) - 1, 0)
            while index < len(starts) and starts[index] < end:
                low = max(start, starts[index]) - starts[index]
                high = min(end - starts[index], self._counts[index])
                if low < high:
                    found.append((self._targets[index] + low, self._targets[index] + high))
                index += 1
        return BlockSet(found)


def _shard_of(job: CheckpointName, version: Version, member: Member) -> Shard:
    manifest = member.manifest
    split = split_shard(CheckpointName(manifest.checkpoint))
    if split is None or split[0] != job or manifest.version != version:
        raise ValueError(f"{manifest.checkpoint}@{manifest.version} is no shard of {job}@{version}")
    return split[1]


def _first_blocks(manifest: Manifest) -> array[int]:
    """Return the first block of each unit, and how many blocks there are."""
    firsts, block = array("I"), 0
    for unit in manifest.units:
        firsts.append(block)
        block += unit.block_count
    firsts.append(block)
    return firsts


def _units_of_members(
    owners: Sequence[Sequence[tuple[int, int]]], manifests: Sequence[Manifest]
) -> list[array[int]]:
    """Return for each unit of each member which unit of the joined manifest it is."""
    found = [array("I", bytes(4 * len(manifest.units))) for manifest in manifests]
    for unit, held in enumerate(owners):
        for member, index in held:
            found[member][index] = unit
    return found
