"""What nodes said last, also those that do not answer any more."""

from __future__ import annotations

from ckptd.daemon.copying.fleet_memory import CONTENTS_MAX, PER_NODE_MAX, FleetMemory
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version

A, B = NodeId("a"), NodeId("b")
NAME = CheckpointName("llama")


def holding(version: int, *, content: int = 0, name: CheckpointName = NAME) -> Holding:
    digest = Digest(f"{version * 1000 + content:064x}")
    return Holding(name, Version(version), digest, 10, 1, BlockSet.full(1))


def said(node: NodeId, *held: Holding, revision: int = 1, is_full: bool = False) -> Holdings:
    return Holdings(node, Epoch(1), revision, held, keeps=("llama*",), is_full=is_full)


def memory() -> FleetMemory:
    return FleetMemory(lambda name: 2 if name == NAME else None, grace_ns=100)


def test_a_node_that_is_lost_is_known_for_twice_the_time_of_grace() -> None:
    fleet = memory()
    holdings = said(A, holding(1))
    fleet.note({A: holdings}, {A: holdings.holdings}, now=0)
    assert fleet.nodes[A].lost_since_ns is None
    for now in (10, 20, 210):
        fleet.note({}, {}, now=now)
        assert fleet.nodes[A].lost_since_ns == 10
        assert fleet.nodes[A].held == (holding(1),)
    fleet.note({}, {}, now=211)
    assert A not in fleet.nodes


def test_who_comes_back_is_lost_no_more() -> None:
    fleet = memory()
    holdings = said(A, holding(1))
    for now, live in ((0, True), (10, False), (20, True)):
        fleet.note({A: holdings} if live else {}, {}, now=now)
    assert fleet.nodes[A].lost_since_ns is None


def test_what_a_node_in_quarantine_says_does_not_count() -> None:
    fleet = memory()
    one, other = said(A, holding(1)), said(B, holding(1))
    fleet.note({A: one, B: other}, {B: other.holdings}, now=0)
    assert [fleet.nodes[node].is_trusted for node in (A, B)] == [False, True]


def test_what_a_node_said_last_counts() -> None:
    fleet = memory()
    fleet.note({A: said(A, holding(1))}, {}, now=0)
    fleet.note({A: said(A, holding(2), revision=2, is_full=True)}, {}, now=1)
    known = fleet.nodes[A]
    assert (known.keeps, known.is_full, known.held) == (("llama*",), True, (holding(2),))


def test_of_each_node_the_newest_few_versions_of_listed_names_count() -> None:
    fleet = memory()
    versions = [holding(number) for number in range(20)]
    other = holding(5, name=CheckpointName("other"))
    newest = fleet.newest([*versions, other])
    assert [each.version for each in newest] == list(range(20 - 2 - PER_NODE_MAX, 20))


def test_who_has_many_contents_of_one_version_has_none_of_it() -> None:
    fleet = memory()
    few = [holding(1, content=number) for number in range(CONTENTS_MAX)]
    many = [holding(2, content=number) for number in range(CONTENTS_MAX + 1)]
    assert list(fleet.newest([*few, *many])) == few
