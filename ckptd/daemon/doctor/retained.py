"""Says whether the rules of ``[retention]`` keep as much room as they ask for."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.daemon.retain.outcomes import RetentionSeen
from ckptd.model.quantities import format_size
from ckptd.model.words import KeptBecause

_PASSING = (
    KeptBecause.READ,
    KeptBecause.RECOVERED_HERE,
    KeptBecause.RECOVERED_ELSEWHERE,
    KeptBecause.UNSEEN,
)
_RULES = (KeptBecause.NEWEST, KeptBecause.EVERY, KeptBecause.ROOM)


async def look_at_retention(
    seen: Callable[[], RetentionSeen],
) -> AsyncGenerator[CheckRow, None]:
    """Yield what is short of ``min_free`` on which disk, and what keeps versions there.

    Args:
        seen: Returns what retention saw last.
    """
    found = seen()
    if not found.is_on:
        return
    for root, short_bytes in sorted(found.short_bytes.items()):
        yield warned(
            "retention",
            f"root {root}",
            f"{format_size(short_bytes)} are short of [retention] min_free, and nothing more may "
            f"go{_what_keeps(found)}",
            "'ckptctl gc --dry-run' says why each version stays. Let more go in [retention], or "
            "give the disk more room.",
        )
    if not found.short_bytes:
        yield passed("retention", "versions here", f"have room{_what_keeps(found)}")


def _what_keeps(found: RetentionSeen) -> str:
    """Say what keeps versions beside the rules, the most frequent first."""
    others = [(count, why) for why, count in found.kept.items() if why not in _RULES]
    if not others:
        return ""
    named = ", ".join(f"{why.value} {count}" for count, why in sorted(others, reverse=True))
    soon = " (some of that passes)" if any(why in _PASSING for _, why in others) else ""
    return f"; kept beside the rules: {named}{soon}"
