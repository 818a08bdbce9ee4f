import os
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import DamagedState
from ckptd.model.ids import Digest
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.adding import Packed, conflict, displaced, full
from ckptd.store.published.inspection import facts_of, place_of
from ckptd.store.published.places import HeldVersion, Place, held_version


@pytest.fixture
def place(hashed: HashedDirectory) -> Place:
    packed = Packed.of(hashed)
    row = packed.place_row(hashed, None, is_published=True, now_s=5.0)
    return place_of(row, packed.space, hashed.files)


@pytest.fixture
def held(hashed: HashedDirectory, place: Place) -> HeldVersion:
    packed = Packed.of(hashed)
    return held_version(facts_of(packed.row), (place,), packed.space)


def test_a_place_that_is_recorded_again_keeps_its_number_and_when_it_came(
    hashed: HashedDirectory, place: Place
) -> None:
    before = replace(place, number=7, added_at_s=1.0, is_withdrawn=True, scrubbed_units=3)
    row = Packed.of(hashed).place_row(hashed, before, is_published=False, now_s=9.0)
    assert (row.place, row.added_at_s, row.checked_at_s) == (7, 1.0, 9.0)
    assert (row.is_published, row.is_withdrawn, row.scrubbed_units) == (False, False, 0)


def test_less_does_not_displace_more_that_is_right(hashed: HashedDirectory, place: Place) -> None:
    partial = replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
    packed = Packed.of(partial)
    assert packed.is_less_than(place, partial)
    assert not packed.is_less_than(place.with_suspect([1], "touched"), partial)
    assert not packed.is_less_than(replace(place, is_withdrawn=True), partial)
    assert not Packed.of(hashed).is_less_than(place, hashed)


async def test_what_is_not_what_it_was_is_displaced(
    root: Root, inside: Path, held: HeldVersion, place: Place, hashed: HashedDirectory
) -> None:
    async def recorded(number: int) -> HashedDirectory:
        assert number == place.number
        return hashed

    other = Digest("bb")
    assert await displaced(root, other, [(held, place)], recorded) == set()
    os.utime(inside / "v1/a")
    assert await displaced(root, other, [(held, place)], recorded) == {place.number}
    assert await displaced(root, hashed.digest, [(held, place)], recorded) == set()


async def test_of_many_in_one_directory_the_latest_are_compared(
    root: Root, hashed: HashedDirectory, held: HeldVersion, place: Place, inside: Path
) -> None:
    (inside / "v1/a").write_bytes(b"other")
    asked: list[int] = []

    async def recorded(number: int) -> HashedDirectory:
        asked.append(number)
        return hashed

    there = [(held, replace(place, number=number)) for number in range(100)]
    latest = set(range(84, 100))
    assert await displaced(root, Digest("bb"), there, recorded) == latest
    assert set(asked) == latest


async def test_what_cannot_be_read_is_displaced(
    root: Root, held: HeldVersion, place: Place
) -> None:
    async def damaged(number: int) -> HashedDirectory:
        raise DamagedState(f"place {number}", "is damaged")

    assert await displaced(root, Digest("bb"), [(held, place)], damaged) == {place.number}


def test_refusals_say_what_is_in_the_way(held: HeldVersion) -> None:
    assert "'v1' in root 'data'" in str(conflict(held))
    assert "has room for 3,000 versions, and no more. Let old ones go" in str(full(3000))
