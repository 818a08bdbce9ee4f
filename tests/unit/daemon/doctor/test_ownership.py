from __future__ import annotations

import os

from ckptd.daemon.doctor.ownership import judge_owner, look_at_owners
from ckptd.model.words import CheckResult
from ckptd.store.trees.ownership import Owner


def test_recoveries_that_could_not_end_are_told_with_what_to_do() -> None:
    row = judge_owner(Owner(64002), "may not")
    assert (row.verdict, row.finding) == (CheckResult.FAIL, "may not")
    assert "CAP_CHOWN" in row.remedy


def test_whose_everything_becomes_is_said() -> None:
    assert judge_owner(Owner(64002), "").finding == "become uid 64002's, with the daemon's group"
    assert judge_owner(Owner(None, 7), "").finding == "become the daemon's user's, with gid 7"


async def test_each_owner_is_tried_once_and_roots_are_named_where_they_differ() -> None:
    own = Owner(os.geteuid(), os.getegid())
    rows = [row.subject async for row in look_at_owners({"a": own, "b": own, "c": None})]
    assert rows == ["recovered files in a, b"]
    assert [row.subject async for row in look_at_owners({"a": own})] == ["recovered files"]
    assert not [row async for row in look_at_owners({"a": None})]
