"""Versions of which nodes hold several contents."""

from __future__ import annotations

from ckptd.core.peers.conflicts import CONFLICTS_NAMED_MAX, Conflicts, Said, find_conflicts
from ckptd.core.report.rivals import Rival
from tests.support.scheduling import A, B, C, blocks, holding, saved

ONE, OTHER = saved(4, version=100), saved(5, version=100)
OLD = saved(3, version=90)


def test_where_everybody_has_the_same_there_is_no_conflict() -> None:
    said: Said = [(A, [holding(ONE), holding(OLD)]), (B, [holding(ONE)])]
    assert find_conflicts(said, own=A) == Conflicts()
    assert find_conflicts([], own=A) == Conflicts()


def test_a_conflict_names_who_has_which_content() -> None:
    said: Said = [
        (B, [holding(OTHER)]),
        (C, [holding(ONE), holding(OLD)]),
        (A, [holding(OTHER, blocks((0, 1)))]),
    ]
    found = find_conflicts(said, own=A)
    assert found.count == 1
    [contested] = found.named
    assert (contested.checkpoint, contested.version) == (ONE.checkpoint, 100)
    assert contested.rivals == (
        Rival(OTHER.digest, OTHER.space.size_bytes, (A, B), is_own=True),
        Rival(ONE.digest, ONE.space.size_bytes, (C,)),
    )


def test_one_node_may_have_both() -> None:
    [contested] = find_conflicts([(B, [holding(ONE), holding(OTHER)])], own=A).named
    assert {rival.digest for rival in contested.rivals} == {ONE.digest, OTHER.digest}


def test_who_has_nothing_yet_is_not_named() -> None:
    said: Said = [
        (A, [holding(ONE)]),
        (B, [holding(OTHER)]),
        (C, [holding(saved(7, version=100), blocks())]),
    ]
    [contested] = find_conflicts(said, own=A).named
    assert len(contested.rivals) == 2


def test_what_has_only_begun_to_arrive_does_not_count() -> None:
    said: Said = [(B, [holding(ONE)]), (C, [holding(OTHER, blocks())])]
    assert find_conflicts(said, own=A) == Conflicts()


def test_of_very_many_conflicts_all_are_counted_and_the_first_named() -> None:
    numbers = range(CONFLICTS_NAMED_MAX + 5)
    said: Said = [
        (B, [holding(saved(1, version=number)) for number in reversed(numbers)]),
        (C, [holding(saved(2, version=number)) for number in numbers]),
    ]
    found = find_conflicts(said, own=A)
    assert found.count == CONFLICTS_NAMED_MAX + 5
    assert [each.version for each in found.named] == list(range(CONFLICTS_NAMED_MAX))
