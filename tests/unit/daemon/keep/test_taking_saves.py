from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.control.messages.checkpoints import PublishRequest, PublishResult
from ckptd.daemon.keep.taking_saves import TakingSaves
from ckptd.daemon.parts import Parts
from ckptd.errors import CkptdError, Conflict, ContentChanged, NotFound
from ckptd.model.ids import CheckpointName
from ckptd.model.watched_names import WatchRule
from ckptd.model.words import SavedState
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


def taking(held: Held, *names: str) -> TakingSaves:
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
    return TakingSaves(cast("Parts", parts), is_busy=lambda: False)


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
