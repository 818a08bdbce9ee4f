"""What came of audits is known after a restart, and there is never too much of it."""

from __future__ import annotations

from ckptd.model.ids import Digest, Origin
from ckptd.store.records.audit_records import AuditRecord, AuditRecords
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database


def audited(origin: str, at_s: float, *, is_right: bool = True) -> AuditRecord:
    moment = BootMoment("boot", int(at_s))
    return AuditRecord(Origin(origin), Digest("ab" * 32), 8, is_right, at_s, moment)


async def test_the_last_audit_of_each_claim_is_kept(database: Database) -> None:
    records = AuditRecords(database)
    wrong = audited("a", 3.0, is_right=False)
    await records.write([audited("a", 1.0), audited("b", 2.0)], not_before_s=0)
    await records.write([wrong], not_before_s=0)
    assert await AuditRecords(database).load() == [audited("b", 2.0), wrong]


async def test_old_ones_are_removed_and_the_oldest_of_too_many(database: Database) -> None:
    records = AuditRecords(database, rows_max=2)
    young = [audited(name, at_s) for name, at_s in (("c", 12.0), ("b", 13.0), ("a", 14.0))]
    await records.write([audited("d", 9.0), *young], not_before_s=10.0)
    assert await records.load() == young[1:]
