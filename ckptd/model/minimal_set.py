"""The minimal viable set: the units of the first phase, with which a version is of some use."""

from __future__ import annotations

from typing import NamedTuple

from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality


class MinimalSet(NamedTuple):
    """What has to be here first of a version.

    Attributes:
        phase: The name of the phase.
        units: How many units.
        size_bytes: How long they are together.
        critical_bytes: How long the critical ones of the version are, whatever their phase.
        is_everything: The version has no other units.
        has_critical: There are critical units.
    """

    phase: str
    units: int
    size_bytes: int
    critical_bytes: int
    is_everything: bool
    has_critical: bool

    @property
    def is_declared(self) -> bool:
        """The publisher said what is needed first, by phases or by what is critical."""
        return self.has_critical or not self.is_everything


def minimal_set_of(space: AddressSpace) -> MinimalSet | None:
    """Return the minimal viable set of a version; ``None`` if it has no units.

    Cost: O(log units).
    """
    if not space.phases:
        return None
    first, units = space.phases[0], space.manifest.units
    critical = space.of_criticality(Criticality.CRITICAL)
    return MinimalSet(
        phase=first.name,
        units=first.units[1],
        size_bytes=space.run_bytes(first.blocks),
        critical_bytes=space.set_bytes(critical),
        is_everything=len(space.phases) == 1,
        has_critical=bool(critical) or units[0].criticality is Criticality.CRITICAL,
    )


def first_phase_blocks(space: AddressSpace) -> BlockSet:
    """Return the blocks of the minimal viable set."""
    return BlockSet.full(space.phases[0].blocks[1]) if space.phases else BlockSet()
