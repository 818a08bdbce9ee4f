"""A version as it lies in a directory, and which of its blocks are there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.manifest import Manifest
from ckptd.model.space import AddressSpace
from ckptd.store.files.layout import inside
from ckptd.store.files.unit_files import UnitFiles


@dataclass(frozen=True, slots=True)
class HashedDirectory:
    """A version as it lies in a directory under a root, every byte hashed.

    Attributes:
        root: Name of the root.
        directory: The version's directory, relative to the root.
        manifest: What it consists of.
        encoded: The manifest's bytes.
        digest: Their digest, the identity of the version.
        files: One for each unit, in manifest order; ``None`` for a unit that a recovery
            had to leave out.
        attributes: The attribute document of what was published; empty: nothing is known.
        passed: How many files this process reads through descriptors that their owner passed.
        unresolved: Prerequisites that were named and are not in this part of a job.
    """

    root: str
    directory: str
    manifest: Manifest
    encoded: bytes | memoryview
    digest: Digest
    files: UnitFiles
    attributes: bytes = field(default=b"", compare=False)
    passed: int = field(default=0, compare=False)
    unresolved: tuple[str, ...] = field(default=(), compare=False)

    @property
    def is_whole(self) -> bool:
        """Every required unit is there."""
        units = self.manifest.units
        return all(units[unit].is_optional for unit in self.files.absent())

    def path_of(self, unit: int) -> str:
        """Return where a unit's file lies, relative to the root."""
        return self.files.path_of(unit, inside(self.directory, self.manifest.units[unit].path))


def blocks_of(space: AddressSpace, units: Collection[int]) -> BlockSet:
    """Return the blocks of some units."""
    runs = map(space.unit_run, units)
    return BlockSet(run for run in runs if run[0] < run[1])


def held_blocks(space: AddressSpace, files: UnitFiles) -> BlockSet:
    """Return the blocks of the units that are there."""
    absent = files.absent()
    return BlockSet.full(space.block_count) - blocks_of(space, absent)
