from __future__ import annotations

from ckptd.daemon.doctor.ownership import judge_owner
from ckptd.model.words import CheckResult
from ckptd.store.trees.ownership import Owner


def test_recoveries_that_could_not_end_are_told_with_what_to_do() -> None:
    row = judge_owner(Owner(64002), "may not")
    assert (row.verdict, row.finding) == (CheckResult.FAIL, "may not")
    assert "CAP_CHOWN" in row.remedy


def test_whose_everything_becomes_is_said() -> None:
    assert judge_owner(Owner(64002), "").finding == "become uid 64002's, with the daemon's group"
    assert judge_owner(Owner(None, 7), "").finding == "become the daemon's user's, with gid 7"
