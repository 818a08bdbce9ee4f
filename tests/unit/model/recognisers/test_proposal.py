"""What recognisers have in common."""

from __future__ import annotations

import re

from ckptd.model.recognisers.proposal import (
    DIRECTORIES_MAX,
    Tree,
    deepest_first,
    later,
    rules_of,
    weights,
)


def test_rules_of_a_directory_come_before_those_of_the_ones_above_it() -> None:
    tree = Tree(dict.fromkeys(["w", "a/w", "a/b/w", "b/w", "c/other"], 1))
    assert tree.with_any(re.compile("w")) == ["a/b", "a", "b", ""]


def test_directories_that_rules_are_made_for_are_bounded() -> None:
    many = [f"d{number:03}" for number in range(DIRECTORIES_MAX + 1)]
    assert deepest_first(many) == many[:-1]


def test_a_pattern_without_a_file_makes_no_rule_and_the_first_kind_counts() -> None:
    kinds = (later("later", "x*", "y*"), weights("weights", "*z", "x*"))
    rules = list(rules_of("F", "d", ["x1", "xz", "z"], kinds))
    assert [(rule.paths, rule.phase) for rule in rules] == [
        (("d/x1", "d/xz"), "rest"),
        (("d/*z",), "core"),
    ]
