from __future__ import annotations

from collections.abc import Mapping

from ckptd.copies.choosing import Company
from ckptd.copies.counts import CopyCounts
from ckptd.copies.holders import Holders, asked_of
from ckptd.copies.kept import is_replaced, kept_of
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from tests.support.fleets import LAST, fleet_version

CRITICAL = Criticality.CRITICAL
NODES = tuple(map(NodeId, "abcdefgh"))
ALL_ABLE = Company(NODES, dict.fromkeys(NODES, ()), (), 1, (1, 1, 1, 1))
NONE_ABLE = Company(NODES, {}, NODES, 0, (0, 0, 0, 0))


def held(
    version: int,
    there: str | Mapping[str, Criticality] = "",
    *,
    begun: str = "",
    lost: str = "",
    unproven: str = "",
    rival: int = 0,
) -> Holders:
    made = fleet_version(version=version, rival=rival)
    by_node = dict.fromkeys(there, LAST) if isinstance(there, str) else there
    return Holders(
        made,
        asked_of(made, CopyCounts(3, 3, 3)),
        there={NodeId(node): least for node, least in by_node.items()},
        begun={NodeId(node): None for node in begun},
        lost={NodeId(node): (LAST, 99) for node in lost},
        unproven={NodeId(node): (LAST, 99) for node in unproven},
    )


def kept(*series: Holders, keep: int = 2) -> list[int]:
    return [each.version.version for each in kept_of(series, keep)]


def test_the_newest_whole_ones_count() -> None:
    assert kept(held(1, "a"), held(3, "b"), held(2, "c")) == [3, 2]
    assert kept(held(1, "a"), held(3, "b"), held(2, "c"), keep=1) == [3]


def test_what_is_only_claimed_pushes_nothing_out() -> None:
    assert kept(held(9, unproven="x"), held(2, "a"), held(1, "b")) == [2, 1]
    assert kept(held(9, unproven="x"), held(8, unproven="x")) == []
    assert kept(held(9, unproven="x")) == [9], "it is the only one, and each block is verified"


def test_what_a_lost_node_had_counts_as_whole_for_a_while() -> None:
    assert kept(held(3, lost="a"), held(2, "b"), held(1, "c")) == [3, 2]


def test_a_newer_one_that_lost_units_is_kept_beside_the_whole_ones() -> None:
    part = held(3, {"b": CRITICAL})
    assert kept(part, held(2, "a"), held(1, "a"), held(0, "a")) == [2, 1, 3]
    older = held(0, {"b": CRITICAL})
    assert kept(older, held(2, "a"), held(1, "a")) == [2, 1]


def test_of_rivals_two_are_kept_at_most_those_that_most_have() -> None:
    series = [held(3, "a" * (rival == 0) + "bc"[:rival], rival=rival) for rival in range(3)]
    found = kept_of(series, 1)
    assert {len(each.there) for each in found} == {1, 2}
    assert len(found) == 2


def test_what_is_nearest_to_its_end_is_finished_when_saving_outruns_copying() -> None:
    assert kept(held(9, "a"), held(8, "a"), held(2, "ab"), held(1, "abc")) == [1, 9, 8]
    assert kept(held(9, "a"), held(8, "a"), held(2, "a", begun="b"), held(1, "a")) == [2, 9, 8]
    assert kept(held(9, "ab"), held(8, "a"), held(2, "ab")) == [9, 8]
    assert kept(held(9, "abc"), held(8, "a"), held(2, "abcd")) == [9, 8], "it is as asked"
    assert kept(held(9, "a"), held(8, "a"), held(2, "a")) == [9, 8]


def test_an_older_one_is_replaced_by_one_with_as_many_copies() -> None:
    old = held(1, "abc")
    assert is_replaced(old, [held(3, "abc"), held(2, "a")], ALL_ABLE)
    assert not is_replaced(old, [held(3, "ab"), held(2, "ab")], ALL_ABLE)
    assert is_replaced(held(1, "ab"), [held(3, "ab")], ALL_ABLE), "as many as the older one has"
    assert not is_replaced(held(1, "a"), [held(3, "b")], ALL_ABLE), "two in any case"
    assert not is_replaced(old, [held(0, "abcd")], ALL_ABLE), "it is no newer one"
    assert not is_replaced(old, [held(2, {"a": CRITICAL})], ALL_ABLE)


def test_where_nobody_has_room_two_copies_of_a_newer_one_are_enough() -> None:
    assert is_replaced(held(1, "abc"), [held(2, "ab")], NONE_ABLE, is_full=True)
    assert not is_replaced(held(1, "abc"), [held(2, "a")], NONE_ABLE, is_full=True)
    assert not is_replaced(held(1, "abc"), [held(2, "ab")], ALL_ABLE, is_full=True)
    assert not is_replaced(held(1, "abc"), [held(2, "ab")], NONE_ABLE)
