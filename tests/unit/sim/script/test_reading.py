"""Readers of the simulator read all their ranges, each when it is here."""

from __future__ import annotations

import pytest

from ckptd.core.events import NeedEnded, RangeNeeded
from ckptd.limits import KIB, MIB, MS
from ckptd.model.words import Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.drawing import draw_scenario
from ckptd.sim.script.reading import READING_SHARE, Read, draw_reading
from tests.support.simulation import R0, R, laid_out, run_until, two_sources

VERSION = laid_out(critical=16, normal=112)


def read(*offsets: float | None, size_bytes: int = 4 * KIB, share: float = 0.9) -> Read:
    return Read(
        node=R,
        at_ns=100 * MS,
        recovery=R0,
        reader="somebody",
        share=share,
        offsets=offsets,
        size_bytes=size_bytes,
    )


def needs_of(cluster: Cluster) -> list[str]:
    """Let a cluster run; return what its reader reports, in order."""
    found: list[str] = []
    node = cluster.nodes[R]
    report = node.report

    def noting(*events: object) -> None:
        found.extend(type(e).__name__ for e in events if isinstance(e, RangeNeeded | NeedEnded))
        report(*events)  # type: ignore[arg-type]

    node.report = noting  # type: ignore[method-assign]
    cluster.run()
    return found


@pytest.mark.parametrize(
    "reading",
    [read(0.9, 0.1, 0.5), read(0.2, None, None, size_bytes=MIB), read(0.0, size_bytes=40 * MIB)],
    ids=["random", "sequential", "long"],
)
def test_every_range_is_read_and_then_waited_for_no_more(reading: Read) -> None:
    cluster = Cluster(two_sources(VERSION, reading))
    found = needs_of(cluster)
    assert found.count("NeedEnded") == len(reading.offsets)
    assert not cluster.nodes[R].readers
    assert cluster.nodes[R].ends[R0][1].result is Result.COMPLETE


def test_who_reads_at_random_has_the_range_long_before_the_rest() -> None:
    reading = read(0.99)
    cluster = run_until(Cluster(two_sources(VERSION, reading)), 200)
    node = cluster.nodes[R]
    assert not node.readers, "it was read"
    left = node.scheduler.inspect().recoveries[R0].coverage.unclaimed
    assert len(left) > VERSION.space.block_count // 4


def test_reading_is_drawn_for_some_clusters_apart_from_the_rest() -> None:
    drawn = [draw_scenario(seed) for seed in range(60)]
    reading = [any(isinstance(fault, Read) for fault in each.faults) for each in drawn]
    assert 0 < sum(reading) < 2 * READING_SHARE * len(drawn)
    for scenario in drawn:
        reads = tuple(fault for fault in scenario.faults if isinstance(fault, Read))
        assert draw_reading(scenario.seed, scenario.wishes) == reads
