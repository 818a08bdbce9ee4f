"""Nodes that code: seed by seed nothing wrong is kept, and nobody is blamed who did not lie."""

from __future__ import annotations

from collections import Counter

from ckptd.sim.cases.coded import draw_neighbours
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.coding import draw_coded

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
    for seed in range(20):
        draw_neighbours(seed).hold()


def test_the_same_seed_tells_the_same_story() -> None:
    one, other = (Cluster(draw_coded(SEEDS[0])) for _ in range(2))
    one.run()
    other.run()
    assert one.chronicle.digest() == other.chronicle.digest()
