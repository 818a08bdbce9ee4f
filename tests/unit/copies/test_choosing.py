from __future__ import annotations

from collections.abc import Mapping

import pytest

from ckptd.copies.choosing import Choice, company_of
from ckptd.copies.counts import CopyCounts
from ckptd.copies.fleet import FleetNode, FleetVersion
from ckptd.copies.holders import find_holders
from ckptd.copies.memory import Memory
from ckptd.copies.ordering import Rankings, ranked
from ckptd.copies.zones import Zone
from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.model.words import CopiedBecause, Criticality
from tests.support.fleets import GRACE_NS, LAST, LLAMA, claim, fleet_version, fleet_view

CRITICAL, NORMAL = Criticality.CRITICAL, Criticality.NORMAL
START = 1000 * GRACE_NS
NODES = tuple(NodeId(f"n{number}") for number in range(8))
ORDER = ranked(LLAMA, NODES)
FIRST, SECOND, THIRD, *_, FORELAST, BACK = ORDER


class Chooser:
    """A node that chooses, in decisions one after the other."""

    def __init__(
        self,
        zones: Mapping[NodeId, Zone] | None = None,
        *,
        counts: CopyCounts | None = None,
        pair: str | None = None,
    ) -> None:
        self.nodes = {
            node: FleetNode(node, zone)
            for node, zone in (zones or dict.fromkeys(NODES, ())).items()
        }
        self.counts = counts or CopyCounts(3, 3, 3)
        self.memory = Memory()
        self.pair = pair

    def choose(
        self, version: FleetVersion, now: int = START, *, refused: frozenset[NodeId] = frozenset()
    ) -> Choice:
        self.memory.begin()
        view = fleet_view(BACK, self.nodes.values(), version, pair=self.pair)
        company = company_of(view.members[LLAMA], view)
        holders = find_holders(version, self.counts, view, self.memory, now)
        choice = Choice(holders, company, view, Rankings(), self.memory, now, refused)
        choice.make()
        return choice

    def chosen(self, version: FleetVersion, now: int = START) -> dict[NodeId, Criticality]:
        return {node: each.least for node, each in self.choose(version, now).chosen.items()}


def in_zones(*zones: str) -> dict[NodeId, Zone]:
    """Put the nodes, in the order of the name, into zones."""
    return {node: (zones[index % len(zones)],) for index, node in enumerate(ORDER)}


def test_the_first_in_the_order_take_what_is_missing() -> None:
    version = fleet_version(claim(BACK))
    assert list(Chooser().chosen(version)) == [FIRST, SECOND]
    assert not Chooser().chosen(fleet_version(*map(claim, (FIRST, THIRD, BACK))))


def test_each_rank_takes_its_classes() -> None:
    chooser = Chooser(counts=CopyCounts(3, 2, 1))
    assert chooser.chosen(fleet_version(claim(BACK))) == {FIRST: NORMAL, SECOND: CRITICAL}


def test_a_version_without_critical_units_has_fewer_holders() -> None:
    chooser = Chooser(counts=CopyCounts(3, 2, 1))
    sizes = {NORMAL: GIB}
    assert chooser.chosen(fleet_version(claim(BACK), sizes=sizes)) == {FIRST: LAST}


def test_no_two_copies_are_in_one_zone_while_that_is_possible() -> None:
    zones = in_zones("a", "a", "b", "b", "c", "c", "a", "b")
    zones[BACK] = ("a",)
    version = fleet_version(claim(BACK))
    chosen = Chooser(zones).chosen(version)
    assert list(chosen) == [THIRD, ORDER[4]]
    four = Chooser(zones, counts=CopyCounts(4, 4, 4)).chosen(version)
    assert list(four) == [THIRD, ORDER[4], FIRST]


def test_who_is_full_blamed_or_lost_is_not_asked() -> None:
    chooser = Chooser()
    chooser.nodes[FIRST] = FleetNode(FIRST, is_full=True)
    chooser.nodes[SECOND] = FleetNode(SECOND, is_blamed=True)
    chooser.nodes[THIRD] = FleetNode(THIRD, is_live=False, lost_since_ns=START)
    chosen = chooser.chosen(fleet_version(claim(BACK)))
    assert list(chosen) == list(ORDER[3:5])


def test_who_was_chosen_and_shows_nothing_is_passed_over() -> None:
    chooser = Chooser(counts=CopyCounts(2, 2, 2))
    version = fleet_version(claim(BACK))
    assert list(chooser.chosen(version)) == [FIRST]
    assert list(chooser.chosen(version, START + GRACE_NS - 1)) == [FIRST]
    assert list(chooser.chosen(version, START + GRACE_NS)) == [SECOND]
    assert list(chooser.chosen(version, START + 2 * GRACE_NS)) == [THIRD]


def test_who_goes_on_fetching_is_not_passed_over() -> None:
    chooser = Chooser(counts=CopyCounts(2, 2, 2))
    for index in range(1, 6):
        version = fleet_version(claim(BACK), claim(FIRST, None, held_bytes=index))
        assert list(chooser.chosen(version, START + index * (GRACE_NS - 1))) == [FIRST]


def test_who_was_passed_over_is_asked_again_when_there_is_nobody_else() -> None:
    two = {FIRST: (), BACK: ()}
    chooser = Chooser(dict[NodeId, Zone](two), counts=CopyCounts(2, 2, 2))
    version = fleet_version(claim(BACK))
    for index in range(3):
        assert list(chooser.chosen(version, START + index * GRACE_NS)) == [FIRST]


def test_who_fetches_it_already_goes_first_even_if_nobody_chose_it() -> None:
    version = fleet_version(claim(BACK), claim(FORELAST, None, held_bytes=5))
    assert list(Chooser(counts=CopyCounts(2, 2, 2)).chosen(version)) == [FORELAST]


def test_who_was_chosen_stays_chosen_when_another_one_looks_better() -> None:
    zones = in_zones("a", "b")
    zones[BACK] = ("b",)
    chooser = Chooser(zones)
    version = fleet_version(claim(BACK))
    first, second = chooser.chosen(version)
    done = fleet_version(claim(BACK), claim(second))
    assert list(chooser.chosen(done)) == [first]


def test_who_has_a_part_grows_unless_somebody_new_comes_anyway() -> None:
    counts = CopyCounts(3, 2, 1)
    grown = fleet_version(claim(FIRST, LAST), claim(THIRD, CRITICAL), claim(BACK, CRITICAL))
    chooser = Chooser(counts=counts)
    (chosen,) = chooser.choose(grown).chosen.values()
    assert (chosen.node, chosen.least, chosen.why) == (THIRD, NORMAL, CopiedBecause.GROWS)
    lacking = fleet_version(claim(FIRST, LAST), claim(BACK, CRITICAL))
    (chosen,) = Chooser(counts=counts).choose(lacking).chosen.values()
    assert (chosen.node, chosen.least, chosen.why) == (SECOND, NORMAL, CopiedBecause.MISSING)


def test_copies_move_into_a_zone_that_comes() -> None:
    zones = dict.fromkeys(NODES, ("a",)) | {FORELAST: ("b",)}
    version = fleet_version(*map(claim, (FIRST, SECOND, BACK)))
    (chosen,) = Chooser(dict[NodeId, Zone](zones)).choose(version).chosen.values()
    assert (chosen.node, chosen.why) == (FORELAST, CopiedBecause.ZONES)


def test_nobody_is_asked_for_what_nobody_who_answers_has() -> None:
    chooser = Chooser()
    chooser.nodes[BACK] = FleetNode(BACK, is_live=False, lost_since_ns=START)
    assert not chooser.chosen(fleet_version(claim(BACK)))
    parts = fleet_version(claim(BACK), claim(FIRST, CRITICAL))
    assert set(chooser.chosen(parts).values()) == {CRITICAL}


def test_what_a_lost_holder_had_is_replaced_after_the_grace_time() -> None:
    chooser = Chooser()
    chooser.nodes[FIRST] = FleetNode(FIRST, is_live=False, lost_since_ns=START)
    version = fleet_version(*map(claim, (FIRST, SECOND, BACK)))
    assert not chooser.chosen(version, START + GRACE_NS - 1)
    assert list(chooser.chosen(version, START + GRACE_NS)) == [THIRD]


@pytest.mark.parametrize("holder", NODES)
def test_the_partner_of_who_has_it_comes_first(holder: NodeId) -> None:
    chooser = Chooser(counts=CopyCounts(2, 2, 2), pair="+n/2")
    half_way = NODES[(NODES.index(holder) + 4) % 8]
    assert list(chooser.chosen(fleet_version(claim(holder)))) == [half_way]


def test_this_node_is_left_out_when_it_has_no_room() -> None:
    version = fleet_version(claim(BACK))
    choice = Chooser(counts=CopyCounts(2, 2, 2)).choose(version, refused=frozenset({FIRST}))
    assert list(choice.chosen) == [SECOND]


def test_classes_that_nobody_can_take_are_known() -> None:
    only = {FIRST: (), BACK: ()}
    choice = Chooser(dict[NodeId, Zone](only)).choose(fleet_version(claim(BACK)))
    assert choice.lacking == set(Criticality)
    assert list(choice.chosen) == [FIRST]
