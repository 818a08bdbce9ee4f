"""Moments over restarts."""

from __future__ import annotations

from pathlib import Path

from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.moments import FirstHeard, HeardVersion, Moments

LAST = Version(2**63 - 1)
A, B = CheckpointName("a"), CheckpointName("b")


async def test_moments_are_found_again_after_a_restart_and_replace_each_other(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "ckptd.db")
    lives: list[tuple[dict[str, float], FirstHeard]] = [
        (
            {"recovery": 5.5},
            {A: HeardVersion(LAST, 1.5), B: HeardVersion(Version(0), 2.5)},
        ),
        ({"publish": 6.5}, {B: HeardVersion(Version(1), 3.5, BootMoment("b", -4))}),
        ({}, {}),
    ]
    found: tuple[object, object] = ({}, {})
    for life in lives:
        database = Database(path)
        await database.open()
        moments = Moments(database)
        assert await moments.load() == found
        await moments.write(*life)
        await database.close()
        found = life


async def test_no_more_is_read_than_is_watched(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    many = {CheckpointName(f"c{index}"): HeardVersion(Version(1), 1.0) for index in range(1000)}
    await Moments(database).write({}, many)
    _, heard = await Moments(database).load()
    assert len(heard) == CHECKPOINTS_WATCHED_MAX
    await database.close()
