import asyncio
import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from ckptd.errors import NotFound
from ckptd.model.ids import Digest
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.hashing import hexdigest_of
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.adding import Packed
from ckptd.store.published.inspection import facts_of, place_of
from ckptd.store.published.open_versions import OpenVersions
from ckptd.store.published.places import HeldVersion, held_version
from ckptd.store.records.database import Database
from ckptd.store.records.version_records import VersionRecords
from tests.support.stores import read_served

Bad = list[tuple[int, int]]


@pytest.fixture
def bad() -> Bad:
    return []


@pytest.fixture
async def records(database: Database) -> VersionRecords:
    return VersionRecords(database, lambda stored, error: None)


@pytest.fixture
async def held(records: VersionRecords, hashed: HashedDirectory) -> HeldVersion:
    packed = Packed.of(hashed)
    row = packed.place_row(hashed, None, is_published=True, now_s=5.0)
    (number,) = await records.add([(packed.row, row)], [], lambda connection: None)
    place = place_of(row._replace(place=number), packed.space, hashed.files)
    return held_version(facts_of(packed.row), (place,), packed.space)


@pytest.fixture
def opening(records: VersionRecords, root: Root, bad: Bad) -> OpenVersions:
    return OpenVersions(
        records, Roots([root]), lambda number, unit, reason: bad.append((number, unit))
    )


async def test_a_version_is_decoded_once_until_it_is_dropped(
    opening: OpenVersions, held: HeldVersion
) -> None:
    digest = held.holding.digest
    served = await opening.get(digest, lambda: held)
    assert served.blocks == held.holding.blocks
    assert await opening.get(digest, lambda: held) is served
    opening.drop(digest)
    assert await opening.get(digest, lambda: held) is not served


async def test_what_is_open_is_had_while_another_version_is_decoded(
    opening: OpenVersions,
    held: HeldVersion,
    records: VersionRecords,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = await opening.get(held.holding.digest, lambda: held)
    goes_on = asyncio.Event()

    async def read_late(digest: Digest, numbers: Iterable[int]) -> dict[int, HashedDirectory]:
        await goes_on.wait()
        return {}

    monkeypatch.setattr(records, "hashed", read_late)
    other = hexdigest_of(b"other")
    decoding = asyncio.create_task(opening.get(other, lambda: held))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        assert await opening.get(held.holding.digest, lambda: held) is served
    assert not decoding.done()
    goes_on.set()
    with pytest.raises(NotFound):
        await decoding


async def test_what_changes_while_it_is_decoded_is_decoded_again(
    opening: OpenVersions, held: HeldVersion, hashed: HashedDirectory
) -> None:
    (place,) = held.places
    later = held_version(
        held.holding, (place.with_changed([0], "written"),), Packed.of(hashed).space
    )
    answers = [held, later]
    served = await opening.get(
        held.holding.digest, lambda: answers.pop(0) if len(answers) > 1 else answers[0]
    )
    assert served.blocks == later.holding.blocks


async def test_what_was_forgotten_meanwhile_is_not_found(
    opening: OpenVersions, held: HeldVersion, records: VersionRecords
) -> None:
    await records.delete([held.places[0].number])
    with pytest.raises(NotFound):
        await opening.get(held.holding.digest, lambda: held)


async def test_a_unit_that_is_not_as_it_was_is_reported_on_the_loop(
    opening: OpenVersions, held: HeldVersion, bad: Bad, inside: Path
) -> None:
    served = await opening.get(held.holding.digest, lambda: held)
    os.utime(inside / "v1/a")
    with pytest.raises(Exception, match="changed since"):
        await asyncio.to_thread(read_served, served, 0, 10)
    await asyncio.sleep(0)
    assert bad == [(held.places[0].number, 0)]
