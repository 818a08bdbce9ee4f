"""How many lanes lead to a source: as many as pay, and no more."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ckptd.core.effects import CloseLane, Effect, FetchRange
from ckptd.limits import GIB, MIB, SECOND
from ckptd.model.ids import LaneId, NodeId, PathId
from ckptd.model.words import CloseReason
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check
from ckptd.sim.check.summary import Report
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Slow
from ckptd.sim.script.scenario import InitialHolding, NodePlan, Scenario, Wish
from tests.support.simulation import S0, S1, R, laid_out

RATE = 64 * MIB
RIVAL = NodeId("rival")


class Census(Check):
    """Counts the lanes of ``r`` to each source, at every order."""

    def __init__(self) -> None:
        self.open: dict[LaneId, PathId] = {}
        self.moments: list[tuple[int, Counter[PathId]]] = []
        self.surplus = 0

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        if book.name != R:
            return
        if isinstance(effect, FetchRange):
            self.open[effect.lane] = effect.source
        elif isinstance(effect, CloseLane):
            self.open.pop(effect.lane, None)
            self.surplus += effect.reason is CloseReason.SURPLUS
        self.moments.append((book.node.now, Counter(self.open.values())))

    def most(self, *, after_s: float = 0.0, until_s: float = 1e9) -> int:
        """Return how many lanes there were to one source at most."""
        return max(
            max(counts.values(), default=0)
            for at_ns, counts in self.moments
            if after_s * SECOND <= at_ns <= until_s * SECOND
        )


def scenario_of(size_bytes: int, *sources: NodePlan, ingress: int = 100 * RATE) -> Scenario:
    version = laid_out(normal=size_bytes // MIB)
    plans = [replace(plan, holds=(InitialHolding(version),)) for plan in sources]
    receiver = NodePlan(R, ingress_bytes_per_s=ingress, disk_bytes_per_s=8 * GIB)
    return Scenario("lanes", 1, (*plans, receiver), (Wish(R, version),), checks_every=50)


def run(scenario: Scenario) -> tuple[Census, Report]:
    census = Census()
    return census, Cluster(scenario, checks=(census,)).run()


def wasted_bytes(report: Report) -> int:
    used = report.recoveries[0].bytes
    return used.duplicate + used.cut + used.corrupt


def test_where_one_lane_fills_the_path_a_second_one_is_tried_seldom_and_never_stays() -> None:
    plans = [NodePlan(node, egress_bytes_per_s=RATE) for node in (S0, S1)]
    census, report = run(scenario_of(4 * GIB, *plans))
    assert report.recoveries[0].complete_ns is not None
    took_s = report.recoveries[0].complete_ns / SECOND
    assert took_s < 1.02 * 32
    # After 1 and 12 s, each for about a second.
    assert census.surplus == 2
    two = [at_ns for at_ns, counts in census.moments if max(counts.values(), default=0) > 1]
    assert len({at_ns // SECOND for at_ns in two}) <= 3 * census.surplus
    assert census.most() == 2
    assert wasted_bytes(report) == 0


def test_sources_that_fill_the_receiver_together_keep_one_lane_each() -> None:
    plans = [
        NodePlan(NodeId(f"s{index}"), egress_bytes_per_s=RATE, flow_bytes_per_s=RATE // 4)
        for index in range(8)
    ]
    census, report = run(scenario_of(GIB, *plans, ingress=RATE))
    assert census.most() == 2
    assert 1 <= census.surplus <= 2
    assert wasted_bytes(report) == 0


def test_a_source_that_works_for_others_as_well_is_not_asked_on_more_lanes() -> None:
    base = scenario_of(2 * GIB, NodePlan(S0, egress_bytes_per_s=RATE))
    other = laid_out(normal=4096, checkpoint="llama/b")
    source = replace(base.nodes[0], holds=(*base.nodes[0].holds, InitialHolding(other)))
    rival = NodePlan(RIVAL, ingress_bytes_per_s=100 * RATE, disk_bytes_per_s=8 * GIB)
    shared = replace(
        base, nodes=(source, base.nodes[1], rival), wishes=(*base.wishes, Wish(RIVAL, other))
    )
    census, _ = run(shared)
    assert census.most(until_s=60) == 1


def test_lanes_go_again_when_the_path_does_not_need_them_any_more() -> None:
    plan = NodePlan(S0, egress_bytes_per_s=RATE, flow_bytes_per_s=RATE // 4)
    narrow = Slow(node=S0, at_ns=20 * SECOND, egress_bytes_per_s=RATE // 4)
    census, report = run(replace(scenario_of(4 * GIB, plan), faults=(narrow,)))
    assert census.most(until_s=20) == 4
    assert census.most(after_s=100) < 4
    assert max(census.moments[-50][1].values()) == 1
    assert wasted_bytes(report) == 0


def test_a_recovery_of_two_seconds_from_an_only_fast_source_has_two_lanes() -> None:
    fast = NodePlan(S0, egress_bytes_per_s=GIB, flow_bytes_per_s=GIB // 2)
    census, report = run(scenario_of(2 * GIB, fast))
    assert report.recoveries[0].complete_ns is not None
    assert report.recoveries[0].complete_ns / SECOND < 1.1 * 2
    assert census.most(until_s=0.1) == 2
    assert wasted_bytes(report) == 0
