from __future__ import annotations

from ckptd.cli.render.milestone_text import phases_in_words
from ckptd.control.messages.milestone_rows import PhaseRow, usable_after_s
from ckptd.limits import GIB


def row(name: str, complete_s: float | None = None, placed_s: float | None = None) -> PhaseRow:
    return PhaseRow(
        name=name,
        units=3,
        bytes_total=2 * GIB,
        bytes_left=0 if complete_s else GIB,
        complete_after_s=complete_s,
        placed_after_s=placed_s,
    )


def test_each_phase_is_said_as_far_as_it_is() -> None:
    phases = (row("core", 1.25, 1.5), row("serving", 2.0), row("rest"))
    assert phases_in_words(phases) == (
        "core usable after 1.5s; serving complete after 2.0s; rest 1 GiB of 2 GiB left"
    )
    assert usable_after_s(phases) == 1.5
    assert usable_after_s(()) is None


def test_one_phase_needs_no_words_and_many_are_not_all_said() -> None:
    assert not phases_in_words((row("all"),))
    assert not phases_in_words(())
    many = phases_in_words([row(f"p{number}", 1.0) for number in range(20)])
    assert many.endswith("p5 complete after 1.0s; 14 more")
