"""Says which peers did not show what they claim to have."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Final

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.audit.audits_seen import AuditsSeen
from ckptd.daemon.doctor.rows import passed, warned
from ckptd.model.quantities import format_duration

_NAMED_MAX: Final = 10


async def look_at_audits(seen: Callable[[], AuditsSeen]) -> AsyncGenerator[CheckRow, None]:
    """Yield who did not show what it claims, the one with most such versions first.

    Args:
        seen: Returns what audits came to.
    """
    found = seen()
    counts = Counter(each.origin for each in found.false_claims)
    for origin, count in counts.most_common(_NAMED_MAX):
        age_s = min(each.age_s for each in found.false_claims if each.origin == origin)
        versions = "a version" if count == 1 else f"{count} versions"
        yield warned(
            "audit",
            origin,
            f"claims {versions}, and what it sent of it was wrong or nothing, last "
            f"{format_duration(age_s)} ago: such copies do not count",
            "Run 'ckptctl doctor' and 'ckptctl verify' there; 'ckptctl events' here says which.",
        )
    if len(counts) > _NAMED_MAX:
        yield warned(
            "audit",
            f"{len(counts) - _NAMED_MAX} more peers",
            "have not what they claim",
            "'ckptctl events' names them.",
        )
    proven = found.claims.get("proven", 0)
    if proven and not counts:
        rest = sum(found.claims.values()) - proven
        more = f", {rest} will be asked" if rest else ""
        yield passed("audit", "copies of peers", f"{proven} were shown within a day{more}")
