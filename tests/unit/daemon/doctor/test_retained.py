"""What is said of room that retention cannot make."""

from __future__ import annotations

from ckptd.daemon.doctor.retained import look_at_retention
from ckptd.daemon.retain.outcomes import RetentionSeen
from ckptd.limits import GIB
from ckptd.model.words import CheckResult, KeptBecause


async def findings(seen: RetentionSeen) -> list[tuple[str, CheckResult, str]]:
    rows = look_at_retention(lambda: seen)
    return [(row.subject, row.verdict, row.finding) async for row in rows]


async def test_nothing_is_said_where_nobody_asked_for_retention() -> None:
    assert await findings(RetentionSeen()) == []


async def test_room_that_cannot_be_made_is_named_with_what_keeps_versions() -> None:
    kept = {KeptBecause.NEWEST: 3, KeptBecause.COPIES: 5, KeptBecause.READ: 1}
    seen = RetentionSeen(is_on=True, kept=kept, short_bytes={"main": 2 * GIB})
    short = "2 GiB are short of [retention] min_free, and nothing more may go"
    beside = "kept beside the rules: copies 5, read 1 (some of that passes)"
    assert await findings(seen) == [("root main", CheckResult.WARN, f"{short}; {beside}")]


async def test_enough_room_asks_for_nothing() -> None:
    seen = RetentionSeen(is_on=True, kept={KeptBecause.NEWEST: 3})
    assert await findings(seen) == [("versions here", CheckResult.OK, "have room")]
