from __future__ import annotations

import pytest

from ckptd.daemon.doctor.findings import judge_certificate
from ckptd.model.words import CheckResult

NOW_S = 1_700_000_000.0
DAY_S = 86_400


@pytest.mark.parametrize("role", ["node", "ca"])
@pytest.mark.parametrize(
    ("days_left", "verdict", "finding"),
    [
        (365, CheckResult.OK, "expires in 365.0 days"),
        (30.1, CheckResult.OK, "expires in 30.1 days"),
        (30, CheckResult.WARN, "expires in 30.0 days"),
        (0.1, CheckResult.WARN, "expires in 0.1 days"),
        (0, CheckResult.FAIL, "expired 0.0 days ago"),
        (-3, CheckResult.FAIL, "expired 3.0 days ago"),
    ],
)
def test_a_certificate_is_judged_by_the_days_it_has_left(
    role: str, days_left: float, verdict: CheckResult, finding: str
) -> None:
    row = judge_certificate(role, NOW_S + days_left * DAY_S, now_s=NOW_S)
    assert (row.subject, row.verdict, row.finding) == (role, verdict, finding)
    assert bool(row.remedy) == (verdict is not CheckResult.OK)
    assert ("renew" in row.remedy) == (role == "node" and verdict is not CheckResult.OK)


@pytest.mark.parametrize("role", ["node", "ca"])
def test_a_certificate_that_is_not_valid_yet_is_no_good_one(role: str) -> None:
    begin_s, end_s = NOW_S + 7200, NOW_S + 400 * DAY_S
    row = judge_certificate(role, end_s, begin_s, now_s=NOW_S)
    assert (row.verdict, row.finding) == (
        CheckResult.FAIL,
        "is not valid yet, for another 2h00m",
    )
    assert "clock" in row.remedy
    assert judge_certificate(role, end_s, begin_s, now_s=begin_s).verdict is CheckResult.OK
