from __future__ import annotations

import time

import pytest

from ckptd.daemon.doctor.clocks import Clock
from ckptd.model.words import CheckResult


@pytest.mark.parametrize(
    ("set_by_s", "verdict"),
    [(0, CheckResult.OK), (4, CheckResult.OK), (-3600, CheckResult.WARN), (9e8, CheckResult.WARN)],
)
def test_a_wall_clock_that_was_set_is_reported(set_by_s: float, verdict: CheckResult) -> None:
    ahead_s = 1_700_000_000.0
    clock = Clock(lambda: time.monotonic() + ahead_s)
    ahead_s += set_by_s
    assert clock.judge().verdict is verdict
