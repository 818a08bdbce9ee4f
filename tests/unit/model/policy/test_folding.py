"""What is said of many units in few rows."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.policy.assignment import assign
from ckptd.model.policy.folding import (
    FOLDS_MAX,
    PhaseSum,
    summary_of_assignment,
    summary_of_manifest,
)
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality
from tests.support.manifests import make_manifest

CRITICAL, NORMAL, DEFERRED = Criticality


def folded(*paths: str) -> str:
    summary = summary_of_assignment(assign(paths, []), paths, [1] * len(paths))
    (fold,) = summary.folds
    assert fold.units == fold.size_bytes == len(paths)
    return fold.paths


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (("a",), "a"),
        (("model-1.safetensors", "model-2.safetensors"), "model-*.safetensors"),
        (("layer-1", "layer-11"), "layer-1*"),
        (("aaa", "aaaa"), "aaa*"),
        (("config.json", "vocab.txt", "readme"), "config.json … vocab.txt"),
        (("b", "a"), "a … b"),
    ],
)
def test_paths_are_shown_in_short(paths: tuple[str, ...], shown: str) -> None:
    assert folded(*paths) == shown


@given(st.lists(st.text("ab/", min_size=1, max_size=6), min_size=1, max_size=5, unique=True))
def test_a_pattern_matches_all_of_them(paths: list[str]) -> None:
    shown = folded(*paths)
    if "…" not in shown:
        assert all(fnmatchcase(path, shown) for path in paths)


def test_units_of_which_the_same_is_said_are_one_row_with_its_rule() -> None:
    paths = ("config.json", "model-1", "model-2", "optim.pt")
    policy = Policy(
        ("core", "rest"),
        (
            Rule(("model*",), "core", after=("config.json",), origin="rule 1"),
            Rule(("config*",), "rest", CRITICAL, origin="rule 2"),
            Rule(("*m*",), criticality=DEFERRED, is_optional=True, origin="rule 3"),
        ),
    )
    assignment = assign(paths, [policy])
    summary = summary_of_assignment(assignment, paths, [2, 100, 100, 7])
    assert summary.phases == (PhaseSum("core", 3, 202, 2), PhaseSum("rest", 1, 7, 0))
    assert summary.left_out == 0
    rows = [(each.paths, each.units, each.size_bytes, *each.said) for each in summary.folds]
    assert rows == [
        ("config.json", 1, 2, 0, CRITICAL, False, (), 0, "rule 2", "model-1"),
        ("model-*", 2, 200, 0, DEFERRED, True, ("config.json",), 1, "rule 1; rule 3", ""),
        ("optim.pt", 1, 7, 1, DEFERRED, True, (), 0, "rule 3", ""),
    ]


def test_of_more_rows_than_fit_some_are_left_out_and_sums_are_right() -> None:
    paths = tuple(f"{number:03}" for number in range(FOLDS_MAX + 10))
    rules = tuple(Rule((path,), criticality=DEFERRED, origin=path) for path in paths)
    summary = summary_of_assignment(assign(paths, [Policy((), rules)]), paths, [1] * len(paths))
    assert (len(summary.folds), summary.left_out) == (FOLDS_MAX, 10)
    assert summary.phases == (PhaseSum("all", len(paths), len(paths), 0),)


def test_a_manifest_says_the_same_without_rules() -> None:
    manifest = make_manifest({"a1": b"1", "a2": b"22", "b": b""}, critical={"b"})
    summary = summary_of_manifest(AddressSpace(manifest))
    assert summary.phases == (PhaseSum("all", 3, 3, 0),)
    assert [(each.paths, each.said.criticality, each.said.rule) for each in summary.folds] == [
        ("b", CRITICAL, ""),
        ("a1 … a2", NORMAL, ""),
    ]
