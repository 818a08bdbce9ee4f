"""Readers: they need ranges of units while their recovery is under way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from ckptd.limits import KIB, MIB, SECOND
from ckptd.model.ids import RecoveryId
from ckptd.sim.node.simulated_reader import SimulatedReader
from ckptd.sim.script.fault import ClusterParts, Fault
from ckptd.sim.script.requests import WantRest
from ckptd.sim.script.scenario import Wish

READING_SHARE: Final = 0.3
"""In so many clusters somebody reads what is being recovered."""

ON_DEMAND_SHARE: Final = 0.2
"""In so many clusters some recoveries are on demand for a while."""

_WITHIN_NS: Final = 4 * SECOND
_SIZES: Final = (1, 4 * KIB, 256 * KIB, MIB, 5 * MIB, 40 * MIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Fault):
    """Somebody reads ranges of a unit, one after another; not a fault, but scheduled like one.

    Attributes:
        recovery: Of which recovery.
        reader: What the reader is called; empty: nothing is known of it.
        share: Which unit: the one in which this share of the version's blocks ends.
        offsets: Where in the unit each range begins, as a share of it; ``None``: where the last
            one ended.
        size_bytes: Length of each range; it is cut at the end of the unit.
    """

    recovery: RecoveryId
    reader: str
    share: float
    offsets: Sequence[float | None]
    size_bytes: int

    def begin(self, cluster: ClusterParts) -> None:
        """Read, if the recovery is under way and knows its units."""
        node = cluster.nodes[self.node]
        if not node.is_up or node.is_frozen or self.recovery not in node.stagings:
            return
        known = node.scheduler.inspect().recoveries.get(self.recovery)
        if known is None or known.described is None:
            return
        space = known.described.space
        unit = space.unit_of(int(self.share * space.block_count))
        unit_bytes, ranges, end = space.manifest.units[unit].size_bytes, [], 0
        for offset in self.offsets:
            start = end if offset is None else int(offset * unit_bytes)
            end = min(start + self.size_bytes, unit_bytes)
            if start < end:
                ranges.append((start, end))
        SimulatedReader(node, self.recovery, self.reader, unit, ranges).begin()


def draw_on_demand(
    seed: int, wishes: tuple[Wish, ...]
) -> tuple[tuple[Wish, ...], tuple[Fault, ...]]:
    """Draw which recoveries are on demand, and when somebody wants the rest of each.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        wishes: What is recovered; what is wanted only in part is so on no demand.
    """
    rng = Random(f"lazily/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= ON_DEMAND_SHARE:
        return wishes, ()
    chosen = [wish.choice is None and rng.random() < 0.5 for wish in wishes]  # noqa: PLR2004
    wanting = tuple(
        WantRest(
            node=wish.node,
            at_ns=wish.at_ns + 1 + int(_WITHIN_NS * rng.random()),
            recovery=RecoveryId(f"{wish.node}.{index}"),
        )
        for index, wish in enumerate(wishes)
        if chosen[index]
    )
    pairs = zip(wishes, chosen, strict=True)
    return tuple(replace(wish, is_on_demand=is_so) for wish, is_so in pairs), wanting


def draw_reading(seed: int, wishes: Sequence[Wish]) -> tuple[Fault, ...]:
    """Draw who reads what, if anybody does.

    Args:
        seed: Of the cluster. Drawn apart from the rest, which so stays what it was before.
        wishes: What is recovered.
    """
    rng = Random(f"reading/{seed}")  # noqa: S311 (no secret)
    if rng.random() >= READING_SHARE:
        return ()
    reads: list[Fault] = []
    for number in range(rng.randint(1, 4)):
        index = rng.randrange(len(wishes))
        is_all_wanted = wishes[index].choice is None
        count = rng.choice((1, 3, 10, 30))
        is_sequential = rng.random() < 0.5  # noqa: PLR2004 (half of them)
        offsets = [None if at and is_sequential else rng.random() for at in range(count)]
        read = Read(
            node=wishes[index].node,
            at_ns=int(_WITHIN_NS * rng.random() ** 2),
            recovery=RecoveryId(f"{wishes[index].node}.{index}"),
            reader=rng.choice(("", f"reader-{number}")),
            share=rng.random(),
            offsets=tuple(offsets),
            size_bytes=rng.choice(_SIZES),
        )
        if is_all_wanted:
            reads.append(read)
    return tuple(reads)
