from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.daemon.measure.loop_lag import (
    INTERVAL_NS,
    LAG_WINDOW_NS,
    REST_INTERVAL_NS,
    LagWindow,
    watch_loop_lag,
)
from ckptd.limits import MS, SECOND


def test_without_samples_there_is_no_lag() -> None:
    assert LagWindow().worst_ns(now=0) == 0


def test_the_worst_of_the_window_counts_and_is_forgotten_after_it() -> None:
    window = LagWindow()
    window.add(3 * MS, now=0)
    window.add(90 * MS, now=SECOND)
    window.add(5 * MS, now=2 * SECOND)
    assert window.worst_ns(now=LAG_WINDOW_NS) == 90 * MS
    assert window.worst_ns(now=LAG_WINDOW_NS + SECOND) == 5 * MS
    assert window.worst_ns(now=LAG_WINDOW_NS + 2 * SECOND) == 0


@given(st.lists(st.tuples(st.integers(0, 3 * SECOND), st.integers(0, 9)), max_size=50))
def test_the_window_agrees_with_a_list_of_everything(steps: list[tuple[int, int]]) -> None:
    window, noted, now = LagWindow(), list[tuple[int, int]](), 0
    for step_ns, lag_ns in steps:
        now += step_ns
        window.add(lag_ns, now=now)
        noted.append((now, lag_ns))
        within = [lag for moment, lag in noted if moment > now - LAG_WINDOW_NS]
        assert window.worst_ns(now=now) == max(within)


class Overslept(Exception):
    """Ends the watch."""


async def test_what_a_sleep_takes_too_long_is_the_lag() -> None:
    now = 0
    overshoots = iter([0, 40 * MS, -MS, 7 * MS])

    async def sleep(delay_s: float) -> None:
        nonlocal now
        assert delay_s == 0.05
        try:
            now += INTERVAL_NS + next(overshoots)
        except StopIteration:
            raise Overslept from None

    window = LagWindow()
    with pytest.raises(Overslept):
        await watch_loop_lag(window, clock=lambda: now, used=lambda: now, sleep=sleep)
    assert window.worst_ns(now=now) == 40 * MS
    assert window.worst_ns(now=2 * INTERVAL_NS + 40 * MS + LAG_WINDOW_NS) == 7 * MS
    seen = dict(zip((*window.lags.bounds_s, None), window.lags.counts, strict=True))
    assert {bound: count for bound, count in seen.items() if count} == {0.001: 2, 0.01: 1, 0.05: 1}


async def test_a_daemon_at_rest_is_looked_at_less_often_until_it_works() -> None:
    now = used = 0
    shares = iter([0.001] * 42 + [0.3, 0.001])
    slept_ns: list[int] = []

    async def sleep(delay_s: float) -> None:
        nonlocal now, used
        step_ns = round(delay_s * SECOND)
        slept_ns.append(step_ns)
        now += step_ns
        try:
            used += round(step_ns * next(shares))
        except StopIteration:
            raise Overslept from None

    window = LagWindow()
    with pytest.raises(Overslept):
        await watch_loop_lag(window, clock=lambda: now, used=lambda: used, sleep=sleep)
    assert slept_ns == [INTERVAL_NS] * 40 + [REST_INTERVAL_NS] * 3 + [INTERVAL_NS] * 2


async def test_what_blocks_at_rest_is_seen() -> None:
    now = 0
    overshoots = iter([0] * 41 + [900 * MS])

    async def sleep(delay_s: float) -> None:
        nonlocal now
        try:
            now += round(delay_s * SECOND) + next(overshoots)
        except StopIteration:
            raise Overslept from None

    window = LagWindow()
    with pytest.raises(Overslept):
        await watch_loop_lag(window, clock=lambda: now, used=lambda: 0, sleep=sleep)
    assert window.worst_ns(now=now) == 900 * MS
