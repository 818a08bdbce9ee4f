"""What is on this node already does not travel, and a slow disk holds nothing up."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ckptd.limits import GIB
from ckptd.model.blocks import BlockSet
from ckptd.sim.cases.case import (
    RECEIVER,
    Case,
    Measure,
    equal_sources,
    lay_out,
    one_recovery,
    took_s,
)
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.shelf import NearbyBlocks
from ckptd.sim.script.scenario import NodePlan, Scenario
from ckptd.sim.world.layouts import SavedVersion

CHANGED_EVERY: Final = 250
"""One block of so many changed: 0.4 %."""

DISK_BYTES_PER_S: Final = 50 * 10**6
PEER_BYTES_PER_S: Final = 50 * 10**6
"""Of each of four."""


def reused(seed: int) -> Case:
    """The version before is here, then a second copy is made, then the disk is slow."""
    version = lay_out(2 * GIB)
    changed = BlockSet((block, block + 1) for block in range(0, 2048, CHANGED_EVERY))
    first = _recovering("reused", seed, version, version.blocks - changed, GIB)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        del cluster
        copied = Cluster(_recovering("copied", seed, version, version.blocks, GIB)).run()
        slow = Cluster(_recovering("slow disk", seed, version, version.blocks, DISK_BYTES_PER_S))
        ideal_s = version.size_bytes / (DISK_BYTES_PER_S + 4 * PEER_BYTES_PER_S)
        return [
            Measure(
                "0.4 % changed: received / size",
                report.recoveries[0].bytes.received / version.size_bytes,
                0.012,
            ),
            Measure("a second copy: bytes received", copied.recoveries[0].bytes.received, 0),
            Measure(
                "disk at 50, peers at 200 MB/s: time / ideal", took_s(slow.run()) / ideal_s, 1.1
            ),
        ]

    return Case(first, measure)


def _recovering(
    name: str, seed: int, version: SavedVersion, nearby: BlockSet, nearby_bytes_per_s: int
) -> Scenario:
    sources = [
        replace(plan, egress_bytes_per_s=PEER_BYTES_PER_S) for plan in equal_sources(4, version)
    ]
    scenario = one_recovery(name, seed, version, sources)
    *others, receiver = scenario.nodes
    assert receiver.name == RECEIVER
    return replace(
        scenario,
        nodes=(*others, with_nearby(receiver, version, nearby, nearby_bytes_per_s)),
        checks_every=50,
    )


def with_nearby(
    plan: NodePlan, version: SavedVersion, nearby: BlockSet, nearby_bytes_per_s: int
) -> NodePlan:
    """Let blocks of a version lie on a node, to be copied so fast.

    Args:
        plan: The node.
        version: The version.
        nearby: Which of its blocks.
        nearby_bytes_per_s: How fast.
    """
    lying = NearbyBlocks(version, nearby)
    return replace(plan, nearby=(lying,), nearby_bytes_per_s=nearby_bytes_per_s)
