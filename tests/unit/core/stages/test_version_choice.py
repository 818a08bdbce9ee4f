"""Which version is chosen from what peers say they hold."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import pytest

from ckptd.core.stages.version_choice import choose_version, explain_choice, explain_rollback
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from tests.support.scheduling import LLAMA, blocks, holding, saved

OLD, NEW = saved(4, version=90), saved(4, version=100)
OTHER_NEW = saved(5, version=100)
LOW, HIGH = sorted([NEW, OTHER_NEW], key=lambda version: version.digest)


def test_nothing_is_chosen_from_nothing() -> None:
    assert choose_version([], LLAMA, None) is None
    assert choose_version([], LLAMA, Version(90)) is None


def test_the_newest_complete_version_is_chosen() -> None:
    assert choose_version([holding(OLD), holding(NEW)], LLAMA, None) == (100, NEW.digest)


def test_a_version_is_complete_if_partial_holders_have_all_of_it_together() -> None:
    front, back = holding(NEW, blocks((0, 3))), holding(NEW, blocks((2, 4)))
    assert choose_version([front, holding(OLD), back], LLAMA, None) == (100, NEW.digest)


def test_a_newer_version_with_a_hole_is_passed_over() -> None:
    front, back = holding(NEW, blocks((0, 2))), holding(NEW, blocks((3, 4)))
    assert choose_version([front, back, holding(OLD)], LLAMA, None) == (90, OLD.digest)


def test_a_version_nobody_has_all_of_is_not_chosen_as_the_newest() -> None:
    assert choose_version([holding(NEW, blocks((0, 3)))], LLAMA, None) is None


def test_a_named_version_is_chosen_though_it_is_old_and_partly_missing() -> None:
    offers = [holding(NEW), holding(OLD, blocks((0, 1)))]
    assert choose_version(offers, LLAMA, Version(90)) == (90, OLD.digest)


def test_a_named_version_that_nobody_has_is_not_replaced_by_another() -> None:
    assert choose_version([holding(NEW)], LLAMA, Version(90)) is None


def test_other_checkpoints_do_not_count() -> None:
    other = saved(4, checkpoint="llama/rank-1", version=200)
    assert choose_version([holding(other)], LLAMA, None) is None
    assert choose_version([holding(other)], CheckpointName("llama/rank-1"), None) == (
        200,
        other.digest,
    )


def test_version_zero_is_a_version() -> None:
    first = saved(1, version=0)
    assert choose_version([holding(first)], LLAMA, None) == (0, first.digest)
    assert choose_version([holding(first), holding(NEW)], LLAMA, Version(0)) == (0, first.digest)


def test_a_version_without_blocks_is_complete() -> None:
    empty = saved(version=100)
    assert choose_version([holding(empty), holding(OLD)], LLAMA, None) == (100, empty.digest)


def test_where_peers_disagree_the_one_that_can_be_completed_wins() -> None:
    partial = [holding(LOW, blocks((0, 1)))] * 3
    assert choose_version([*partial, holding(HIGH)], LLAMA, Version(100)) == (100, HIGH.digest)


def test_where_two_can_be_completed_the_one_with_more_holders_wins() -> None:
    offers = [holding(LOW), holding(HIGH), holding(HIGH)]
    assert choose_version(offers, LLAMA, None) == (100, HIGH.digest)


def test_where_holders_are_even_the_lower_digest_wins_in_whatever_order_they_speak() -> None:
    offers = [holding(HIGH), holding(LOW), holding(OLD), holding(HIGH), holding(LOW)]
    assert {choose_version(order, LLAMA, None) for order in permutations(offers)} == {
        (100, LOW.digest)
    }


# Why


def explained(
    holdings: list[Holding], wanted: int | None = None
) -> tuple[tuple[Version, Digest] | None, str, list[tuple[int, str]]]:
    version = None if wanted is None else Version(wanted)
    explanation = explain_choice(holdings, LLAMA, version)
    assert explanation.chosen == choose_version(holdings, LLAMA, version)
    others = [(int(other.version), other.why) for other in explanation.passed_over]
    return explanation.chosen, explanation.why, others


def test_the_newest_is_explained_with_those_passed_over() -> None:
    newer = saved(4, version=110)
    offers = [holding(newer, blocks((0, 1))), holding(NEW), holding(OLD)]
    assert explained(offers) == (
        (100, NEW.digest),
        "newest of which every block is reachable",
        [(110, "nobody has 75 % of it"), (90, "older")],
    )


def test_a_named_version_is_explained() -> None:
    offers = [holding(NEW), holding(OLD, blocks((0, 1)))]
    others = [(100, "not the one that was named")]
    why = "named, though nobody has 75 % of it"
    assert explained(offers, 90) == ((90, OLD.digest), why, others)
    assert explained([holding(NEW)], 100) == ((100, NEW.digest), "named", [])


def test_that_nothing_is_chosen_is_explained() -> None:
    assert explained([]) == (None, "nobody has any version", [])
    assert explained([holding(NEW)], 90) == (
        None,
        "nobody has version 90",
        [(100, "not the one that was named")],
    )
    assert explained([holding(NEW, blocks((0, 3)))]) == (
        None,
        "no version has every block reachable",
        [(100, "nobody has 25 % of it")],
    )


def test_other_content_under_the_same_version_is_explained() -> None:
    _, _, others = explained([holding(LOW), holding(HIGH), holding(HIGH)])
    assert others == [(100, "other content under the same version, with fewer holders")]
    _, _, others = explained([holding(LOW), holding(HIGH)])
    assert others == [(100, "other content under the same version, with a higher digest")]


def test_at_most_five_others_are_named_the_newest_first() -> None:
    offers = [holding(saved(1, version=number)) for number in range(9)]
    _, _, others = explained(offers)
    assert [version for version, _ in others] == [7, 6, 5, 4, 3]


def test_others_of_one_version_are_named_by_digest() -> None:
    newest = saved(4, version=110)
    offers = [holding(HIGH), holding(newest), holding(LOW)]
    named = explain_choice(offers, LLAMA, None).passed_over
    assert [other.digest for other in named] == [LOW.digest, HIGH.digest]


def test_of_many_that_are_even_the_lowest_digest_wins() -> None:
    versions = [saved(count, version=100) for count in range(1, 31)]
    chosen = choose_version(map(holding, versions), LLAMA, None)
    assert chosen == (100, min(version.digest for version in versions))


def test_other_content_under_the_version_that_was_named_is_told_as_such() -> None:
    _, _, others = explained([holding(LOW), holding(HIGH)], wanted=100)
    assert others == [(100, "other content under the same version, with a higher digest")]


def test_peers_that_have_more_blocks_than_there_are_miss_none() -> None:
    fewer = replace(holding(NEW), block_count=2, blocks=blocks((0, 2)))
    assert choose_version([holding(NEW), fewer], LLAMA, None) == (100, NEW.digest)


@pytest.mark.parametrize(
    ("offered", "not_below", "is_rollback"),
    [
        (None, 100, False),
        (100, None, False),
        (101, 100, False),
        (100, 100, False),
        (99, 100, True),
    ],
)
def test_what_is_older_than_what_was_here_is_a_rollback(
    offered: int | None, not_below: int | None, is_rollback: bool
) -> None:
    key = None if offered is None else (Version(offered), NEW.digest)
    least = None if not_below is None else Version(not_below)
    assert (explain_rollback(LLAMA, key, least) is not None) is is_rollback


def test_a_version_of_which_only_optional_blocks_are_missing_is_whole() -> None:
    newest = saved(2, 2, optional=[1, 1], version=200)
    offers = [holding(OLD), holding(newest, blocks((0, 3))), holding(newest, blocks((3, 5)))]
    assert choose_version(offers, LLAMA, None) == (200, newest.digest)
    explained = explain_choice(offers, LLAMA, None)
    assert explained.why == "newest of which every required block is reachable"
    assert choose_version(offers[:2], LLAMA, None) == (90, OLD.digest)
    (passed,) = explain_choice(offers[:2], LLAMA, None).passed_over
    assert passed.why == "nobody has 16 % of it"


def test_a_holder_that_names_nothing_optional_takes_nothing_from_others() -> None:
    newest = saved(2, optional=[1], version=200)
    silent = replace(holding(newest, blocks((0, 1))), optional=blocks())
    offers = [silent, holding(newest, blocks((1, 2)))]
    assert choose_version(offers, LLAMA, None) == (200, newest.digest)
    assert choose_version([silent], LLAMA, None) is None
