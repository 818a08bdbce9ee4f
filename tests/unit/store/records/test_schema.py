"""What an older ckptd left in its state directory is found by this one, as it was."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import zstandard

from ckptd.errors import DamagedState
from ckptd.model.blocks import BlockSet
from ckptd.model.encoded.decoding import decode_manifest
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.words import PlaceState, Result
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Reading, hash_again
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal, JournaledRecovery
from ckptd.store.records.schema import _STEPS, SCHEMA_VERSION, Connection, bring_up_to_date
from ckptd.store.records.signature_records import SignatureShelf
from tests.support.old_states import (
    EXPECTED,
    EXPECTED_0D100DF,
    STOOD_IN_0D100DF,
    state_of_0d100df,
    state_of_96a4e59,
)
from tests.support.stores import write_files

NEW_TABLES = {
    "milestones",
    "versions",
    "recoveries",
    "verified",
    "ended",
    "signatures",
    "newest",
    "links",
    "successes",
    "first_heard",
    "places",
    "kept",
    "attributes",
    "elapsed",
    "manifest_pieces",
    "members",
    "passed",
    "active",
    "placed_jobs",
    "placed_units",
    "leases",
    "removals",
    "configured_recoveries",
    "audits",
    "workload",
}


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    database = Database(str(path))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def tables(connection: Connection) -> set[str]:
    rows = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    )
    return {name for (name,) in rows}


def schema_of(connection: Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    with contextlib.closing(sqlite3.connect(tmp_path / "some.db", isolation_level=None)) as made:
        yield made


REPORT = {
    "type": "result", "recovery": "r", "checkpoint": "llama", "version": 7, "digest": "aa",
    "result": "complete", "is_degraded": False, "missing_units": [], "cause": None, "message": "",
    "target": "/d", "bytes_total": 5, "bytes_received": 4, "bytes_resumed": 3, "bytes_wasted": 2,
    "duration_s": 1.5, "time_to_critical_s": 0.5, "sources": [{"node": "n", "bytes": 4}],
}  # fmt: skip
"""Without the fields that have a default."""


def make_schema_3(connection: Connection, *reports: bytes) -> None:
    for step in _STEPS[:3]:
        assert isinstance(step, str)
        connection.executescript(step)
    for report in reports:
        connection.execute("INSERT INTO reports (report) VALUES (?)", (report,))
    connection.execute("PRAGMA user_version = 3")


def test_a_new_database_gets_all_tables(connection: Connection) -> None:
    bring_up_to_date(connection, 0)
    assert (tables(connection), schema_of(connection)) == (NEW_TABLES, SCHEMA_VERSION)
    assert not connection.in_transaction


async def test_a_report_becomes_a_record(tmp_path: Path) -> None:
    path = tmp_path / "ckptd.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        make_schema_3(connection, b"not kept", json.dumps(REPORT).encode())
        connection.execute("DELETE FROM reports WHERE number = 1")
    async with opened(path) as database:
        (record,) = await Journal(database).ended()
        numbers = await database.run(
            lambda connection: connection.execute("SELECT number, format FROM ended").fetchall()
        )
    assert numbers == [(2, 2)]
    assert (record.recovery, record.result, record.version) == ("r", Result.COMPLETE, 7)
    assert (record.total_bytes, record.received_bytes) == (5, 4)
    assert (record.resumed_bytes, record.wasted_bytes) == (3, 2)
    assert (record.duration_s, record.critical_s) == (1.5, 0.5)
    assert (record.predicted_duration_s, record.predicted_critical_s) == (None, None)
    assert [(share.node, share.verified_bytes) for share in record.sources] == [("n", 4)]
    assert (record.wasted_bytes_by_reason, record.happenings) == ({}, {})


@pytest.mark.parametrize(
    ("is_degraded", "before", "after"),
    [
        (True, "complete", Result.PARTIAL),
        (False, "complete", Result.COMPLETE),
        (False, "failed", Result.FAILED),
    ],
)
async def test_a_complete_recovery_without_units_becomes_a_partial_one(
    tmp_path: Path, is_degraded: bool, before: str, after: Result
) -> None:
    path = tmp_path / "ckptd.db"
    report = json.dumps(REPORT | {"is_degraded": is_degraded, "result": before}).encode()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        make_schema_3(connection, report)
    async with opened(path) as database:
        (record,) = await Journal(database).ended()
    assert (record.result, record.is_degraded) == (after, is_degraded)
    assert record.placed_bytes == {"partial": 5, "complete": 5, "failed": 0}[after]


def test_a_damaged_record_stays_as_it_is(connection: Connection) -> None:
    make_schema_3(connection, json.dumps(REPORT).encode())
    for step in _STEPS[3:4]:
        assert callable(step)
        step(connection)
    connection.execute("INSERT INTO ended VALUES (7, 1, ?)", (b"{",))
    connection.execute("PRAGMA user_version = 4")
    bring_up_to_date(connection, 4)
    found = connection.execute("SELECT number, format FROM ended").fetchall()
    assert found == [(1, 2), (7, 1)]


@pytest.mark.parametrize("report", [b"", b"{}", json.dumps(REPORT | {"version": "x"}).encode()])
def test_a_damaged_report_is_named_and_nothing_is_changed(
    connection: Connection, report: bytes
) -> None:
    make_schema_3(connection, json.dumps(REPORT).encode(), report)
    before = list(connection.iterdump())
    with pytest.raises(DamagedState, match=r"report 2 of an ended recovery .* is damaged: "):
        bring_up_to_date(connection, 3)
    assert list(connection.iterdump()) == before
    assert schema_of(connection) == 3


async def test_an_older_database_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ckptd.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{_STEPS[0]} PRAGMA user_version = 1;")
        for digest, version in (("aa", 7), ("bb", 9)):
            connection.execute(
                "INSERT INTO versions VALUES (?, 'llama', ?, 'data', 'd', 1, 0, 0, x'', x'')",
                (digest, version),
            )
        connection.execute(
            "INSERT INTO recoveries VALUES ('r', 'c', 1, NULL, 'data', 't', NULL, 0, 1.0, NULL)"
        )
        connection.commit()
    for _ in range(2):
        async with opened(path) as database:
            kept = await Journal(database).unfinished()
            assert [(entry.recovery, entry.is_background) for entry in kept] == [("r", False)]
            rows = await database.run(
                lambda connection: connection.execute("SELECT * FROM newest").fetchall()
            )
        assert rows == [("llama", 9, None)]


class TestStateOf96a4e59:
    """Real daemons of that commit left it: the receiver was killed in the middle of recoveries."""

    @pytest.fixture
    async def database(self, tmp_path: Path) -> AsyncIterator[Database]:
        async with opened(state_of_96a4e59(tmp_path)) as database:
            yield database

    async def test_it_has_this_schema_now(self, database: Database) -> None:
        assert await database.run(schema_of) == SCHEMA_VERSION
        assert await database.run(tables) == NEW_TABLES

    async def test_recoveries_go_on_from_where_they_were(self, database: Database) -> None:
        journal = Journal(database)
        found = await journal.unfinished()
        assert [each.checkpoint for each in found] == ["qwen/rank-7", "qwen/rank-0", "llama/rank-3"]
        for record, expected in zip(found, EXPECTED["unfinished"], strict=True):
            blocks = BlockSet(tuple(run) for run in expected["blocks"])
            names = expected.keys() & set(JournaledRecovery.__slots__)  # more have come since
            fields = {name: expected[name] for name in names} | {"is_name_awaited": True}
            assert record == JournaledRecovery(**fields)
            assert await journal.blocks(record.recovery) == blocks
            manifest = await journal.manifest(record.recovery)
            assert len(manifest or b"") == expected["manifest_bytes"]
            if manifest is not None:
                decoded = decode_manifest(manifest)
                assert (decoded.checkpoint, decoded.version) == (record.checkpoint, record.version)

    async def test_one_of_them_was_half_way(self, database: Database) -> None:
        *_, running = await Journal(database).unfinished()
        assert 4 <= len(await Journal(database).blocks(running.recovery)) < 13

    async def test_ended_recoveries_are_remembered(self, database: Database) -> None:
        found = await Journal(database).ended()
        assert [record.result.value for record in found] == ["cancelled", "failed", "complete"]
        for record, report in zip(found, EXPECTED["reports"], strict=True):
            for name in ("recovery", "checkpoint", "version", "digest", "target", "message"):
                assert getattr(record, name) == report[name]
            for name in ("total", "received", "resumed", "wasted"):
                assert getattr(record, f"{name}_bytes") == report[f"bytes_{name}"]
            assert [(s.node, s.verified_bytes) for s in record.sources] == [
                (share["node"], share["bytes"]) for share in report["sources"]
            ]
            assert record.happenings == report["happenings"]

    async def test_catalog_and_newest_marks_are_as_they_were(
        self, database: Database, tmp_path: Path
    ) -> None:
        root = Root.open("main", str(tmp_path))
        catalog = Catalog(database, Roots([root]))
        await catalog.load()
        held = catalog.versions()
        assert [
            [
                each.holding.checkpoint,
                each.holding.version,
                each.holding.digest,
                each.main.root,
                each.main.directory,
                int(each.main.is_published),
                each.holding.size_bytes,
                each.holding.block_count,
            ]
            for each in held
        ] == [row[:-1] for row in EXPECTED["versions"]]
        files = await database.run(
            lambda connection: connection.execute(
                "SELECT hex(files) FROM places JOIN versions USING (digest)"
                " ORDER BY checkpoint, version"
            ).fetchall()
        )
        assert [row[0] for row in files] == [row[-1] for row in EXPECTED["versions"]]
        for each in held:
            (place,) = each.places
            assert len(place.blocks) == each.holding.block_count
            assert place.reason.endswith("was removed")  # its files are not in the fixture
            assert (place.added_at_s, place.checked_at_s) == (0, 0)
            decode_manifest(await catalog.manifest_bytes(each.holding.digest))
        for checkpoint, version in EXPECTED["newest"].items():
            assert catalog.newest_ever(CheckpointName(checkpoint)) == Version(version)
        root.close()

    async def test_signatures_are_as_they_were(self, database: Database) -> None:
        shelf = SignatureShelf(database)
        for digest, signatures in EXPECTED["signatures"].items():
            found = await shelf.find(Digest(digest))
            assert [[each.key, each.value.hex()] for each in found] == signatures


class TestStateOf0d100df:
    """Each version stood in one directory, and its row said in which."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Iterator[Root]:
        for directory, contents in STOOD_IN_0D100DF.items():
            write_files(tmp_path / "root" / directory, contents)
        opened = Root.open("main", str(tmp_path / "root"))
        yield opened
        opened.close()

    @asynccontextmanager
    async def catalog(self, path: Path, root: Root) -> AsyncIterator[Catalog]:
        async with opened(path) as database:
            catalog = Catalog(database, Roots([root]))
            await catalog.load()
            yield catalog

    async def test_each_version_stands_at_one_place_and_what_looks_the_same_is_on_offer(
        self, tmp_path: Path, root: Root
    ) -> None:
        path = state_of_0d100df(tmp_path)
        self.record_fingerprints(path, root)
        async with self.catalog(path, root) as catalog:
            held = catalog.versions()
        assert [
            [
                each.holding.checkpoint,
                each.holding.version,
                each.holding.digest,
                place.root,
                place.directory,
                int(place.is_published),
                each.holding.size_bytes,
                each.holding.block_count,
            ]
            for each in held
            for place in each.places
        ] == [row[:8] for row in EXPECTED_0D100DF["versions"]]
        states = {each.main.directory: each.main.state for each in held}
        assert states == {
            "llama/rank-3/100": PlaceState.HERE,
            "llama/rank-3/150": PlaceState.PARTIAL,
            "eval/7": PlaceState.HERE,
            "eval/9": PlaceState.HERE,
        }
        assert all(each.is_offered for each in held)
        assert {each.main.added_at_s for each in held} == {0.0}

    async def test_what_looks_different_is_suspect_and_comes_back(
        self, tmp_path: Path, root: Root
    ) -> None:
        async with self.catalog(state_of_0d100df(tmp_path), root) as catalog:
            for held in catalog.versions():
                (place,) = held.places
                assert place.state is PlaceState.SUSPECT
                hashed = await catalog.hashed(place.number)
                checked = hash_again(root, hashed, place.suspect, Reading())
                await catalog.settle(place.number, checked.files, checked.changed)
            assert {each.main.state for each in catalog.versions()} == {
                PlaceState.HERE,
                PlaceState.PARTIAL,
            }

    async def test_recoveries_go_on_from_where_they_were(self, tmp_path: Path) -> None:
        async with opened(state_of_0d100df(tmp_path)) as database:
            journal = Journal(database)
            found = await journal.unfinished()
            blocks = {each.recovery: await journal.blocks(each.recovery) for each in found}
            ended = await journal.ended()
        for record, expected in zip(found, EXPECTED_0D100DF["unfinished"], strict=True):
            known = (
                record.recovery,
                record.checkpoint,
                record.version,
                record.digest,
                record.root,
                record.target,
                record.patience_ns,
                record.is_paused,
                record.started_at_s,
                record.is_background,
            )
            assert known == tuple(expected[:10])
        for recovery, start, end in EXPECTED_0D100DF["verified"]:
            assert BlockSet([(start, end)]).issubset(blocks[recovery])
        assert [each.recovery for each in reversed(ended)] == [
            record["recovery"] for record in EXPECTED_0D100DF["ended"]
        ]

    def record_fingerprints(self, path: Path, root: Root) -> None:
        """Have the old database know the files that were put where they stood."""
        with contextlib.closing(sqlite3.connect(path)) as connection:
            for digest, directory, packed, manifest in connection.execute(
                "SELECT digest, directory, files, manifest FROM versions"
            ).fetchall():
                units = decode_manifest(zstandard.decompress(manifest)).units
                before = msgspec.msgpack.decode(packed, type=tuple[UnitFile | None, ...])
                files = [
                    UnitFile(fingerprint_of(Path(root.path, directory, unit.path).stat()))
                    if file
                    else None
                    for unit, file in zip(units, before, strict=True)
                ]
                connection.execute(
                    "UPDATE versions SET files = ? WHERE digest = ?",
                    (msgspec.msgpack.encode(files), digest),
                )
            connection.commit()
