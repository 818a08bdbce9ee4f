from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from ckptd.daemon.keep import watching as watching_module
from ckptd.daemon.keep.save_reports import SaveReports
from ckptd.daemon.keep.watching import Watching
from ckptd.model.ids import CheckpointName
from ckptd.model.watched_names import WatchRule
from ckptd.store.files.roots import Root
from ckptd.store.published import saved_listing
from tests.support.stores import Everything

RULE = WatchRule(
    directory="/data/jobs/run",
    pattern=r"v(\d+)",
    checkpoint=CheckpointName("llama"),
    quiet_s=5.0,
    require=(),
    pointer="latest",
    newest=2,
    rate_bytes_per_s=1,
)


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    yield opened
    opened.close()


@pytest.fixture
async def watching(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    monkeypatch.setattr(watching_module, "COLLECT_S", 0.0)
    monkeypatch.setattr(saved_listing, "LOCAL_FILE_SYSTEMS", Everything())
    made = Watching(lambda _: None)
    made.open()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(made.run())
        yield made
        running.cancel()
    made.close()


@pytest.fixture
def reports(watching: Watching, root: Root) -> SaveReports:
    return SaveReports(watching, RULE, root, "jobs/run")


async def happens(reports: SaveReports) -> None:
    async with asyncio.timeout(60):
        await reports.happened.wait()
    reports.happened.clear()


async def test_saves_and_the_pointer_are_news_and_other_names_are_not(
    reports: SaveReports, inside: Path
) -> None:
    (inside / "jobs/run").mkdir(parents=True)
    await reports.follow([])
    assert reports.is_whole
    (inside / "jobs/run/log").touch()
    await asyncio.sleep(0.05)
    assert not reports.happened.is_set()
    (inside / "jobs/run/v7").mkdir()
    await happens(reports)
    (inside / "jobs/run/latest").touch()
    await happens(reports)


async def test_a_directory_that_does_not_exist_is_noticed_when_it_appears(
    reports: SaveReports, inside: Path, watching: Watching
) -> None:
    await reports.follow([])
    assert reports.is_whole
    (inside / "jobs").mkdir()
    await happens(reports)
    await reports.follow([])
    (inside / "jobs/run").mkdir()
    await happens(reports)
    await reports.follow([])
    assert watching.directory_count == 1
    (inside / "jobs/run/v1").mkdir()
    await happens(reports)


async def test_what_happens_in_a_save_that_waits_is_news_until_it_waits_no_more(
    reports: SaveReports, inside: Path, watching: Watching
) -> None:
    (inside / "jobs/run/v1").mkdir(parents=True)
    await reports.follow(["v1"])
    assert (reports.is_whole, watching.directory_count) == (True, 2)
    (inside / "jobs/run/v1/done").touch()
    await happens(reports)
    await reports.follow([])
    assert watching.directory_count == 1


async def test_another_directory_in_its_place_is_followed(
    reports: SaveReports, inside: Path, watching: Watching
) -> None:
    (inside / "jobs/run").mkdir(parents=True)
    await reports.follow([])
    os.rename(inside / "jobs", inside / "old")  # of that its own directory does not learn
    (inside / "jobs/run").mkdir(parents=True)
    await reports.follow([])
    assert watching.directory_count == 1
    (inside / "jobs/run/v1").mkdir()
    await happens(reports)


async def test_a_save_that_is_gone_again_is_looked_for_by_scans(
    reports: SaveReports, inside: Path
) -> None:
    (inside / "jobs/run").mkdir(parents=True)
    await reports.follow(["v1"])
    assert not reports.is_whole


async def test_what_the_kernel_does_not_report_is_not_whole(
    root: Root, inside: Path, watching: Watching
) -> None:
    (inside / "jobs/run").mkdir(parents=True)
    closed = SaveReports(Watching(lambda _: None), RULE, root, "jobs/run")
    await closed.follow([])
    assert not closed.is_whole


async def test_in_the_end_nothing_is_followed(
    reports: SaveReports, inside: Path, watching: Watching
) -> None:
    (inside / "jobs/run/v1").mkdir(parents=True)
    await reports.follow(["v1"])
    reports.end()
    assert watching.directory_count == 0
