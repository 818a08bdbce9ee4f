"""Versions with blocks of zeros: those are never asked for, whatever happens meanwhile."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB, MS
from ckptd.model.words import Criticality
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.fault import Fault
from ckptd.sim.script.faults import Crash, Trouble
from ckptd.sim.world.layouts import SavedVersion, UnitPlan
from tests.support.simulation import R0, R, two_sources

SPARSE = SavedVersion(
    "llama/a",
    100,
    [
        UnitPlan(Criticality.CRITICAL, 40 * MIB, zero_count=8),
        UnitPlan(Criticality.NORMAL, 64 * MIB, zero_count=64),
        UnitPlan(Criticality.DEFERRED, 64 * MIB, zero_count=63),
    ],
    MIB,
)


@pytest.mark.parametrize(
    "faults",
    [
        (),
        (Crash(node=R, at_ns=150 * MS, for_ns=200 * MS),),
        (Trouble(node=R, at_ns=0, for_ns=2000 * MS, share=0.3),),
    ],
    ids=["quiet", "crash", "trouble"],
)
def test_zeros_do_not_travel(faults: tuple[Fault, ...]) -> None:
    cluster = Cluster(two_sources(SPARSE, *faults))
    cluster.run()
    recovery = cluster.books.nodes[R].recoveries[R0]
    assert recovery.committed == SPARSE.blocks
    if not faults:
        assert recovery.body_bytes == 33 * MIB


def test_nothing_but_zeros_needs_no_source() -> None:
    nothing = SavedVersion(
        "llama/a", 100, [UnitPlan(Criticality.CRITICAL, 8 * MIB, zero_count=8)], MIB
    )
    cluster = Cluster(two_sources(nothing))
    cluster.run()
    assert cluster.books.nodes[R].recoveries[R0].body_bytes == 0
