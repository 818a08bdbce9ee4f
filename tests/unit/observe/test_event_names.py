from __future__ import annotations

from ckptd.observe.event_names import SUPPRESSED_NAMES_MAX, Suppression


def test_a_burst_is_written_and_then_so_many_a_second() -> None:
    suppression = Suppression(burst=3, per_s=0.5)
    assert [suppression.admit("a.b", now_s=10) for _ in range(5)] == [0, 0, 0, None, None]
    assert suppression.admit("a.b", now_s=11) is None
    assert suppression.total == 3
    assert suppression.admit("a.b", now_s=12) == 3
    assert suppression.admit("a.b", now_s=12) is None


def test_each_name_has_an_allowance_of_its_own() -> None:
    suppression = Suppression(burst=1, per_s=1)
    assert suppression.admit("a.b", now_s=0) == 0
    assert suppression.admit("a.b", now_s=0) is None
    assert suppression.admit("c.d", now_s=0) == 0


def test_a_quiet_time_earns_no_more_than_one_burst() -> None:
    suppression = Suppression(burst=2, per_s=1)
    assert suppression.admit("a.b", now_s=0) == 0
    assert [suppression.admit("a.b", now_s=1e6) for _ in range(3)] == [0, 0, None]


def test_names_that_somebody_makes_up_share_one_allowance_in_the_end() -> None:
    suppression = Suppression(burst=1, per_s=0)
    for number in range(SUPPRESSED_NAMES_MAX):
        assert suppression.admit(f"made.up{number}", now_s=0) == 0
    assert suppression.admit("one.more", now_s=0) == 0
    assert suppression.admit("and.another", now_s=0) is None
    assert len(suppression._allowances) <= SUPPRESSED_NAMES_MAX + 1
