"""A unit is handed over if all its bytes are what was published, and no descriptor is left."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ckptd.control.messages.prioritized import NeedEvent, NeedResult
from ckptd.control.server.handing import Handing
from ckptd.daemon.answer import handed_units
from ckptd.daemon.answer.handed_units import HandedUnits
from ckptd.errors import Conflict, ContentChanged, NotFound
from ckptd.model.manifest import Unit
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from tests.support.stores import open_descriptors

UNIT = "weights.bin"


@pytest.fixture
def handing() -> Iterator[Handing]:
    """Takes what is attached nowhere."""
    before = open_descriptors()
    made = Handing(cast("Any", None))
    yield made
    made.close()
    assert open_descriptors() == before, "a descriptor was left open"


@pytest.fixture
async def units(catalog: Catalog, root: Root, hashed: HashedDirectory) -> HandedUnits:
    await catalog.add(hashed)
    return HandedUnits(cast("Any", ()), catalog, Roots([root]))


def result(root: Root, unit: str = UNIT) -> NeedResult:
    return NeedResult(recovery=None, unit=unit, path=root.absolute(f"v100/{unit}"), is_placed=True)


def spoil(root: Root) -> None:
    with Path(root.path, "v100", UNIT).open("r+b") as file:
        file.write(b"!")


def hand_over(
    units: HandedUnits, root: Root, handing: Handing, unit: str = UNIT, uid: int = 7
) -> AsyncGenerator[NeedEvent, None]:
    return units.hand_over(result(root, unit), uid, handing)


async def test_what_is_right_goes_with_the_result(
    units: HandedUnits, root: Root, handing: Handing
) -> None:
    *_, last = [event async for event in hand_over(units, root, handing)]
    assert isinstance(last, NeedResult)
    assert last.has_descriptor
    (fd,) = handing._attached
    assert os.read(fd, 10) == b"w" * 10, "it is read from its beginning"


async def test_what_has_rotted_is_refused_and_hashed_again(
    units: HandedUnits, catalog: Catalog, root: Root, handing: Handing, hashed: HashedDirectory
) -> None:
    spoil(root)
    with pytest.raises(ContentChanged, match="is not what was published"):
        [event async for event in hand_over(units, root, handing)]
    held = catalog.held(hashed.digest)
    assert held is not None
    assert len(held.places[0].suspect) == 1


@pytest.mark.parametrize("length", [0, 400_000])
async def test_another_length_is_refused_without_reading(
    units: HandedUnits, root: Root, handing: Handing, length: int
) -> None:
    os.truncate(Path(root.path, "v100", UNIT), length)
    with pytest.raises(ContentChanged):
        [event async for event in hand_over(units, root, handing)]


async def test_what_is_gone_is_looked_for_again_and_not_found(
    units: HandedUnits, root: Root, handing: Handing
) -> None:
    os.unlink(f"{root.path}/v100/{UNIT}")
    with pytest.raises(NotFound):
        [event async for event in hand_over(units, root, handing)]
    with pytest.raises(NotFound):
        [event async for event in hand_over(units, root, handing, "none")]


@pytest.fixture
def held_up(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Nothing is compared before this is set; progress is reported all the time."""
    may_go_on = threading.Event()
    compare = handed_units._compare

    def wait_and_compare(fd: int, unit: Unit, path: str, note: Callable[[int], None]) -> None:
        may_go_on.wait()
        compare(fd, unit, path, note)

    monkeypatch.setattr(handed_units, "_compare", wait_and_compare)
    monkeypatch.setattr(handed_units, "_PROGRESS_S", 0.0)
    yield may_go_on
    may_go_on.set()


async def test_who_goes_away_gets_none_and_nothing_stays_open(
    units: HandedUnits, root: Root, handing: Handing, held_up: threading.Event
) -> None:
    unseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context))
    events = hand_over(units, root, handing)
    await anext(events)
    await events.aclose()
    held_up.set()
    await asyncio.to_thread(units._threads.shutdown)
    await asyncio.sleep(0)
    gc.collect()
    assert not handing._attached
    assert unseen == [], "nobody wants to know how it ended"


async def test_one_user_has_so_many_under_way_and_others_have_theirs(
    units: HandedUnits, root: Root, handing: Handing, held_up: threading.Event
) -> None:
    under_way = [hand_over(units, root, handing) for _ in range(handed_units._CALLER_MAX)]
    for events in under_way:
        await anext(events)
    with pytest.raises(Conflict, match="uid 7: waits for 8 descriptors already"):
        await anext(hand_over(units, root, handing))
    other = hand_over(units, root, handing, uid=8)
    await anext(other)
    for events in (*under_way, other):
        await events.aclose()
    held_up.set()
    assert [event async for event in hand_over(units, root, handing)], "their turns are over"
    units._threads.shutdown()
