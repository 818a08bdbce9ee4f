"""Pauses between questions to one address, and between look-ups of a name."""

from random import Random

import pytest

from ckptd.core.peers import pauses as pauses_module
from ckptd.core.peers.pauses import (
    after_answer_ns,
    back_off_ns,
    look_up_pause_ns,
    spread_ns,
    wait_ns,
)
from ckptd.limits import MS, SECOND


def test_pauses_after_failures_are_doubled_up_to_three_seconds() -> None:
    assert [back_off_ns(failures) // MS for failures in (0, 1, 2, 3, 4, 99)] == [
        250, 500, 1000, 2000, 3000, 3000,
    ]  # fmt: skip


def test_few_dead_are_asked_as_often_as_one() -> None:
    assert back_off_ns(99, dead=120) == 3 * SECOND


@pytest.mark.parametrize("dead", [200, 990, 4096])
def test_many_dead_are_asked_so_seldom_that_it_costs_little(dead: int) -> None:
    first_ns, last_ns = back_off_ns(0, dead), back_off_ns(99, dead)
    assert last_ns <= 25 * SECOND, "one that returns and tells nobody is found within 30 s"
    assert last_ns == 25 * SECOND or dead * SECOND / last_ns <= 40
    assert first_ns >= last_ns / 7, "nor is there a flood when all are lost at once"


def test_a_name_that_changes_is_followed_within_a_minute() -> None:
    usual_ns = look_up_pause_ns(0)
    assert usual_ns + look_up_pause_ns(0, is_missing=True) < 55 * SECOND
    assert look_up_pause_ns(1) == 250 * MS
    assert look_up_pause_ns(99, is_missing=True) == 3 * SECOND
    assert look_up_pause_ns(99, dead=1000) == 25 * SECOND


def test_a_pause_is_spread_between_half_of_it_and_all_of_it() -> None:
    pauses = [spread_ns(SECOND, Random(seed)) for seed in range(200)]
    assert SECOND / 2 <= min(pauses) < 0.55 * SECOND
    assert 0.95 * SECOND < max(pauses) <= SECOND


@pytest.mark.parametrize(("failures", "doublings"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_pauses_are_doubled_ten_times_at_most(
    monkeypatch: pytest.MonkeyPatch, failures: int, doublings: int
) -> None:
    monkeypatch.setattr(pauses_module, "_BACK_OFF_MAX_NS", 1 << 60)
    assert back_off_ns(failures) == 250 * MS << doublings


def test_with_many_peers_answers_are_spread_over_longer_pauses() -> None:
    assert [after_answer_ns(count) // MS for count in (0, 20, 21, 64)] == [50, 50, 52, 160]


def test_with_many_peers_questions_are_kept_open_longer() -> None:
    waits_s = [wait_ns(count) // SECOND for count in (0, 1, 10, 20, 60, 64)]
    assert waits_s == [10, 10, 10, 20, 60, 60]
