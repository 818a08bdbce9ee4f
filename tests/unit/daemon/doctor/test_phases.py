"""What is said of checkpoints of which nobody said what is needed first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ckptd.daemon.doctor.phases import judge_held_phases, judge_phases
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.minimal_set import MinimalSet
from ckptd.model.words import CheckResult

PLAIN = MinimalSet("all", 3, 30, 0, True, False)
CRITICAL = PLAIN._replace(critical_bytes=10, has_critical=True)
PHASED = MinimalSet("core", 2, 20, 0, False, False)
LONELY = PLAIN._replace(units=1)


def findings(
    *held: tuple[str, int, MinimalSet | None], offered: bool = True
) -> list[tuple[str, CheckResult]]:
    versions, sets = [], {}
    for number, (name, version, found) in enumerate(held):
        digest = Digest(f"{number:02}")
        holding = Holding(CheckpointName(name), Version(version), digest, 4, 4, BlockSet())
        versions.append(SimpleNamespace(holding=holding, is_offered=offered))
        sets[digest] = found
    catalog: Any = SimpleNamespace(versions=lambda: versions, minimal_set=sets.get)
    return [(row.subject, row.verdict) for row in judge_phases(catalog)]


NOTHING = [("newest versions", CheckResult.OK)]


def test_critical_units_or_phases_or_a_single_unit_ask_for_nothing() -> None:
    assert findings() == NOTHING
    held = [("a", 1, CRITICAL), ("b", 1, PHASED), ("c", 1, LONELY), ("unseen", 1, None)]
    assert findings(*held) == NOTHING


def test_a_checkpoint_whose_newest_version_says_nothing_is_named() -> None:
    held = [("a", 1, PHASED), ("a", 2, PLAIN), ("b", 1, PLAIN), ("b", 2, CRITICAL)]
    assert findings(*held) == [("a@2", CheckResult.WARN)]
    assert findings(*held, offered=False) == NOTHING


def test_of_many_ten_are_named() -> None:
    many = findings(*((f"c{number:02}", 1, PLAIN) for number in range(12)))
    assert len(many) == 11
    assert many[-1] == ("2 more checkpoints", CheckResult.WARN)


def test_a_file_in_the_way_of_a_phase_is_named_with_what_to_do() -> None:
    moving: Any = SimpleNamespace(is_in_the_way=False)
    held: Any = SimpleNamespace(
        is_in_the_way=True, recovery="r-1", checkpoint="llama", waiting_for="file /x: is in the way"
    )
    (row,) = judge_held_phases([moving, held])
    assert (row.verdict, row.subject) == (CheckResult.WARN, "recovery r-1 of llama")
    assert row.finding == "file /x: is in the way"
    assert "Move that file away" in row.remedy
