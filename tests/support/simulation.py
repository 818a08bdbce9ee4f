"""Small simulated clusters: sources that send 64 MiB/s each and a node that recovers."""

from __future__ import annotations

import os
import subprocess
import sys

from ckptd.core.effects import FetchRange
from ckptd.limits import MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import NodeId, Origin, RecoveryId
from ckptd.model.words import Criticality
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

S0, S1, R = NodeId("s0"), NodeId("s1"), NodeId("r")
R0 = RecoveryId("r.0")
OF_S0 = Origin(S0)


def laid_out(
    *, critical: int = 0, normal: int = 0, deferred: int = 0, checkpoint: str = "llama/a"
) -> SavedVersion:
    """Lay out a version of so many blocks of 1 MiB of each criticality."""
    sizes = {
        Criticality.CRITICAL: critical,
        Criticality.NORMAL: normal,
        Criticality.DEFERRED: deferred,
    }
    units = [UnitPlan(label, blocks * MIB) for label, blocks in sizes.items() if blocks]
    return SavedVersion(checkpoint, 100, units, MIB)


def two_sources(
    version: SavedVersion,
    *faults: Fault,
    held: BlockSet | None = None,
    patience_ns: int | None = None,
    allow_partial: bool = False,
    options: NodeOptions | None = None,
    bad_share: float = 0.0,
) -> Scenario:
    """Let ``r`` recover a version from ``s0`` and ``s1``; both have all of it, or ``held``."""
    holds = (InitialHolding(version, held),)
    return Scenario(
        name="small",
        seed=1,
        nodes=(
            NodePlan(S0, egress_bytes_per_s=64 * MIB, holds=holds, bad_share=bad_share),
            NodePlan(S1, egress_bytes_per_s=64 * MIB, holds=holds),
            NodePlan(R, ingress_bytes_per_s=256 * MIB),
        ),
        wishes=(Wish(R, version, patience_ns=patience_ns, allow_partial=allow_partial),),
        faults=faults,
        options=options or NodeOptions(),
    )


def run_until(cluster: Cluster, moment_ms: int) -> Cluster:
    """Let a cluster begin, and stop it at a moment."""
    cluster.begin()
    while cluster.world.step(until=moment_ms * MS):
        pass
    return cluster


def in_flight(book: NodeBook) -> FetchRange:
    """Return the order of a range that is under way."""
    return next(iter(book.recoveries[R0].attempts.values())).order


def printed(program: str, *, hash_seed: str) -> str:
    """Run a program in a process whose sets have an order of their own; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
