"""What failed is left alone, twice as long each time."""

from __future__ import annotations

from ckptd.daemon.copying.pauses import Pauses
from ckptd.limits import SECOND


def test_the_pause_doubles_up_to_a_quarter_of_an_hour() -> None:
    pauses: Pauses[str] = Pauses()
    found = [pauses.note_failure("a", now=0) // SECOND for _ in range(12)]
    assert found == [5, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900, 900]
    assert pauses.failures("a") == 12
    assert not pauses.is_paused("b", now=0)


def test_it_is_over_at_its_end_and_a_success_forgets_it() -> None:
    pauses: Pauses[str] = Pauses()
    pauses.note_failure("a", now=100)
    assert pauses.is_paused("a", now=100 + 5 * SECOND - 1)
    assert not pauses.is_paused("a", now=100 + 5 * SECOND)
    pauses.forget("a")
    assert pauses.note_failure("a", now=0) == 5 * SECOND


def test_what_is_wanted_no_more_is_forgotten() -> None:
    pauses: Pauses[str] = Pauses()
    for key in ("a", "b"):
        pauses.note_failure(key, now=0)
    pauses.keep({"b"})
    assert [pauses.failures(key) for key in ("a", "b")] == [0, 1]
