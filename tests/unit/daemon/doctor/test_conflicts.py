"""What the doctor says of versions with several contents."""

from __future__ import annotations

from ckptd.core.peers.conflicts import Conflicts, find_conflicts
from ckptd.daemon.doctor.conflicts import judge_conflicts
from ckptd.model.ids import NodeId
from ckptd.model.words import CheckResult
from tests.support.scheduling import A, B, holding, saved


def test_without_a_conflict_all_is_well() -> None:
    [row] = judge_conflicts(Conflicts())
    assert (row.verdict, row.finding) == (CheckResult.OK, "have one content each")


def test_each_conflict_is_named_with_who_has_what() -> None:
    one, other = saved(1, version=7), saved(2, version=7)
    many = [(NodeId(f"n{index}"), [holding(other)]) for index in range(7)]
    [row] = judge_conflicts(find_conflicts([(A, [holding(one)]), *many], own=A))
    assert (row.verdict, row.subject) == (CheckResult.WARN, "llama/rank-0@7")
    assert row.finding == (
        f"has 2 contents: {other.digest[:12]} at n0, n1, n2, n3, n4 and 2 more; "
        f"{one.digest[:12]} at a"
    )
    assert "ckptctl withdraw" in row.remedy


def test_of_many_conflicts_ten_are_named() -> None:
    said = [
        (A, [holding(saved(1, version=number)) for number in range(12)]),
        (B, [holding(saved(2, version=number)) for number in range(12)]),
    ]
    *rows, rest = judge_conflicts(find_conflicts(said, own=A))
    assert len(rows) == 10
    assert (rest.subject, rest.finding) == ("2 more versions", "have several contents")
