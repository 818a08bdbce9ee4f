"""What recoveries placed of jobs, across restarts and for as long as it counts."""

from __future__ import annotations

from pathlib import Path

from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.placed_jobs import PLACED_S, PlacedJob, PlacedJobs
from tests.support.stores import publish, write_files

LLAMA, EVAL = CheckpointName("llama"), CheckpointName("eval")
SHARD, OTHER = CheckpointName("llama/shard-0-of-2"), CheckpointName("eval/shard-1-of-2")
V7, V8 = Version(7), Version(8)


class Clock:
    """Unix time that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


async def test_the_last_version_counts_for_a_day_also_after_a_restart(database: Database) -> None:
    clock = Clock()
    placed = PlacedJobs(database, clock, lambda *_: True)
    await placed.load()
    assert (placed.counting(), placed.expires_in_s()) == ((), None)
    await placed.note(LLAMA, V8, SHARD)
    await placed.note(LLAMA, V7, SHARD)
    clock.now_s += 60
    await placed.note(EVAL, V8, OTHER)
    expected = (PlacedJob(EVAL, V8, OTHER, 1060.0), PlacedJob(LLAMA, V7, SHARD, 1000.0))
    assert placed.counting() == expected
    assert placed.expires_in_s() == PLACED_S - 60
    again = PlacedJobs(database, clock, lambda *_: True)
    await again.load()
    assert again.counting() == expected
    clock.now_s = 1000.0 + PLACED_S
    assert again.counting() == expected[:1]
    clock.now_s += 60
    assert again.counting() == ()
    clock.now_s = 0.0  # somebody set the clock back
    assert again.counting() == expected


async def test_what_is_not_here_any_more_does_not_count(database: Database) -> None:
    here = {(SHARD, V7)}
    placed = PlacedJobs(database, Clock(), lambda *asked: asked in here)
    await placed.note(LLAMA, V7, SHARD)
    await placed.note(EVAL, V8, OTHER)
    assert [each.job for each in placed.counting()] == [LLAMA]


async def test_a_job_that_goes_on_was_recovered_long_ago(database: Database, root: Root) -> None:
    catalog = Catalog(database, Roots([root]), Clock())
    await catalog.load()
    write_files(Path(root.path, "7"))
    placed = publish(root, "7", checkpoint=SHARD, version=7)
    await catalog.add(placed, is_published=False)
    await catalog.note_placed(LLAMA, V7, SHARD)
    await catalog.note_placed(EVAL, V7, SHARD)
    write_files(Path(root.path, "8"))
    await catalog.add(publish(root, "8", checkpoint=SHARD, version=8))
    assert [each.job for each in catalog.placed_jobs.counting()] == [EVAL]
    again = Catalog(database, Roots([root]), Clock())
    await again.load()
    assert [each.job for each in again.placed_jobs.counting()] == [EVAL]
