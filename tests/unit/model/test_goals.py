from __future__ import annotations

import msgspec
import pytest

from ckptd.errors import UsageError
from ckptd.model.goals import Goal, GoalUnits, parse_goal
from ckptd.model.manifest import Manifest, urgency
from ckptd.model.words import Criticality, GoalKind
from tests.support.manifests import make_manifest

CRITICAL, NORMAL, DEFERRED = Criticality


def phased(*units: tuple[str, int, Criticality]) -> Manifest:
    """A version with phases: path, phase and criticality of each unit."""
    plain = make_manifest({path: path.encode() for path, _, _ in units})
    said = {path: (phase, kind) for path, phase, kind in units}
    made = [
        msgspec.structs.replace(unit, phase=said[unit.path][0], criticality=said[unit.path][1])
        for unit in plain.units
    ]
    return msgspec.structs.replace(
        plain, phases=("core", "serving", "rest"), units=tuple(sorted(made, key=urgency))
    )


@pytest.mark.parametrize("text", ["phase=core", "phase=a_0-b", "critical", "complete", "newest"])
def test_a_goal_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_goal(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "phase", "phase=", "complete=", "core", "PHASE=a"),
        *("phase=a\n", "phase=" + "a" * 33, "phase=Core", "phase=a=b", "phase= core"),
    ],
)
def test_what_is_no_goal_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(UsageError, match="phase=NAME, critical, complete or newest"):
        parse_goal(text)


def test_a_phase_is_about_its_units_and_those_of_phases_before_it() -> None:
    manifest = phased(("a", 0, NORMAL), ("b", 1, CRITICAL), ("c", 1, NORMAL), ("d", 2, NORMAL))
    first, second = (
        GoalUnits(parse_goal(f"phase={name}"), manifest) for name in ("core", "serving")
    )
    assert [first.any_of([unit]) for unit in range(4)] == [True, False, False, False]
    assert [second.any_of([unit]) for unit in range(4)] == [True, True, True, False]
    assert (first.is_whole, first.lacks_phase) == (False, False)
    assert not first.any_of(())


def test_a_phase_that_a_version_does_not_have_is_none_of_its_units() -> None:
    units = GoalUnits(Goal(GoalKind.PHASE, "coer"), phased(("a", 0, NORMAL)))
    assert (units.lacks_phase, units.is_whole, units.any_of([0])) == (True, False, False)


def test_critical_units_of_all_phases_count() -> None:
    manifest = phased(("a", 0, CRITICAL), ("b", 0, NORMAL), ("c", 1, DEFERRED), ("d", 2, CRITICAL))
    units = GoalUnits(Goal(GoalKind.CRITICAL), manifest)
    assert [units.any_of([unit]) for unit in range(4)] == [True, False, False, True]


def test_of_a_version_without_critical_units_all_are_waited_for() -> None:
    assert GoalUnits(Goal(GoalKind.CRITICAL), phased(("a", 0, NORMAL))).is_whole


def test_commit_markers_are_only_waited_for_with_the_last_phase() -> None:
    """They are placed last of all: else weights could not be used before the rest is here."""
    manifest = phased((".metadata", 0, CRITICAL), ("a", 0, CRITICAL), ("b", 2, NORMAL))
    found = {
        goal: [GoalUnits(parse_goal(goal), manifest).any_of([unit]) for unit in range(3)]
        for goal in ("phase=core", "critical", "phase=rest")
    }
    assert found == {
        "phase=core": [False, True, False],
        "critical": [False, True, False],
        "phase=rest": [True, True, True],
    }
    assert GoalUnits(Goal(GoalKind.CRITICAL), phased((".metadata", 0, CRITICAL))).is_whole
    one = msgspec.structs.replace(manifest, phases=("all",), units=manifest.units[:1])
    assert GoalUnits(Goal(GoalKind.CRITICAL), one).any_of([0])
