"""What is said of peers that did not show what they claim."""

from __future__ import annotations

from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.audit.audits_seen import AuditsSeen
from ckptd.daemon.audit.proofs import FalseClaim
from ckptd.daemon.doctor.audited import look_at_audits
from ckptd.model.ids import Digest, Origin
from ckptd.model.words import CheckResult


async def rows(*false_claims: FalseClaim, **claims: int) -> list[CheckRow]:
    seen = AuditsSeen({}, claims, None, false_claims)
    return [row async for row in look_at_audits(lambda: seen)]


def false_claim(origin: str, version: int, age_s: float) -> FalseClaim:
    return FalseClaim(Origin(origin), Digest(f"{version:064x}"), age_s)


async def test_without_audits_nothing_is_said() -> None:
    assert await rows() == []
    assert await rows(unproven=3) == []


async def test_copies_that_were_shown_are_fine() -> None:
    [row] = await rows(proven=5, unproven=2)
    assert (row.verdict, row.finding) == (
        CheckResult.OK,
        "5 were shown within a day, 2 will be asked",
    )


async def test_who_did_not_show_what_it_claims_is_named_the_worst_first() -> None:
    found = await rows(
        false_claim("b", 1, 30.0), false_claim("c", 2, 60.0), false_claim("c", 3, 90.0), proven=5
    )
    assert [(row.subject, row.verdict) for row in found] == [
        ("c", CheckResult.WARN),
        ("b", CheckResult.WARN),
    ]
    assert found[0].finding.startswith("claims 2 versions")
    assert "last 1m" in found[0].finding
    assert found[1].finding.startswith("claims a version")


async def test_many_are_counted() -> None:
    found = await rows(*(false_claim(f"n{number}", number, 1.0) for number in range(13)))
    assert len(found) == 11
    assert found[-1].subject == "3 more peers"
