from __future__ import annotations

import pytest

from ckptd.copies.counts import CopyCounts
from ckptd.copies.fleet import FleetNode, FleetVersion
from ckptd.copies.holders import Holders, asked_of, find_holders, whole_class
from ckptd.copies.memory import Memory
from ckptd.limits import GIB
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from tests.support.fleets import GRACE_NS, LAST, claim, fleet_version, fleet_view

CRITICAL, NORMAL = Criticality.CRITICAL, Criticality.NORMAL
START = 1000 * GRACE_NS


class Seen:
    """What a node finds of one version in decisions one after the other."""

    def __init__(self, *nodes: FleetNode) -> None:
        self.nodes = (FleetNode(NodeId("own")), *nodes)
        self.memory = Memory()

    def find(self, version: FleetVersion, now: int = START) -> Holders:
        self.memory.begin()
        view = fleet_view("own", self.nodes, version)
        return find_holders(version, CopyCounts(), view, self.memory, now)


def node(name: str, *, lost_since_ns: int | None = None, is_blamed: bool = False) -> FleetNode:
    return FleetNode(
        NodeId(name),
        is_live=lost_since_ns is None,
        lost_since_ns=lost_since_ns,
        is_blamed=is_blamed,
    )


def test_only_what_is_proven_and_answers_is_there() -> None:
    seen = Seen(node("a"), node("b"), node("c", lost_since_ns=START))
    version = fleet_version(
        claim("a", NORMAL), claim("b", is_proven=False), claim("c"), claim("unknown")
    )
    found = seen.find(version)
    assert found.there == {"a": NORMAL}
    assert found.there_of(NORMAL) == ["a"]
    assert found.there_of(LAST) == []
    assert found.unproven == {"b": (LAST, START + GRACE_NS)}
    assert found.lost == {"c": (LAST, START + GRACE_NS)}
    assert found.counting() == {"a": NORMAL, "b": LAST, "c": LAST}
    assert found.is_whole


def test_a_lost_holder_counts_for_the_grace_time() -> None:
    seen = Seen(node("a", lost_since_ns=START))
    version = fleet_version(claim("a"))
    assert seen.find(version, START + GRACE_NS - 1).lost
    late = seen.find(version, START + GRACE_NS)
    assert not late.lost
    assert not late.is_whole


def test_a_claim_that_nobody_proves_counts_for_the_grace_time() -> None:
    seen = Seen(node("a"))
    version = fleet_version(claim("a", is_proven=False))
    assert seen.find(version).unproven
    assert seen.find(version, START + GRACE_NS - 1).has_source(LAST)
    late = seen.find(version, START + GRACE_NS)
    assert late.unproven == {}
    assert not late.has_source(CRITICAL)


def test_who_fetches_counts_as_long_as_more_comes() -> None:
    seen = Seen(node("a"), node("b"))
    fetched = [
        fleet_version(
            claim("a", None, held_bytes=more), claim("b", CRITICAL, held_bytes=GIB + more)
        )
        for more in range(1, 5)
    ]
    for index, version in enumerate(fetched):
        found = seen.find(version, START + index * (GRACE_NS - 1))
        assert found.begun == {"a": None, "b": CRITICAL}
    late = seen.find(fetched[-1], START + 4 * GRACE_NS)
    assert late.begun == {}
    assert late.there == {"b": CRITICAL}


def test_nothing_is_expected_of_who_is_blamed() -> None:
    lost = FleetNode(NodeId("c"), is_live=False, lost_since_ns=START, is_blamed=True)
    seen = Seen(node("a", is_blamed=True), node("b", is_blamed=True), lost)
    version = fleet_version(claim("a", is_proven=False), claim("b", None, held_bytes=5), claim("c"))
    found = seen.find(version)
    assert not found.counting()
    assert not found.begun


@pytest.mark.parametrize(
    ("sizes", "asked"),
    [
        ({CRITICAL: 1, NORMAL: 1, LAST: 1}, {LAST: 1, NORMAL: 2, CRITICAL: 3}),
        ({NORMAL: 5}, {NORMAL: 2}),
        ({CRITICAL: 0, LAST: 5}, {LAST: 1}),
        ({}, {CRITICAL: 3}),
    ],
)
def test_copies_are_asked_of_classes_that_have_units(
    sizes: dict[Criticality, int], asked: dict[Criticality, int]
) -> None:
    found = asked_of(fleet_version(sizes=sizes), CopyCounts())
    assert list(found.items()) == list(asked.items())


def test_who_has_the_last_class_with_units_has_everything() -> None:
    version = fleet_version(sizes={CRITICAL: 1, NORMAL: 1})
    assert [whole_class(version, each) for each in Criticality] == [CRITICAL, LAST, LAST]


def test_what_a_blamed_node_showed_counts_for_the_grace_time_and_stays_a_source() -> None:
    """It is in quarantine for a minute, say; nothing moves because of that alone."""
    seen = Seen(node("a", is_blamed=True))
    version = fleet_version(claim("a"))
    found = seen.find(version)
    assert found.there == {}
    assert found.counting() == {"a": LAST}
    late = seen.find(version, START + GRACE_NS)
    assert late.counting() == {}
    assert late.is_whole
    assert late.has_source(LAST)
