"""Phases of several policies in one order."""

from __future__ import annotations

import pytest

from ckptd.errors import UsageError
from ckptd.model.policy.rules import Policy, Rule, merged_phases, parse_phase_name


@pytest.mark.parametrize(
    ("lists", "merged"),
    [
        ([], ""),
        (["core rest"], "core rest"),
        (["core rest", "core serving rest"], "core serving rest"),
        (["core rest", "rest core"], "core rest"),
        (["core", "first second core"], "first second core"),
        (["core", "other another"], "core other another"),
        (["core rest", "rest last"], "core rest last"),
        (["", "core"], "core"),
    ],
)
def test_the_order_of_the_first_counts_and_others_add_to_it(lists: list[str], merged: str) -> None:
    policies = [Policy(tuple(each.split())) for each in lists]
    assert merged_phases(policies) == tuple(merged.split())


def test_a_phase_that_only_a_rule_names_follows() -> None:
    policy = Policy(("core",), (Rule(("*",), phase="late"), Rule(("a",), phase="core")))
    assert policy.named_phases == ("core", "late")


def test_a_list_counts_before_the_order_in_which_rules_name_phases() -> None:
    typed = Policy((), (Rule(("a",), phase="rest"), Rule(("b",), phase="core")))
    assert merged_phases([typed]) == ("rest", "core")
    assert merged_phases([typed, Policy(("core", "rest"))]) == ("core", "rest")


@pytest.mark.parametrize("name", ["core", "0", "a-b_c", "x" * 32])
def test_names_of_phases(name: str) -> None:
    assert parse_phase_name(name) == name


@pytest.mark.parametrize("name", ["", "Core", "-a", "a b", "x" * 33, "é", "a\n", "a/b"])
def test_what_is_no_name_of_a_phase(name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a phase"):
        parse_phase_name(name)
