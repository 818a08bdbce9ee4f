"""Simulated fleets in which hardly anything happens, and what they moved."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.copies.counts import CopyCounts
from ckptd.limits import GIB
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import Criticality
from ckptd.sim.fleet.books import Books
from ckptd.sim.fleet.ending import Ending
from ckptd.sim.fleet.fleet import Fleet
from ckptd.sim.fleet.plan import MINUTE, FleetPlan, MemberPlan, Mishap, MishapKind, SavePlan

CHANGE_NS: Final = 8 * MINUTE
"""When something changes in a fleet that has all of its copies by then."""
COPIES: Final = 2


def steady_fleet(
    *,
    nodes: int,
    zones: int,
    names: int,
    mishaps: Sequence[Mishap] = (),
    joins: bool = False,
    seed: int = 0,
) -> FleetPlan:
    """Return a fleet that has one version of each name in two copies, long before anything changes.

    Args:
        nodes: How many there are at first.
        zones: In so many zones.
        names: How many checkpoints there are, a gigabyte each.
        mishaps: What goes wrong.
        joins: One more node comes at ``CHANGE_NS``.
        seed: Of the fleet.
    """
    members = [
        MemberPlan(
            node=NodeId(f"n{index:03d}"),
            zone=(f"rack-{index % zones}",),
            known_zone=(f"rack-{index % zones}",),
            lists=("*",),
            quota_bytes=1000 * GIB,
            disk_bytes=4000 * GIB,
            rate_bytes_per_s=GIB,
            joins_at_ns=CHANGE_NS if index == nodes else 0,
        )
        for index in range(nodes + joins)
    ]
    saves = [
        SavePlan(
            checkpoint=CheckpointName(f"llama/part-{index}"),
            writers=(members[index % nodes].node,),
            sizes={Criticality.NORMAL: GIB},
            first_ns=MINUTE,
            every_ns=MINUTE,
            count=1,
            kept=1,
        )
        for index in range(names)
    ]
    return FleetPlan(
        seed=seed,
        counts=CopyCounts(COPIES, COPIES, COPIES),
        keep=1,
        grace_ns=MINUTE,
        pair="",
        members=tuple(members),
        saves=tuple(saves),
        mishaps=tuple(mishaps),
        ends_at_ns=3 * CHANGE_NS,
    )


def moved_after_change(plan: FleetPlan) -> int:
    """Run a fleet; return the bytes of copies that moved after ``CHANGE_NS``.

    Raises:
        FleetCheckFailed: Something that must hold did not.
    """
    books = _LateBooks()
    Fleet(plan, (books, Ending())).run()
    return books.late_bytes


def death_of(node: NodeId) -> Mishap:
    """Let a node end for ever when everything is in place."""
    return Mishap(MishapKind.DIE, (node,), CHANGE_NS)


class _LateBooks(Books):
    """Counts what moves after the change by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    @property
    def late_bytes(self) -> int:
        """What moved after the change."""
        return self.moved_bytes - self._before

    def ticked(self) -> None:
        """Count what moved before."""
        super().ticked()
        if self.ground.now <= CHANGE_NS:
            self._before = self.moved_bytes
