from __future__ import annotations

import pytest

from ckptd.control.messages.observation import Verdict
from ckptd.daemon.doctor.findings import judge_certificate

NOW_S = 1_700_000_000.0
DAY_S = 86_400


@pytest.mark.parametrize("role", ["node", "ca"])
@pytest.mark.parametrize(
    ("days_left", "verdict", "finding"),
    [
        (365, Verdict.OK, "expires in 365.0 days"),
        (30.1, Verdict.OK, "expires in 30.1 days"),
        (30, Verdict.WARN, "expires in 30.0 days"),
        (0.1, Verdict.WARN, "expires in 0.1 days"),
        (0, Verdict.FAIL, "expired 0.0 days ago"),
        (-3, Verdict.FAIL, "expired 3.0 days ago"),
    ],
)
def test_a_certificate_is_judged_by_the_days_it_has_left(
    role: str, days_left: float, verdict: Verdict, finding: str
) -> None:
    row = judge_certificate(role, NOW_S + days_left * DAY_S, now_s=NOW_S)
    assert (row.subject, row.verdict, row.finding) == (role, verdict, finding)
    assert bool(row.remedy) == (verdict is not Verdict.OK)
    assert ("renew" in row.remedy) == (role == "node" and verdict is not Verdict.OK)
