"""Only what is chosen travels, of the newest version of which that can be had."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from ckptd.limits import GIB, MIB, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.unit_choice import Choice
from ckptd.model.words import Criticality, Result
from ckptd.sim.cases.case import RATE, RECEIVER, WIDE, Case, Measure, equal_sources
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

MODEL: Final = Choice(("normal-*",))
"""The deferred units are what an optimizer would be."""

_SECOND: Final = NodeId("r2")


def chosen(seed: int) -> Case:
    """A node takes the model of a version of which nobody has all, and serves it to another one."""
    return _case("chosen", seed, 512 * MIB, 3)


def draw_choosing(rng: Random, seed: int) -> Case:
    """Draw the same in small."""
    return _case("chosen", seed, rng.randint(64, 256) * MIB, rng.randint(1, 3))


def _case(name: str, seed: int, model_bytes: int, source_count: int) -> Case:
    units = [
        UnitPlan(Criticality.NORMAL, model_bytes),
        UnitPlan(Criticality.DEFERRED, 2 * model_bytes),
    ]
    old = SavedVersion("llama/a", 100, units, MIB)
    new = old.alike("", ahead=1)
    model = new.classes[Criticality.NORMAL]
    in_part = (InitialHolding(old), InitialHolding(new, model))
    sources = [replace(plan, holds=in_part) for plan in equal_sources(source_count, old)]
    wishes = []
    receivers = []
    began_ns = 0
    for node in (RECEIVER, _SECOND):
        receivers.append(
            NodePlan(
                node,
                egress_bytes_per_s=RATE,
                ingress_bytes_per_s=WIDE,
                disk_bytes_per_s=8 * GIB,
            )
        )
        wishes.append(Wish(node, new, at_ns=began_ns, is_named=False, choice=MODEL))
        began_ns += 2 * SECOND + int(3 * model_bytes / RATE * SECOND)
    scenario = Scenario(name, seed, (*sources, *receivers), tuple(wishes), checks_every=50)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        first, second = report.recoveries
        placed = (new.digest in cluster.nodes[wish.node].places for wish in wishes)
        ideal_s = model_bytes / (source_count * RATE)
        took_s = (first.complete_ns or 0) / SECOND
        served_bytes = next(node.sent_bytes for node in report.nodes if node.node == RECEIVER)
        return [
            Measure("chosen: versions that are not the newest", 2 - sum(placed), 0),
            Measure(
                "chosen: not here in part by choice",
                sum(each.result is not Result.CHOSEN for each in (first, second)),
                0,
            ),
            Measure("chosen: received / chosen", first.bytes.received / model_bytes, 1.005),
            Measure("chosen: seconds", took_s, 1.1 * ideal_s + 0.5),
            Measure("chosen: not served to the next", 1 - served_bytes / model_bytes, 0.98),
        ]

    return Case(scenario, measure)
