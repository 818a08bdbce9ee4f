"""Nodes that code: seed by seed nothing wrong is kept, and nobody is blamed who did not lie."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.model.words import StoryKind
from ckptd.sim.cases.case import RECEIVER
from ckptd.sim.cases.coded import GBIT, draw_neighbours, neighbours
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.coding import draw_coded
from ckptd.sim.world.processors import Processors

SEEDS = (8, 10, 18, 25, 28, 35, 42, 52, 55, 62, 65, 72, 84)
"""Quick ones, in which blocks come coded and bases are lost, or nodes lie."""


def test_whatever_happens_to_bases_nothing_wrong_is_kept_and_nobody_honest_is_blamed() -> None:
    seen: Counter[str] = Counter()
    for seed in SEEDS:
        cluster = Cluster(draw_coded(seed))
        cluster.run()  # whatever must hold is checked meanwhile
        for node in cluster.nodes.values():
            seen["came coded"] += node.coding.coded_bytes
            seen["saved"] += node.coding.coded_bytes - node.coding.sent_bytes
            seen["lost a base"] += len(node.coding.lost)
            seen["lies"] += bool(node.server.bad_share)
    assert all(seen[what] for what in ("came coded", "saved", "lost a base", "lies")), seen


def test_looking_whether_coding_pays_costs_no_more_than_what_is_tried() -> None:
    for seed in (*range(1, 9), *range(10, 20)):
        draw_neighbours(seed).hold()


def test_the_same_seed_tells_the_same_story() -> None:
    one, other = (Cluster(draw_coded(SEEDS[0])) for _ in range(2))
    one.run()
    other.run()
    assert one.chronicle.digest() == other.chronicle.digest()


@pytest.mark.parametrize("coding_cores", [(4, 0), (4, 4)])
def test_who_codes_is_given_work_by_what_it_brings_and_is_not_taken_for_slow(
    coding_cores: tuple[int, ...],
) -> None:
    scenario = neighbours("mixed", 1, 2 * GIB, GBIT, Processors(cores=4, coding_cores=4))
    source, receiver = scenario.nodes
    sources = [
        replace(
            source,
            name=NodeId(f"s{number}"),
            processors=Processors(cores=4, coding_cores=cores),
        )
        for number, cores in enumerate(coding_cores)
    ]
    receiver = replace(receiver, ingress_bytes_per_s=4 * GBIT)
    cluster = Cluster(replace(scenario, nodes=(*sources, receiver)))
    cluster.run()
    [(_, end)] = cluster.nodes[RECEIVER].ends.values()
    assert end.explanation is not None
    held_against_somebody = {
        StoryKind.HEDGE,
        StoryKind.LANE_LATE,
        StoryKind.BACK_OFF,
        StoryKind.PREEMPTED,
    }
    assert not held_against_somebody & set(end.explanation.counts)
    assert not end.final.wasted_bytes
    # Bytes are counted as they are written: more than the link carries.
    coded, other = end.explanation.peers
    assert coded.rate_bytes_per_s > 3 * GBIT
    if not coding_cores[1]:
        assert coded.verified_bytes > 3 * other.verified_bytes
        assert other.rate_bytes_per_s <= GBIT
    sent_bytes = sum(cluster.network.sent_bytes(plan.name) for plan in sources)
    coding = cluster.nodes[RECEIVER].coding
    assert sent_bytes == end.final.received_bytes - coding.coded_bytes + coding.sent_bytes
