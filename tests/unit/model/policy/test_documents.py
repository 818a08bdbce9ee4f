"""Policies as people write them: what they say, and errors that name the key."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ConfigurationError, UsageError
from ckptd.limits import PATH_BYTES_MAX, POLICY_GLOBS_MAX, POLICY_RULES_MAX
from ckptd.model.policy.documents import read_policy
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.toml_text import parse_toml
from ckptd.model.words import Criticality


def refused(key: str, error: UsageError) -> ConfigurationError:
    return ConfigurationError(f"p.toml: {key}", f"{error.subject} {error.problem}".lstrip())


def read(text: str) -> Policy:
    return read_policy(parse_toml(text), "p.toml ", refused)


def test_all_that_a_policy_can_say() -> None:
    policy = read(
        """
        phases = ["core", "rest"]
        [[rule]]
        paths = ["*.index.json", "config.json", "config.json"]
        phase = "core"
        criticality = "critical"
        after = ["*.safetensors"]
        optional = false
        [[rule]]
        paths = ["optim*"]
        criticality = "deferred"
        after = []
        """
    )
    assert policy == Policy(
        ("core", "rest"),
        (
            Rule(
                ("*.index.json", "config.json"),
                "core",
                Criticality.CRITICAL,
                ("*.safetensors",),
                False,
                "p.toml rule[0]",
            ),
            Rule(("optim*",), None, Criticality.DEFERRED, (), None, "p.toml rule[1]"),
        ),
    )


def test_an_empty_one_says_nothing() -> None:
    assert read("") == Policy()


def test_without_a_list_phases_come_as_they_are_named() -> None:
    policy = read(
        '[[rule]]\npaths = ["b"]\nphase = "second"\n[[rule]]\npaths = ["a"]\nphase = "first"'
    )
    assert policy.named_phases == ("second", "first")


KEYS = st.sampled_from(["phases", "rule", "paths", "phase", "criticality", "after", "optional"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just("core"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, VALUES, max_size=3))
def test_whatever_a_table_has_is_a_policy_or_is_named(table: dict[str, object]) -> None:
    with contextlib.suppress(ConfigurationError):
        assert isinstance(read_policy(table, "p.toml ", refused), Policy)


RULE = '[[rule]]\npaths = ["a"]\n'
FINE = f'{RULE}phase = "core"\n'

BAD = {
    "a key that nobody reads": ("phase = 1", "phase", "is not a key of a policy"),
    "phases that are no list": ('phases = "core"', "phases", "is text, not a list"),
    "a phase that is no text": ("phases = [1]", "phases", "is a whole number, not text"),
    "a name of a phase": ('phases = ["Core"]', "phases", "is no name of a phase"),
    "a phase twice": ('phases = ["a", "b", "a"]', "phases", "'a' stands there twice"),
    "too many phases": (f"phases = {[f'p{n}' for n in range(257)]}", "phases", "has 257 phases"),
    "rules that are no list": ("rule = 1", "rule", "is a whole number, not a list of tables"),
    "a rule that is no table": ("rule = [1]", "rule[0]", "is a whole number, not a table"),
    "too many rules": (FINE * (POLICY_RULES_MAX + 1), "rule", "has 257 rules"),
    "a key of a rule": (f"{FINE}glob = 1", "rule[0].glob", "is not a key of a policy"),
    "no paths": ('[[rule]]\nphase = "a"', "rule[0].paths", "is missing"),
    "empty paths": ('[[rule]]\npaths = []\nphase = "a"', "rule[0].paths", "is empty"),
    "paths that are text": ('[[rule]]\npaths = "a"\nphase = "a"', "rule[0].paths", "not a list"),
    "paths of numbers": ('[[rule]]\npaths = [1]\nphase = "a"', "rule[0].paths", "not text"),
    "an empty pattern": ('[[rule]]\npaths = [""]\nphase = "a"', "rule[0].paths", "is empty"),
    "a long pattern": (
        f'[[rule]]\npaths = ["{"a" * (PATH_BYTES_MAX + 1)}"]\nphase = "a"',
        "rule[0].paths",
        "more than 4096 bytes",
    ),
    "too many patterns": (
        f'[[rule]]\npaths = {["a"] * (POLICY_GLOBS_MAX + 1)}\nphase = "a"',
        "rule[0].paths",
        "has 65 patterns",
    ),
    "a phase that is not in the list": (
        f'phases = ["core"]\n{RULE}phase = "cor"',
        "rule[0].phase",
        "'cor' is not one of phases: core",
    ),
    "a criticality": (f'{RULE}criticality = "high"', "rule[0].criticality", "is not one of"),
    "a number for one": (f"{RULE}criticality = 0", "rule[0].criticality", "not text"),
    "a flag": (f"{RULE}optional = 1", "rule[0].optional", "not true or false"),
    "a unit that waits for itself": (f'{RULE}after = ["b", "a"]', "rule[0].after", "'a' is in"),
    "a rule that says nothing": (f"{FINE}{RULE}", "rule[1]", "says nothing of its units"),
    "critical and optional": (
        f'{RULE}optional = true\ncriticality = "critical"',
        "rule[0].optional",
        "contradicts criticality",
    ),
}


@pytest.mark.parametrize(("text", "key", "problem"), BAD.values(), ids=list(BAD))
def test_errors_name_place_and_key(text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(text)
    assert error.value.subject == f"p.toml: {key}"
    assert problem in error.value.problem
