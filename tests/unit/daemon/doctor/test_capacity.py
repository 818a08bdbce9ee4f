from __future__ import annotations

import pytest

from ckptd.daemon.doctor.capacity import judge_catalog
from ckptd.limits import HOLDINGS_MAX
from ckptd.model.words import CheckResult


@pytest.mark.parametrize(
    ("versions", "verdict", "finding"),
    [
        (0, CheckResult.OK, "has 0 of 10,000 versions"),
        (8_000, CheckResult.OK, "has 8,000 of 10,000 versions"),
        (8_001, CheckResult.WARN, "has 8,001 of 10,000 versions"),
        (HOLDINGS_MAX - 1, CheckResult.WARN, "has 9,999 of 10,000 versions"),
        (HOLDINGS_MAX, CheckResult.FAIL, "is full: has 10,000 of 10,000 versions"),
    ],
)
def test_a_catalog_is_judged_by_the_room_that_is_left(
    versions: int, verdict: CheckResult, finding: str
) -> None:
    row = judge_catalog(versions)
    assert (row.check, row.verdict, row.finding) == ("catalog", verdict, finding)
    assert ("ckptctl forget" in row.remedy) == (verdict is not CheckResult.OK)
