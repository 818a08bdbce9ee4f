"""What comes behind a phase does not hold it up, however much it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Final

from ckptd.core.events import BlocksCommitted, Event
from ckptd.limits import MIB, SECOND
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import (
    RATE,
    RECEIVER,
    Case,
    Measure,
    equal_sources,
    one_recovery,
)
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import NodePlan, Scenario
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

TENFOLD: Final = 10
"""The second phase is so many times as long as the first."""


class FirstPhase(Check):
    """Notes when critical units of the first phase are durable, and when all of it is.

    Attributes:
        critical_s: When the former were; infinite while they are not.
        complete_s: When the latter was.
    """

    def __init__(self) -> None:
        self.critical_s = self.complete_s = math.inf

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Look at what is durable now."""
        if book.name != RECEIVER or not isinstance(event, BlocksCommitted):
            return
        recovery, now_s = book.recoveries[event.recovery], book.node.now / SECOND
        version = recovery.known_version()
        first = version.blocks.within(*version.space.phases[0].blocks)
        if (first & version.classes[Criticality.CRITICAL]).issubset(recovery.committed):
            self.critical_s = min(self.critical_s, now_s)
        if first.issubset(recovery.committed):
            self.complete_s = min(self.complete_s, now_s)


def phased(seed: int) -> Case:
    """Of a version with ten times as much behind its first phase, that comes as if it were all."""
    return _case("phased", seed, 256 * MIB, (RATE,) * 4)


def unequal(seed: int) -> Case:
    """As ``phased``, and one of four sources has a fiftieth of the rate of the others."""
    return _case("phased, one slow", seed, 256 * MIB, (*(RATE,) * 3, RATE // 50))


def draw_phased(rng: Random, seed: int) -> Case:
    """Draw the same in small."""
    rates = [RATE // rng.choice((1, 1, 2, 20)) for _ in range(rng.randint(1, 4))]
    return _case("phased", seed, rng.randint(128, 384) * MIB, [RATE, *rates])


def _case(name: str, seed: int, first_bytes: int, rates: Sequence[int]) -> Case:
    whole, alone = FirstPhase(), FirstPhase()
    scenario = _scenario(name, seed, first_bytes, rates, phase_count=2)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster, report
        Cluster(_scenario(name, seed, first_bytes, rates, phase_count=1), checks=(alone,)).run()
        ideal_s = first_bytes / sum(rates)
        return [
            Measure("time to the first phase, s", whole.complete_s, 1.1 * ideal_s + 0.3),
            Measure(
                "time to critical of the first phase / without a second",
                whole.critical_s / alone.critical_s,
                1.02,
            ),
        ]

    return Case(scenario, measure, (whole,))


def _scenario(
    name: str, seed: int, first_bytes: int, rates: Sequence[int], *, phase_count: int
) -> Scenario:
    """Let a node recover a version; each further phase has ten times as much, also critical."""
    units = []
    size_bytes = first_bytes
    for phase in range(phase_count):
        quarter_bytes = size_bytes // 4 // MIB * MIB
        normal_bytes = size_bytes - 2 * quarter_bytes
        units += [
            UnitPlan(Criticality.CRITICAL, quarter_bytes, phase=phase),
            UnitPlan(Criticality.NORMAL, normal_bytes, phase=phase),
            UnitPlan(Criticality.DEFERRED, quarter_bytes, phase=phase),
        ]
        size_bytes *= TENFOLD
    version = SavedVersion("llama/a", 100, units, MIB)
    sources: list[NodePlan] = [
        replace(plan, egress_bytes_per_s=rate)
        for plan, rate in zip(equal_sources(len(rates), version), rates, strict=True)
    ]
    return replace(one_recovery(name, seed, version, sources), checks_every=50)
