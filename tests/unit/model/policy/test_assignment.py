"""Which unit is what: precedence, prerequisites, and what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import UsageError
from ckptd.limits import UNIT_PREREQUISITES_MAX
from ckptd.model.policy import assignment as assigning
from ckptd.model.policy.assignment import Assignment, Origins, UnitWords, assign
from ckptd.model.policy.rules import Policy, Rule
from ckptd.model.words import Criticality

CRITICAL, NORMAL, DEFERRED = Criticality

FILES = (
    "config.json",
    "model-1.safetensors",
    "model-2.safetensors",
    "model.safetensors.index.json",
    "optimizer.pt",
    "readme.md",
)


def by_path(assignment: Assignment, paths: tuple[str, ...] = FILES) -> dict[str, UnitWords]:
    return {path: assignment.of(number) for number, path in enumerate(paths)}


def phases_of(assignment: Assignment, paths: tuple[str, ...] = FILES) -> dict[str, str]:
    words = by_path(assignment, paths)
    return {path: assignment.phases[each.phase] for path, each in words.items()}


def rule(*paths: str, **said: object) -> Rule:
    return Rule(paths, origin=f"rule of {paths[0]}", **said)  # type: ignore[arg-type]


def test_without_policies_nothing_is_said() -> None:
    for policies in ([], [Policy()], [Policy(("core", "rest"))]):
        assignment = assign(FILES, policies)
        assert assignment.phases == ("all",)
        assert set(by_path(assignment).values()) == {UnitWords()}


def test_of_each_thing_the_first_rule_counts_that_says_it() -> None:
    written = Policy(
        ("core", "serving"), (rule("model*", phase="core"), rule("*", phase="serving"))
    )
    proposed = Policy(
        ("core", "rest"),
        (
            rule("*.safetensors", phase="rest", criticality=CRITICAL),
            rule("optim*", criticality=DEFERRED, is_optional=True),
        ),
    )
    assignment = assign(FILES, [written, proposed])
    assert assignment.phases == ("core", "serving")
    words = by_path(assignment)
    assert words["model-1.safetensors"] == UnitWords(
        0,
        CRITICAL,
        origins=Origins("rule of model*", "rule of *.safetensors"),
    )
    assert words["optimizer.pt"] == UnitWords(
        1,
        DEFERRED,
        True,
        origins=Origins("rule of *", "rule of optim*", is_optional="rule of optim*"),
    )
    assert words["readme.md"].origins.rules() == "rule of *"
    assert words["optimizer.pt"].origins.rules() == "rule of *; rule of optim*"
    assert UnitWords().origins.rules() == "default"


def test_what_no_rule_puts_into_a_phase_is_of_the_rest() -> None:
    assignment = assign(FILES, [Policy(("core",), (rule("model*", phase="core"),))])
    assert assignment.phases == ("core", "rest")
    assert phases_of(assignment)["optimizer.pt"] == "rest"


def test_the_rest_may_stand_elsewhere() -> None:
    policy = Policy(("rest", "later"), (rule("optim*", phase="later"),))
    assignment = assign(FILES, [policy])
    assert assignment.phases == ("rest", "later")
    assert phases_of(assignment)["config.json"] == "rest"


def test_a_phase_that_has_no_unit_is_none() -> None:
    policy = Policy(
        ("never", "core", "rest"), (rule("model*", phase="core"), rule("x", phase="never"))
    )
    assignment = assign(FILES, [policy])
    assert assignment.phases == ("core", "rest")
    assert assignment.idle_rules == ("rule of x",)


def test_a_rule_counts_for_no_unit_if_others_say_the_same_before_it() -> None:
    first, second = rule("*", criticality=DEFERRED), rule("model*", criticality=CRITICAL)
    assert assign(FILES, [Policy((), (first, second))]).idle_rules == ("rule of model*",)


def test_phases_that_no_unit_is_put_into_say_nothing() -> None:
    assignment = assign(FILES, [Policy(("core",), (rule("x", phase="core"),))])
    assert assignment.phases == ("all",)


def test_a_unit_matches_by_another_of_its_names() -> None:
    assignment = assign(
        ("blobs/1",),
        [Policy((), (rule("*.safetensors", criticality=CRITICAL),))],
        also_called={"blobs/1": ("model.safetensors",)},
    )
    assert assignment.of(0).criticality is CRITICAL


def test_prerequisites_are_numbers_of_units() -> None:
    assignment = assign(
        FILES, [Policy((), (rule("*.index.json", after=("*.safetensors", "config.json")),))]
    )
    words = by_path(assignment)
    assert words["model.safetensors.index.json"].after == (0, 1, 2)
    assert words["model.safetensors.index.json"].origins.after == "rule of *.index.json"
    assert words["config.json"].after == ()


def test_what_a_rule_waits_for_does_not_wait_by_it() -> None:
    assignment = assign(FILES, [Policy((), (rule("*", after=("config.json", "readme.md")),))])
    words = by_path(assignment)
    assert words["config.json"].after == words["readme.md"].after == ()
    assert words["optimizer.pt"].after == (0, 5)


def test_a_rule_can_say_that_there_are_no_prerequisites() -> None:
    written = Policy((), (rule("config.json", after=()),))
    proposed = Policy((), (rule("config.json", after=("readme.md",)),))
    assert by_path(assign(FILES, [written, proposed]))["config.json"].after == ()


def test_a_prerequisite_is_lifted_and_that_is_said() -> None:
    policy = Policy(
        ("core", "rest"),
        (
            rule("model-1*", phase="core", criticality=CRITICAL, after=("readme.md",)),
            rule("readme.md", phase="rest", criticality=DEFERRED, is_optional=True),
            rule("config.json", phase="core"),
        ),
    )
    assignment = assign(FILES, [policy])
    words = by_path(assignment)["readme.md"]
    assert (words.phase, words.criticality, words.is_optional) == (0, CRITICAL, False)
    assert words.origins.lifted_before == "model-1.safetensors"


def test_those_that_go_round_are_named_with_the_way() -> None:
    policy = Policy(
        (),
        (
            rule("config.json", after=("optim*",)),
            rule("optim*", after=("readme.md",)),
            rule("readme.md", after=("config.json",)),
        ),
    )
    with pytest.raises(UsageError) as error:
        assign(FILES, [policy])
    assert error.value.subject == "rule of config.json"
    assert "'config.json' → 'optimizer.pt' → 'readme.md' → 'config.json'" in error.value.problem


def test_what_is_not_there_is_named() -> None:
    policy = Policy((), (rule("model*", after=("vocab.txt",)),))
    with pytest.raises(UsageError, match=r"'vocab\.txt', which matches no unit") as error:
        assign(FILES, [policy])
    assert error.value.subject == "rule of model*"
    assignment = assign(FILES, [policy], is_part=True)
    assert assignment.unresolved == ("vocab.txt (rule of model*)",)
    assert by_path(assignment)["model-1.safetensors"].after == ()


def test_what_no_unit_asks_for_need_not_be_there() -> None:
    policy = Policy((), (rule("*.bin", after=("vocab.txt",)), rule("*", criticality=DEFERRED)))
    assert assign(FILES, [policy]).idle_rules == ("rule of *.bin",)


def test_more_prerequisites_than_a_unit_may_have_are_refused() -> None:
    many = tuple(f"s{number:03}" for number in range(UNIT_PREREQUISITES_MAX + 1))
    policy = Policy((), (rule("index", after=("s*",)),))
    assert len(assign((*many[1:], "index"), [policy]).of(UNIT_PREREQUISITES_MAX).after) == 64
    with pytest.raises(UsageError, match="puts units after 65 others, more than 64"):
        assign((*many, "index"), [policy])


def test_more_than_a_manifest_may_have_is_refused_before_anything_is_hashed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(assigning, "MANIFEST_PREREQUISITES_MAX", 9)
    all_after = Policy((), (rule("*", after=("config.json", "readme.md")),))
    assert len(assign(FILES, [all_after]).kinds) == 2
    monkeypatch.setattr(assigning, "MANIFEST_PREREQUISITES_MAX", 7)
    with pytest.raises(UsageError, match="put units after 8 others in all, more than 7"):
        assign(FILES, [all_after])
    monkeypatch.setattr(assigning, "MANIFEST_PHASES_MAX", 1)
    with pytest.raises(UsageError, match="name 2 phases, more than 1"):
        assign(FILES, [Policy((), (rule("m*", phase="core"),))])


def test_a_pattern_that_has_to_match_matches() -> None:
    missing = Rule(("x*",), criticality=CRITICAL, must_match=True)
    with pytest.raises(UsageError, match=re.escape("pattern 'x*': matches no file")):
        assign(FILES, [Policy((), (missing,))])
    hidden = Rule(("config*",), criticality=DEFERRED, must_match=True)
    first = Rule(("*",), criticality=CRITICAL)
    assert assign(FILES, [Policy((), (first, hidden))]).of(0).criticality is CRITICAL


def test_one_policy_cannot_call_a_unit_critical_and_optional() -> None:
    policy = Policy((), (rule("model*", criticality=CRITICAL), rule("*-2*", is_optional=True)))
    with pytest.raises(UsageError) as error:
        assign(FILES, [policy])
    assert error.value.subject == "file 'model-2.safetensors'"
    assert "'model*' and is critical, and '*-2*' and is optional" in error.value.problem


def test_of_two_policies_the_first_counts_there_as_well() -> None:
    urgent = Policy((), (rule("config*", criticality=CRITICAL),))
    optional = Policy((), (rule("*.json", is_optional=True),))
    words = assign(FILES, [urgent, optional]).of(0)
    assert (words.criticality, words.is_optional) == (CRITICAL, False)
    assert words.origins.is_optional == "rule of config*"
    words = assign(FILES, [optional, urgent]).of(0)
    assert (words.criticality, words.is_optional) == (NORMAL, True)
    assert words.origins.criticality == "rule of *.json"


GLOBS = st.sampled_from(["*", "a*", "b*", "*1", "*2", "a1", "b2", "c*"])
RULES = st.builds(
    Rule,
    paths=st.tuples(GLOBS) | st.tuples(GLOBS, GLOBS),
    phase=st.sampled_from([None, "core", "serving", "rest"]),
    criticality=st.sampled_from([None, *Criticality]),
    after=st.none() | st.tuples() | st.tuples(GLOBS),
    is_optional=st.sampled_from([None, True, False]),
)
POLICIES = st.lists(st.builds(Policy, st.just(("core",)), st.lists(RULES, max_size=3)), max_size=3)
PATHS = ("a1", "a2", "a3", "b1", "b2", "c")


@given(POLICIES)
def test_whatever_is_said_units_come_after_their_prerequisites(policies: list[Policy]) -> None:
    try:
        assignment = assign(PATHS, policies, is_part=True)
    except UsageError:
        return  # round, or contradictory
    units = [assignment.of(number) for number in range(len(PATHS))]
    for number, unit in enumerate(units):
        assert assignment.phases[unit.phase]
        assert number not in unit.after
        assert not (unit.is_optional and unit.criticality is CRITICAL)
        for needed in unit.after:
            first = units[needed]
            assert (first.phase, first.criticality) <= (unit.phase, unit.criticality)
            assert unit.is_optional or not first.is_optional
    assert {unit.phase for unit in units} == set(range(len(assignment.phases)))
