"""Phases seen from outside: that none overtakes another, and what may count as how urgent."""

from __future__ import annotations

import pytest

from ckptd.core.effects import FetchRange
from ckptd.limits import MIB, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, PathId, RecoveryId, TransferId
from ckptd.model.words import Criticality
from ckptd.sim.cases.case import RECEIVER, equal_sources, one_recovery
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.phases import PhasesInOrder, comes_next, critical_now, perhaps_as, surely_as
from ckptd.sim.cluster import Cluster
from ckptd.sim.world.layouts import SavedVersion, UnitPlan

CRITICAL, NORMAL, DEFERRED = Criticality
R0 = RecoveryId("r.0")
S0, S1 = PathId("s0"), PathId("s1")

VERSION = SavedVersion(
    "llama/a",
    100,
    [
        UnitPlan(criticality, 10 * MIB, phase=phase)
        for phase in range(2)
        for criticality in Criticality
    ],
    MIB,
)
"""Blocks 0-29 of the first phase, ten of each criticality, and 30-59 of the second one."""


@pytest.fixture
def book() -> NodeBook:
    """Stop a recovery as soon as it has ordered something."""
    scenario = one_recovery("phases", 1, VERSION, equal_sources(2, VERSION))
    cluster = Cluster(scenario)
    cluster.begin()
    while not cluster.books.nodes or not any(
        account.attempts for account in cluster.books.nodes[RECEIVER].recoveries.values()
    ):
        assert cluster.world.step(until=SECOND)
    found = cluster.books.nodes[RECEIVER]
    found.recoveries[R0].attempts.clear()
    found.attempts.clear()
    return found


def order(source: PathId, block: int, criticality: Criticality = NORMAL) -> FetchRange:
    return FetchRange(
        TransferId(999),
        R0,
        VERSION.digest,
        source,
        LaneId(99),
        BlockRun(block, block + 1),
        criticality,
    )


def test_a_block_before_one_of_an_earlier_phase_is_seen(book: NodeBook) -> None:
    book.recoveries[R0].reported = BlockSet([(0, 29)])
    with pytest.raises(CheckFailed, match="of an earlier phase"):
        PhasesInOrder().at_order(book, order(S0, 30))
    PhasesInOrder().at_order(book, order(S0, 29))
    book.recoveries[R0].prioritized = BlockSet([(30, 40)])
    PhasesInOrder().at_order(book, order(S0, 30))
    book.recoveries[R0].prioritized = BlockSet()
    book.said[S0] = {}
    PhasesInOrder().at_order(book, order(S0, 30))  # it does not have the other one


def test_what_is_critical_depends_on_the_phase_under_way(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    recovery.reported = BlockSet([(0, 29)])
    assert critical_now(book, recovery) == BlockSet([(0, 10)])
    assert surely_as(book, recovery, CRITICAL) == BlockSet([(0, 10)])
    assert perhaps_as(book, recovery, CRITICAL) == BlockSet([(0, 10), (30, 40)])
    recovery.reported = BlockSet([(0, 30)])
    assert surely_as(book, recovery, CRITICAL) == BlockSet([(0, 10), (30, 40)])


@pytest.mark.parametrize(
    ("reported", "deferred"), [((0, 10), [(20, 60)]), ((0, 30), [(20, 30), (50, 60)])]
)
def test_what_comes_later_is_no_more_urgent_than_what_is_missing(
    book: NodeBook, reported: tuple[int, int], deferred: list[tuple[int, int]]
) -> None:
    recovery = book.recoveries[R0]
    recovery.reported = BlockSet([reported])
    assert surely_as(book, recovery, DEFERRED).issubset(BlockSet(deferred))
    end = 30 if reported == (0, 10) else 60
    assert recovery.of_criticality(DEFERRED, end) == BlockSet(deferred)
    everything = [recovery.of_criticality(each, end) for each in Criticality]
    assert sum(map(len, everything)) == 60


def test_a_source_goes_on_in_the_first_phase_that_it_can_serve(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    assert comes_next(book, recovery, order(S0, 30)) == BlockSet([(0, 30)])
    recovery.reported = BlockSet([(0, 30)])
    assert comes_next(book, recovery, order(S0, 31)) == BlockSet([(30, 60)])
