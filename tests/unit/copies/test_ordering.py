from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.copies.ordering import check_pair, order, partner, ranked
from ckptd.copies.zones import Zone, together
from ckptd.errors import UsageError
from ckptd.model.ids import NodeId

NODES = tuple(NodeId(f"node-{number}") for number in range(64))
NAMES = tuple(f"run-{number}/shard-{number % 8}-of-8" for number in range(2000))


def zoned(rows: int, racks: int) -> dict[NodeId, Zone]:
    return {
        node: (f"row-{number % rows}", f"rack-{number % (rows * racks)}")
        for number, node in enumerate(NODES)
    }


@given(st.permutations(NODES[:12]), st.sampled_from(NAMES))
def test_the_order_does_not_depend_on_how_nodes_are_listed(nodes: list[NodeId], name: str) -> None:
    zones = zoned(3, 2)
    assert ranked(name, nodes) == ranked(name, NODES[:12])
    members = {node: zones[node] for node in nodes}
    assert order(name, members) == order(name, dict(sorted(members.items())))


@given(st.sets(st.sampled_from(NODES), min_size=2), st.sampled_from(NAMES))
def test_one_node_less_changes_nothing_between_the_others(nodes: set[NodeId], name: str) -> None:
    members = sorted(nodes)
    gone = members[0]
    rest = tuple(node for node in ranked(name, members) if node != gone)
    assert ranked(name, members[1:]) == rest


def test_every_node_is_first_about_as_often_as_any_other() -> None:
    firsts = Counter(ranked(name, NODES)[0] for name in NAMES)
    seconds = Counter(ranked(name, NODES)[1] for name in NAMES)
    mean = len(NAMES) / len(NODES)
    for found in (firsts, seconds):
        assert len(found) == len(NODES)
        assert max(found.values()) < 2 * mean
        assert sum((each - mean) ** 2 for each in found.values()) / mean < 110  # chi², p < 0.001


def test_the_first_of_an_order_share_as_few_levels_as_can_be() -> None:
    members = zoned(4, 4)
    for name in NAMES[:50]:
        found = order(name, members)
        assert sorted(found) == sorted(members)
        assert {members[node][0] for node in found[:4]} == {"row-0", "row-1", "row-2", "row-3"}
        assert len({members[node] for node in found[:16]}) == 16
        assert Counter(members[node] for node in found).most_common(1)[0][1] == 4


def test_nodes_of_which_no_zone_is_known_come_after_those_that_are_certainly_elsewhere() -> None:
    members: dict[NodeId, Zone] = dict.fromkeys(NODES[:8], ())
    members |= {NODES[8]: ("row-1",), NODES[9]: ("row-2",)}
    for name in NAMES[:50]:
        first, second, *_ = order(name, members)
        if members[first]:
            assert together(members[first], members[second]) == 0


def test_without_zones_the_order_is_that_of_the_scores() -> None:
    for name in NAMES[:20]:
        assert order(name, dict.fromkeys(NODES, ())) == ranked(name, NODES)


@pytest.mark.parametrize("step", ["", "n/2", "+0", "+n/3", "-1", "+1x", "+100000"])
def test_what_is_no_step_to_a_partner_is_refused(step: str) -> None:
    with pytest.raises(UsageError, match="is no step"):
        check_pair(step)


def test_a_partner_is_so_far_round_the_ring_of_ids() -> None:
    nodes = [NodeId(each) for each in "dbca"]
    half = {node: partner(node, nodes, "+n/2") for node in nodes}
    assert half == {"a": "c", "b": "d", "c": "a", "d": "b"}
    assert [partner(node, nodes, "+1") for node in sorted(nodes)] == ["b", "c", "d", "a"]
    assert partner(NodeId("e"), nodes, "+1") == "a"
    assert partner(NodeId("a"), [NodeId("a")], "+n/2") is None
    assert partner(NodeId("a"), nodes, "+4") is None
