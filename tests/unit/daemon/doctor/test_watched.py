"""Whether what happens to files on offer is noticed."""

from ckptd.daemon.doctor.watched import judge_appeared
from ckptd.daemon.keep.keeping import Keep


def test_what_came_after_publishing_is_a_warning_with_what_to_do() -> None:
    assert not list(judge_appeared(Keep(1, 0, "", 0, 0, None)))
    [row] = judge_appeared(Keep(1, 0, "", 0, 0, None, appeared=("/data/v1/.metadata",)))
    assert (row.verdict, row.subject) == ("warn", "/data/v1/.metadata")
    assert "is no part of that version" in row.finding
    assert "publish the directory again" in row.remedy
