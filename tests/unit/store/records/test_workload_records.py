"""What was measured of versions, over restarts."""

from __future__ import annotations

from dataclasses import replace

from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.workload import VERSIONS_MAX, SavedVersion
from ckptd.store.records.database import Database
from ckptd.store.records.workload_records import WorkloadRecords

LAST = Version(2**63 - 1)
A, B = CheckpointName("a"), CheckpointName("b/shard-0-of-2")
SEEN = SavedVersion(A, Version(1), 5.0, saved_at_s=4.5)
FULL = SavedVersion(B, LAST, 4.0, "ab" * 32, 3.5, 2**40, 2**39, 12.5, 1.5, 6.5, 7.5)


async def test_what_is_kept_is_found_in_the_order_in_which_it_was_noted(database: Database) -> None:
    records = WorkloadRecords(database)
    assert await records.load() == []
    await records.write([SEEN, FULL], [])
    assert await records.load() == [FULL, SEEN]
    published = replace(SEEN, noted_at_s=6.0, digest="cd" * 32, hashed_s=0.25)
    await records.write([published], [(B, LAST), (A, Version(2))])
    assert await records.load() == [published]


async def test_no_more_is_read_than_counts_and_the_latest_first(database: Database) -> None:
    count = CHECKPOINTS_WATCHED_MAX * VERSIONS_MAX
    records = WorkloadRecords(database)
    await records.write(
        (SavedVersion(A, Version(number), float(number)) for number in range(count + 3)), []
    )
    found = await records.load()
    assert (len(found), found[0].version, found[-1].version) == (count, 3, count + 2)


async def test_what_no_ckptd_wrote_is_passed_over(database: Database) -> None:
    records = WorkloadRecords(database)
    await records.write([FULL, SEEN], [])
    wrong = [("bad name\n", 1, 1, 1.0), ("c", -1, 1, 1.0), ("d", 1, -1, 1.0), ("e", 1, 1, 9e999)]
    await database.run(
        lambda connection: connection.executemany(
            "INSERT INTO workload (checkpoint, version, noted_at_s, digest, size_bytes, hashed_s,"
            " paced_s) VALUES (?, ?, 1.0, '', ?, ?, 0.0)",
            wrong,
        )
    )
    assert await records.load() == [FULL, SEEN]
