"""How fast peers deliver, over restarts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.limits import PEERS_MAX
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import RateOrigin
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.link_records import LinkRecord, LinkRecords

NEAR = LinkRecord(NodeId("near"), 9e8, 0.002, 1000.0, RateOrigin.RECOVERY)
FAR = LinkRecord(NodeId("far"), 5e6, None, 900.0, RateOrigin.DOCTOR, moment=BootMoment("b", -7))


async def test_rates_are_found_again_after_a_restart_oldest_first(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    await LinkRecords(database).write([NEAR, FAR])
    await database.close()
    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    try:
        assert await LinkRecords(database).load() == [FAR, NEAR]
    finally:
        await database.close()


async def test_a_new_rate_replaces_the_one_before(database: Database) -> None:
    records, newer = LinkRecords(database), NEAR._replace(rate_bytes_per_s=1.0, measured_at_s=2e3)
    await records.write([NEAR])
    await records.write([newer])
    assert await records.load() == [newer]


async def test_the_rates_that_were_measured_first_make_room(database: Database) -> None:
    records = LinkRecords(database)
    await records.write(
        NEAR._replace(path=NodeId(f"n{index}"), measured_at_s=float(index))
        for index in range(PEERS_MAX + 2)
    )
    kept = await records.load()
    assert [len(kept), kept[0].path, kept[-1].path] == [PEERS_MAX, "n2", f"n{PEERS_MAX + 1}"]


@pytest.mark.parametrize(
    "row",
    [
        ("../x", 1.0, None, 1.0, "recovery", ""),
        ("a", 0.0, None, 1.0, "recovery", ""),
        ("a", -1.0, None, 1.0, "recovery", ""),
        ("a", float("inf"), None, 1.0, "recovery", ""),
        ("a", 1.0, -1.0, 1.0, "recovery", ""),
        ("a", 1.0, None, -1.0, "recovery", ""),
        ("a", 1.0, None, 1.0, "somebody", ""),
        ("a via x:1", 1.0, None, 1.0, "recovery", ""),
        ("a via x:1", 1.0, None, 1.0, "recovery", "y:1"),
    ],
)
async def test_a_row_that_makes_no_sense_is_left_out(
    database: Database, row: tuple[object, ...]
) -> None:
    records = LinkRecords(database)
    await records.write([NEAR])
    await database.run(
        lambda connection: connection.execute(
            "INSERT INTO links (node, rate_bytes_per_s, latency_s, measured_at_s, origin, address)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            row,
        )
    )
    assert await records.load() == [NEAR]


async def test_paths_to_one_node_have_rates_of_their_own(database: Database) -> None:
    first = NEAR._replace(address="near@x:1")
    further = FAR._replace(path=PathId("near via y:1"), address="y:1")
    await LinkRecords(database).write([first, further])
    assert await LinkRecords(database).load() == [further, first]
    assert {record.node for record in (first, further)} == {"near"}
