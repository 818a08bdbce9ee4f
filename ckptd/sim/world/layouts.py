"""Versions without content: the scheduler only counts, so there is nothing to hash."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple
from zlib import crc32

from ckptd.limits import DIGEST_BYTES
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.manifest import (
    DIGEST_OF_NOTHING,
    FORMAT,
    ONE_PHASE,
    OPTIONAL_FLAG,
    Manifest,
    Unit,
    urgency,
)
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality


class UnitPlan(NamedTuple):
    """One unit of a version to be laid out.

    Attributes:
        criticality: How urgent it is.
        size_bytes: Its length.
        is_optional: The version is complete without it.
        zero_count: So many of its last blocks are zeros.
        phase: Which phase it is in.
    """

    criticality: Criticality
    size_bytes: int
    is_optional: bool = False
    zero_count: int = 0
    phase: int = 0


class SavedVersion:
    """One version of a checkpoint, as whoever holds it knows it.

    Args:
        checkpoint: Of which checkpoint.
        version: Which version.
        units: What it consists of.
        block_size_bytes: Size of its blocks.
        content: Which content, if there are several that look alike.
        prefix: What the paths of its units begin with.

    Attributes:
        space: Where its blocks lie.
        digest: Its identity.
        blocks: All of them.
        classes: Those of each criticality.
        optional: Those of optional units.
        zeros: Those that consist of zeros.
        shares: Of their length that its blocks have as differences from those of another version,
            which is laid out alike.
    """

    def __init__(
        self,
        checkpoint: str,
        version: int,
        units: Sequence[UnitPlan],
        block_size_bytes: int,
        content: str = "",
        prefix: str = "",
    ) -> None:
        self._prefix = prefix
        laid_out = [
            Unit(
                path=f"{prefix}{plan.criticality.label}-{index:05}",
                size_bytes=plan.size_bytes,
                digest=bytes(DIGEST_BYTES) if plan.size_bytes else DIGEST_OF_NOTHING,
                block_size_bytes=block_size_bytes,
                block_digests=bytes(-(-plan.size_bytes // block_size_bytes) * DIGEST_BYTES),
                criticality=plan.criticality,
                phase=plan.phase,
                flags=(OPTIONAL_FLAG,) if plan.is_optional else (),
            )
            for index, plan in enumerate(units)
        ]
        manifest = Manifest(
            format=FORMAT,
            checkpoint=checkpoint,
            version=version,
            phases=_phases(units),
            units=tuple(sorted(laid_out, key=urgency)),
        )
        space = AddressSpace(manifest)
        name = f"{checkpoint}@{version}{content}".encode().hex()
        zero_counts = {
            unit.path: plan.zero_count for unit, plan in zip(laid_out, units, strict=True)
        }
        zeros = BlockSet(
            (end - zero_count, end)
            for index, unit in enumerate(manifest.units)
            for _, end in (space.unit_run(index),)
            if (zero_count := zero_counts[unit.path])
        )
        self._measure(space, Digest(name[-64:].rjust(64, "0")), zeros)

    def _measure(self, space: AddressSpace, digest: Digest, zeros: BlockSet) -> None:
        self.space, self.digest, self.zeros = space, digest, zeros
        self.blocks = BlockSet.full(space.block_count)
        self.classes = {
            criticality: space.of_criticality(criticality) for criticality in Criticality
        }
        self.optional = space.optional_blocks()
        self.shares: dict[Digest, float] = {}
        self._starts = [space.block_start(block) for block in range(space.block_count + 1)]

    def alike(self, content: str, *, ahead: int = 0) -> SavedVersion:
        """Return other content under the same name, laid out as this one.

        Args:
            content: Which.
            ahead: So many versions newer; 0: under the same one.
        """
        counts = [
            self.zeros.count_within(*self.space.unit_run(index))
            for index in range(len(self.space.manifest.units))
        ]
        return self._laid_out(counts, content, ahead)

    def before(self, share: float) -> SavedVersion:
        """Return the version before this one, from which its blocks differ little.

        Args:
            share: Of their length that they have as differences from it.
        """
        older = self.alike("~before", ahead=-1)
        self.shares[older.digest] = share
        return older

    def in_phases(self, phases: Sequence[int]) -> SavedVersion:
        """Return the same version, with units in phases.

        Args:
            phases: In which one each unit is.
        """
        counts = [
            self.zeros.count_within(*self.space.unit_run(index))
            for index in range(len(self.space.manifest.units))
        ]
        return self._laid_out(counts, "", 0, phases)

    def with_zeros(self, zero_counts: Sequence[int]) -> SavedVersion:
        """Return the same version, with zeros at the ends of units.

        Args:
            zero_counts: How many blocks of them each unit has.
        """
        return self._laid_out(zero_counts, "", 0)

    def _laid_out(
        self,
        zero_counts: Sequence[int],
        content: str,
        ahead: int,
        phases: Sequence[int] | None = None,
    ) -> SavedVersion:
        manifest = self.space.manifest
        phases = phases or [unit.phase for unit in manifest.units]
        units = [
            UnitPlan(unit.criticality, unit.size_bytes, unit.is_optional, zero_count, phase)
            for unit, zero_count, phase in zip(manifest.units, zero_counts, phases, strict=True)
        ]
        block_size_bytes = manifest.units[0].block_size_bytes
        version = manifest.version + ahead
        return SavedVersion(
            manifest.checkpoint, version, units, block_size_bytes, content, self._prefix
        )

    @property
    def checkpoint(self) -> CheckpointName:
        """What it is a version of."""
        return CheckpointName(self.space.manifest.checkpoint)

    @property
    def version(self) -> Version:
        """Which version of it."""
        return Version(self.space.manifest.version)

    @property
    def size_bytes(self) -> int:
        """Its length."""
        return self.space.size_bytes

    @property
    def name(self) -> str:
        """How a person refers to it."""
        return f"{self.checkpoint}@{self.version}"

    def run_bytes(self, start: int, end: int) -> int:
        """Return the length of a run of blocks."""
        return self._starts[end] - self._starts[start]

    def set_bytes(self, blocks: BlockSet) -> int:
        """Return the length of a set of blocks."""
        starts = self._starts
        return sum(starts[end] - starts[start] for start, end in blocks.runs())

    def units_of(self, blocks: BlockSet) -> BlockSet:
        """Return all blocks of the units that some blocks belong to."""
        units = {self.space.unit_of(block) for block in blocks}
        return union(BlockSet.of_run(self.space.unit_run(unit)) for unit in units)

    def block_after(self, start: int, received_bytes: int) -> int:
        """Return the first block that is not whole when so many bytes came from ``start`` on."""
        reached = self._starts[start] + received_bytes
        if reached >= self.size_bytes:
            return self.space.block_count
        return bisect_right(self._starts, reached) - 1

    def holding(self, blocks: BlockSet) -> Holding:
        """Say that a node has some of its blocks."""
        return Holding(
            self.checkpoint,
            self.version,
            self.digest,
            self.size_bytes,
            self.space.block_count,
            blocks,
            self.optional,
        )


def _phases(units: Sequence[UnitPlan]) -> tuple[str, ...]:
    last = max((unit.phase for unit in units), default=0)
    return tuple(f"phase-{number}" for number in range(last + 1)) if last else ONE_PHASE


class JoinedVersion(SavedVersion):
    """Some shards of a version of a job as one, on nodes that recover it.

    Args:
        job: The job.
        members: The shards.

    Attributes:
        joint: Where its blocks stand in the shards.
        members: The shards, by digest.
    """

    def __init__(self, job: CheckpointName, members: Sequence[SavedVersion]) -> None:
        self._prefix = ""
        self.members = {each.digest: each for each in members}
        version = members[0].version
        self.joint = Joint(
            job, version, [Member(each.digest, each.space.manifest) for each in members]
        )
        zeros = union(self.joint.from_member(each.digest, each.zeros) for each in members)
        digest = self.digest_of(members)
        self._measure(self.joint.space, digest, zeros)

    @classmethod
    def digest_of(cls, members: Iterable[SavedVersion]) -> Digest:
        """Return by what name a joined version goes on nodes."""
        name = "+".join(sorted(each.name for each in members))
        return Digest(f"{crc32(name.encode()):064x}")

    def of_members(self, held: Callable[[Digest], BlockSet]) -> BlockSet:
        """Return the blocks that are in the shards' blocks which somebody has.

        Args:
            held: Says what of a shard.
        """
        return union(self.joint.from_member(digest, held(digest)) for digest in self.members)
