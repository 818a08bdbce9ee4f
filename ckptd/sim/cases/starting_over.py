"""Liars that get around being blamed, beside one honest source that has everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ckptd.limits import MIB, MS
from ckptd.model.ids import NodeId, Origin
from ckptd.model.words import Confirmation
from ckptd.sim.cases.case import RATE, RECEIVER, Case, Measure, equal_sources, lay_out, one_recovery
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.source_side import Ruse

STRIKES_MAX: Final = 4
"""So many bad blocks of a version each liar may bring, each of which comes alone."""

HONEST: Final = NodeId("s0")

RUSES: Final = (
    Ruse(),
    Ruse(Confirmation.NOT_HELD),
    Ruse(Confirmation.NO_ANSWER),
    Ruse(epoch_ns=250 * MS),
    Ruse(Confirmation.NOT_HELD, epoch_ns=250 * MS),
    Ruse(Confirmation.NO_ANSWER, epoch_ns=250 * MS),
    Ruse(states=HONEST),
    Ruse(Confirmation.NOT_HELD, states=HONEST),
)
"""Stands by its blocks, denies and claims again, answers questions with an error; the same with a
new epoch every quarter of a second; and with the id of the honest source."""


def starting_over(seed: int, *, ruses: tuple[Ruse, ...] = RUSES, bad_share: float = 1.0) -> Case:
    """Liars of each kind at once; nothing that they send is right.

    Args:
        seed: Of the scenario.
        ruses: What each of them does.
        bad_share: How much of what they send is wrong.
    """
    version = lay_out(256 * MIB)
    sources = equal_sources(1 + len(ruses), version)
    sources[1:] = [
        replace(plan, ruse=ruse, bad_share=bad_share)
        for plan, ruse in zip(sources[1:], ruses, strict=True)
    ]
    scenario = one_recovery("starting over", seed, version, sources)

    def measure(cluster: Cluster, report: Report) -> list[Measure]:
        standings = cluster.nodes[RECEIVER].scheduler.inspect().standings
        liars = {Origin(plan.name) for plan in sources[1:]}
        counts = cluster.books.nodes[RECEIVER].bad_counts
        caught = {Origin(name) for name in cluster.nodes if counts[cluster.nodes[name].path]}
        named = {
            origin
            for origin, standing in standings.items()
            if standing.quarantines or standing.evidence.bad_block_count
        }
        excess = report.recoveries[0].bytes.received - 1.05 * version.size_bytes
        honest = standings.get(Origin(HONEST))
        return [
            Measure("blocks beyond 1.05 of what is needed, a liar", excess / MIB / len(liars), 4),
            Measure("bad blocks of one liar", max(counts.values()), STRIKES_MAX),
            Measure("liars that were caught and are not on record", len(caught - named), 0),
            Measure(
                "honest sources that are",
                len(named - liars) + (honest is None or not honest.is_clean),
                0,
            ),
            Measure(
                "time / that of the honest source alone",
                (report.recoveries[0].complete_ns or 0) * RATE / version.size_bytes / 10**9,
                1.25,
            ),
        ]

    return Case(scenario, measure)
