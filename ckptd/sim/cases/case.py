"""A scenario with what is measured in it, and parts that such scenarios share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.limits import GIB, MIB, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from ckptd.sim.check.check import Check
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

RATE: Final = 64 * MIB
"""What every node of these scenarios can send, in bytes a second."""

WIDE: Final = 100 * RATE
"""An ingress that is not what limits."""


RECEIVER: Final = NodeId("r")
"""The node that recovers, where only one does."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One number.

    Attributes:
        name: What it is.
        value: What came out.
        to_reach: What it should be at most.
    """

    name: str
    value: float
    to_reach: float

    @property
    def is_reached(self) -> bool:
        """The value is at most what is to be reached."""
        return self.value <= self.to_reach


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario and what to measure in it.

    Attributes:
        scenario: What happens.
        measure: Returns the numbers.
        checks: Watch it, beside the usual ones.
    """

    scenario: Scenario
    measure: Callable[[Cluster, Report], list[Measure]]
    checks: tuple[Check, ...] = ()

    def run(self) -> tuple[Report, list[Measure]]:
        """Run it.

        Raises:
            CheckFailed: Something that must hold did not.
        """
        cluster = Cluster(self.scenario, checks=self.checks)
        report = cluster.run()
        return report, self.measure(cluster, report)

    def hold(self) -> Report:
        """Run it, and fail if a number is not reached.

        Raises:
            AssertionError: Something that must hold did not, or a number was not reached.
        """
        report, measures = self.run()
        for measure in measures:
            problem = f"{measure.name}: {measure.value:.4g}, to reach: {measure.to_reach:.4g}"
            assert measure.is_reached, problem
        return report


def lay_out(
    size_bytes: int,
    *,
    name: str = "llama/a",
    critical: float = 0.0,
    rest: Criticality | None = None,
) -> SavedVersion:
    """Lay out a version: a critical share, and the rest.

    Args:
        size_bytes: Its length.
        name: Of its checkpoint.
        critical: Which share of it is critical.
        rest: How urgent the rest is; ``None`` for normal.
    """
    critical_bytes = int(size_bytes * critical) // MIB * MIB
    units = [UnitPlan(rest or Criticality.NORMAL, size_bytes - critical_bytes)]
    if critical_bytes:
        units.append(UnitPlan(Criticality.CRITICAL, critical_bytes))
    return SavedVersion(name, 100, units, MIB)


def equal_sources(count: int, version: SavedVersion, *more: SavedVersion) -> list[NodePlan]:
    """Lay out sources that have everything and send ``RATE`` each."""
    held = tuple(InitialHolding(known) for known in (version, *more))
    return [
        NodePlan(NodeId(f"s{index}"), egress_bytes_per_s=RATE, holds=held) for index in range(count)
    ]


def one_recovery(
    name: str, seed: int, version: SavedVersion, sources: Sequence[NodePlan], *faults: Fault
) -> Scenario:
    """Let a node that nothing limits recover a version.

    Args:
        name: Of the scenario.
        seed: Of the scenario.
        version: What it recovers.
        sources: Who has it.
        faults: What goes wrong.
    """
    receiver = NodePlan(RECEIVER, ingress_bytes_per_s=WIDE, disk_bytes_per_s=8 * GIB)
    return Scenario(name, seed, (*sources, receiver), (Wish(RECEIVER, version),), faults)


def took_s(report: Report) -> float:
    """Return how long the one recovery took."""
    [recovery] = report.recoveries
    assert recovery.complete_ns is not None, "it did not complete"
    return recovery.complete_ns / SECOND
