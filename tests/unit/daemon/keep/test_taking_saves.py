from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.daemon.keep import taking_saves
from ckptd.daemon.keep.taking_saves import TakingSaves, WatchedDirectory
from ckptd.daemon.keep.watching import Watching
from ckptd.daemon.parts import Parts
from ckptd.errors import CkptdError, Conflict, ContentChanged, NotFound
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.watch_decisions import Standing
from ckptd.model.watched_names import WatchRule
from ckptd.model.words import PlaceState, SavedState
from ckptd.store.published import saved_listing
from tests.support.stores import Everything
from tests.unit.daemon.keep.conftest import Held


@dataclass
class Publisher:
    """Publishes nothing, and refuses what it is to refuse."""

    refusals: dict[str, CkptdError]
    asked: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0

    async def __call__(self, request: PublishRequest, _: Callable[[int], None]) -> PublishResult:
        self.asked.append(Path(request.directory).name)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.02)  # others could begin meanwhile
        self.running -= 1
        raise self.refusals[self.asked[-1]]


async def never() -> None:
    await asyncio.get_running_loop().create_future()


def taking(held: Held, *names: str, watching: Watching | None = None) -> TakingSaves:
    """Watch directories; each has a save for each word behind its name."""
    root = held.roots.default()
    rules = []
    for words in names:
        name, *inside = words.split()
        for each in inside:
            Path(root.path, name, each).mkdir(parents=True)
        rules.append(
            WatchRule(
                directory=f"{root.path}/{name}",
                pattern=r"v(\d+)",
                checkpoint=CheckpointName(name),
                quiet_s=0.0,
                require=(),
                pointer="",
                newest=3,
                rate_bytes_per_s=1,
            )
        )
    storage = SimpleNamespace(catalog=held.catalog, roots=held.roots)
    parts = SimpleNamespace(storage=storage, config=SimpleNamespace(watch=rules))
    return TakingSaves(
        cast("Parts", parts),
        is_busy=lambda: False,
        watching=watching or Watching(lambda _: None),  # not open: nothing is reported
        offer_changed=never,
    )


async def run_until(saves: TakingSaves, is_enough: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        running = asyncio.ensure_future(saves.run())
        while not is_enough():  # noqa: ASYNC110  it is files that are looked at
            await asyncio.sleep(0.01)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_saves_are_published_newest_first_and_one_at_a_time(held: Held) -> None:
    saves = taking(held, "one v1 v2", "two v1 v2")
    conflict = Conflict("version", "is another one")
    publisher = Publisher({"v1": conflict, "v2": conflict})
    saves.publish = publisher
    await run_until(saves, lambda: len(publisher.asked) >= 4)
    assert sorted(publisher.asked) == ["v1", "v1", "v2", "v2"]
    assert publisher.asked[0] == "v2"
    assert publisher.most == 1


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ContentChanged("file", "changed"), SavedState.WAITS),
        (Conflict("version", "is another one"), SavedState.NOT_TAKEN),
        (NotFound("directory", "is gone"), SavedState.WAITS),
    ],
)
async def test_why_a_save_is_not_taken_is_kept(
    held: Held, error: CkptdError, state: SavedState
) -> None:
    saves = taking(held, "one v1")
    (watched,) = saves.watched
    publisher = Publisher({"v1": error})
    saves.publish = publisher
    await run_until(saves, lambda: bool(watched.refused))
    await saves.look(watched)
    (verdict,) = watched.verdicts
    assert verdict.state is state
    assert verdict.why == str(error)
    assert publisher.asked == ["v1"]


async def test_a_directory_that_is_not_there_hides_nothing(held: Held) -> None:
    saves = taking(held, "one", "two v1")
    one, two = saves.watched
    publisher = Publisher({"v1": Conflict("version", "is another one")})
    saves.publish = publisher
    await run_until(saves, lambda: bool(publisher.asked))
    assert "does not exist" in one.obstacle
    assert not two.obstacle


async def test_nothing_is_looked_into_until_the_kernel_reports_something(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saved_listing, "LOCAL_FILE_SYSTEMS", Everything())
    looks = 0
    watching = Watching(lambda _: None)
    saves = taking(held, "one v0", watching=watching)
    (watched,) = saves.watched
    conflict = Conflict("version", "is another one")
    publisher = Publisher({"v0": conflict, "v1": conflict})
    saves.publish = publisher
    look = saves.look

    async def look_and_count(watched: WatchedDirectory) -> None:
        nonlocal looks
        looks += 1
        await look(watched)

    monkeypatch.setattr(saves, "look", look_and_count)
    watching.open()
    reporting = asyncio.ensure_future(watching.run())
    running = asyncio.ensure_future(saves.run())
    async with asyncio.timeout(60):
        while not any(each.why for each in watched.verdicts):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        looks_before = looks
        await asyncio.sleep(0.2)
        assert looks == looks_before
        (Path(watched.rule.directory) / "v1").mkdir()
        while publisher.asked[-1] != "v1":  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    for each in (running, reporting):
        each.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await each
    watching.close()


async def test_what_stands_otherwise_by_the_catalog_is_looked_into(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(taking_saves, "_COLLECT_S", 0.0)
    saves = taking(held, "one")
    (watched,) = saves.watched
    stale = Standing(1, CheckpointName("one"), Version(1), PlaceState.STALE, 0.0)
    monkeypatch.setattr(saves, "_standing", lambda _: {"v1": stale})
    changes = iter([None])

    async def changed() -> None:
        if next(changes, never) is never:
            await never()

    monkeypatch.setattr(saves, "_offer_changed", changed)
    following = asyncio.ensure_future(saves._follow_catalog())
    async with asyncio.timeout(60):
        await watched.reports.happened.wait()
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following


async def test_saves_that_are_complete_are_said_whether_they_are_published_or_not(
    held: Held,
) -> None:
    saves = taking(held, "one v1 v2 v3 v4")
    seen: dict[int, float] = {}
    saves.note_seen = lambda checkpoint, version, at_s: seen.update({version: at_s})
    (watched,) = saves.watched
    before_s = time.time()
    await saves.look(watched)
    assert seen.keys() == {2, 3, 4}, "of those that are too old nobody knows whether they are"
    assert all(abs(at_s - before_s) < 600 for at_s in seen.values())
