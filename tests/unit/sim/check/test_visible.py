"""Phases that are seen too early, too late or out of order are noticed."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from ckptd.core.effects import DiscardStaging, PlacePhase, PlaceVersion
from ckptd.core.events import Event, PhasePlaced
from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.words import Result
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.visible import VisibleInOrder
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.scenario import Scenario
from ckptd.sim.world.layouts import SavedVersion
from tests.support.simulation import R0, laid_out, run_until, two_sources


def in_phases(version: SavedVersion) -> SavedVersion:
    """Put each unit of a version in a phase of its own."""
    before = version.space.manifest
    units = enumerate(before.units)
    manifest = msgspec.structs.replace(
        before,
        phases=("a", "b", "c"),
        units=tuple(msgspec.structs.replace(unit, phase=number) for number, unit in units),
    )
    version._measure(AddressSpace(manifest), version.digest, version.zeros)
    return version


VERSION = in_phases(laid_out(critical=16, normal=32, deferred=64))
A, B, C = (BlockSet.of_run(phase.blocks) for phase in VERSION.space.phases)


def progressive() -> Scenario:
    scenario = two_sources(VERSION)
    wishes = tuple(replace(wish, is_progressive=True) for wish in scenario.wishes)
    return replace(scenario, wishes=wishes)


def order(phase: int, missing: BlockSet) -> PlacePhase:
    return PlacePhase(R0, phase, "x", missing)


@pytest.fixture
def cluster() -> Cluster:
    return run_until(Cluster(progressive()), 100)


@pytest.fixture
def checked(book: NodeBook) -> NodeBook:
    book.recoveries[R0].committed = A
    book.node.stagings[R0].visible = BlockSet()
    return book


def test_a_cluster_places_phases_in_order_and_ends() -> None:
    seen: list[int] = []

    class Noting(VisibleInOrder):
        def after_event(self, book: NodeBook, event: Event) -> None:
            if isinstance(event, PhasePlaced):
                seen.append(event.phase)

    cluster = Cluster(progressive(), checks=[Noting()])
    report = cluster.run()
    assert seen == [0, 1]
    assert [each.result for each in report.recoveries] == [Result.COMPLETE]


def test_what_is_durable_may_be_shown(checked: NodeBook) -> None:
    VisibleInOrder().at_order(checked, order(0, B | C))


@pytest.mark.parametrize(
    ("phase", "missing", "problem"),
    [(0, C, "not durable"), (1, B | C, "lacks"), (0, BlockSet(), "not durable")],
)
def test_nothing_is_shown_before_it_is_durable(
    checked: NodeBook, phase: int, missing: BlockSet, problem: str
) -> None:
    with pytest.raises(CheckFailed, match=problem):
        VisibleInOrder().at_order(checked, order(phase, missing))


def test_no_phase_is_passed_over(checked: NodeBook) -> None:
    checked.recoveries[R0].committed = A | B
    with pytest.raises(CheckFailed, match="passes over phase a"):
        VisibleInOrder().at_order(checked, order(1, C))
    checked.node.stagings[R0].visible = A
    VisibleInOrder().at_order(checked, order(1, C))


def test_what_is_to_be_placed_at_once_is_not_placed_by_phases(checked: NodeBook) -> None:
    account = checked.recoveries[R0]
    account.request = replace(account.request, is_progressive=False)
    with pytest.raises(CheckFailed, match="at once"):
        VisibleInOrder().at_order(checked, order(0, B | C))


def test_a_complete_phase_is_not_kept_back(checked: NodeBook) -> None:
    checked.recoveries[R0].committed = VERSION.blocks
    checked.node.stagings[R0].visible = A
    with pytest.raises(CheckFailed, match="kept back phase b"):
        VisibleInOrder().at_order(checked, PlaceVersion(R0, BlockSet()))
    checked.node.stagings[R0].visible = A | B
    VisibleInOrder().at_order(checked, PlaceVersion(R0, BlockSet()))


def test_a_later_phase_that_is_seen_first_is_noticed(checked: NodeBook) -> None:
    checked.recoveries[R0].committed = A | B
    checked.node.stagings[R0].visible = B
    with pytest.raises(CheckFailed, match="shows b before"):
        VisibleInOrder().after_event(checked, PhasePlaced(R0, 1))


def test_whose_is_what_was_placed_is_said_when_it_is_discarded(checked: NodeBook) -> None:
    check = VisibleInOrder()
    check.at_order(checked, order(0, B | C))
    check.at_order(checked, DiscardStaging(R0))
    with pytest.raises(CheckFailed, match="whose is what it placed"):
        check.at_order(checked, DiscardStaging(R0, withdraws_placed=True))
