from __future__ import annotations

from msgspec.structs import replace

from ckptd.control.messages.milestone_rows import PhaseRow
from ckptd.control.messages.recovery_results import RecoveryMilestone
from ckptd.daemon.answer.milestone_messages import Announced, reached
from tests.support.control_samples import RESULT, VIEW


def phase(name: str, complete_s: float | None = None, placed_s: float | None = None) -> PhaseRow:
    return PhaseRow(
        name=name,
        units=1,
        bytes_total=10,
        bytes_left=0 if complete_s else 10,
        complete_after_s=complete_s,
        placed_after_s=placed_s,
    )


def said(milestone: RecoveryMilestone) -> tuple[str, str, float]:
    return milestone.event, milestone.phase, milestone.after_s


def test_what_was_reached_is_said_in_the_order_in_which_it_happened() -> None:
    view = replace(
        VIEW, critical_after_s=3.0, phases=(phase("core", 1.0, 2.0), phase("rest", 4.0, None))
    )
    assert list(map(said, reached(view))) == [
        ("phase.complete", "core", 1.0),
        ("phase.placed", "core", 2.0),
        ("critical.complete", "", 3.0),
        ("phase.complete", "rest", 4.0),
    ]


def test_of_a_version_with_one_phase_only_critical_units_are_said() -> None:
    view = replace(VIEW, critical_after_s=3.0, phases=(phase("all", 1.0, 2.0),))
    assert list(map(said, reached(view))) == [("critical.complete", "", 3.0)]


def test_each_milestone_is_said_once_and_again_only_if_it_did_not_hold_meanwhile() -> None:
    announced = Announced()
    none, core = (phase("core"), phase("rest")), (phase("core", 1.0), phase("rest"))
    assert announced.news(replace(VIEW, critical_after_s=None, phases=none)) == []
    assert len(announced.news(replace(VIEW, critical_after_s=None, phases=core))) == 1
    later = (phase("core", 1.001), phase("rest"))  # the same, rounded otherwise
    assert announced.news(replace(VIEW, critical_after_s=None, phases=later)) == []
    assert announced.news(replace(VIEW, critical_after_s=None, phases=none)) == []
    assert len(announced.news(replace(VIEW, critical_after_s=None, phases=core))) == 1


def test_what_was_reached_between_the_last_look_and_the_end_is_said_before_the_result() -> None:
    announced = Announced()
    announced.news(replace(VIEW, phases=(phase("core", 1.0, 2.0), phase("rest"))))
    ended = replace(RESULT, phases=(phase("core", 1.0, 2.0), phase("rest", 4.0, 5.0)))
    assert list(map(said, announced.news(ended))) == [
        ("phase.complete", "rest", 4.0),
        ("phase.placed", "rest", 5.0),
    ]
