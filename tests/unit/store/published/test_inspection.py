from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.model.blocks import BlockSet
from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.inspection import (
    facts_of,
    inspect,
    is_on_its_disk,
    is_removed,
    place_of,
    stands,
    was_on_its_disk,
)
from ckptd.store.records.packed_files import pack_files
from ckptd.store.records.version_rows import StoredPlace, StoredVersion, pack_version

DATABASE = "/state/ckptd.db"


@pytest.fixture
def stored(hashed: HashedDirectory) -> StoredVersion:
    row = pack_version(hashed, AddressSpace(hashed.manifest))
    place = StoredPlace(3, hashed.digest, "data", "v1", 1, 0, pack_files(hashed.files), 5.0, 6.0, 2)
    return StoredVersion(row, (place,))


def test_a_place_that_is_as_it_was_is_here(
    stored: StoredVersion, root: Root, hashed: HashedDirectory
) -> None:
    found = inspect(stored, Roots([root]), DATABASE)
    assert found.facts == facts_of(stored.row)
    assert found.starts.unit_count == 4
    assert found.places == (
        place_of(stored.places[0], AddressSpace(hashed.manifest), hashed.files),
    )
    assert found.seen == {3}
    (place,) = found.places
    assert (place.state, place.added_at_s, place.scrubbed_units) == (PlaceState.HERE, 5.0, 2)


def test_what_differs_is_found_at_each_place(
    stored: StoredVersion, root: Root, inside: Path
) -> None:
    os.utime(inside / "v1/a")
    (inside / "v1/e").unlink()
    gone = stored.places[0]._replace(place=4, directory="elsewhere")
    found = inspect(stored._replace(places=(*stored.places, gone)), Roots([root]), DATABASE)
    first, second = found.places
    assert first.suspect == {0}
    assert first.changed == {3}
    assert first.reason == f"file {inside}/v1/e: was removed"
    assert second.changed == {0, 1, 2, 3}
    assert second.reason == f"directory {inside}/elsewhere: was removed"
    assert found.seen == {3}


def test_a_damaged_manifest_takes_all_places_along(stored: StoredVersion, root: Root) -> None:
    damaged = stored._replace(row=stored.row._replace(manifest=b"x"))
    (place,) = inspect(damaged, Roots([root]), DATABASE).places
    assert (place.state, place.blocks, place.unit_count) == (PlaceState.STALE, BlockSet(), 0)
    assert "is damaged" in place.reason
    assert not place.is_serving


def test_damaged_files_take_their_place_along(stored: StoredVersion, root: Root) -> None:
    damaged = stored.places[0]._replace(files=b"\xc1")
    sound = stored.places[0]._replace(place=4)
    found = inspect(stored._replace(places=(damaged, sound)), Roots([root]), DATABASE)
    assert [place.state for place in found.places] == [PlaceState.STALE, PlaceState.HERE]
    assert [place.is_serving for place in found.places] == [False, True]


def test_a_root_that_is_not_configured_has_nothing(stored: StoredVersion, tmp_path: Path) -> None:
    other = Root.open("other", str(tmp_path))
    (place,) = inspect(stored, Roots([other]), DATABASE).places
    assert (place.state, len(place.changed)) == (PlaceState.STALE, 4)
    assert "root 'data': is not configured" in place.reason
    other.close()


def test_a_directory_stands_or_does_not_or_cannot_be_seen(root: Root, inside: Path) -> None:
    (inside / "v1").mkdir()
    (inside / "file").touch()
    (inside / "link").symlink_to("v1")
    assert stands(root, "v1")
    assert stands(root, "file") is stands(root, "link") is stands(root, "gone") is False
    assert stands(root, "link/below") is None


def test_what_stands_says_that_its_root_is_in_place(
    stored: StoredVersion, root: Root, inside: Path
) -> None:
    assert inspect(stored, Roots([root]), DATABASE).roots == {"data"}
    shutil.rmtree(inside / "v1")
    assert inspect(stored, Roots([root]), DATABASE).roots == frozenset()
    below = stored.places[0]._replace(directory="llama/v1")
    assert inspect(stored._replace(places=(below,)), Roots([root]), DATABASE).roots == frozenset()
    (inside / "llama").mkdir()
    assert inspect(stored._replace(places=(below,)), Roots([root]), DATABASE).roots == {"data"}


def test_what_does_not_stand_in_a_root_that_is_in_place_was_removed(
    stored: StoredVersion, root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    place = place_of(stored.places[0], AddressSpace(hashed.manifest), hashed.files)
    assert not is_removed(root, place)
    shutil.rmtree(inside / "v1")
    assert is_removed(root, place)
    assert not is_removed(root, replace(place, directory="")), "the root itself"
    (inside / "v1").touch()
    assert not is_removed(root, place), "something else stands there"


def test_in_a_root_that_is_not_in_place_nothing_was_removed(
    stored: StoredVersion, root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    place = place_of(stored.places[0], AddressSpace(hashed.manifest), hashed.files)
    shutil.rmtree(inside / "v1")
    os.rename(inside, f"{inside}.moved")
    inside.mkdir()
    assert not is_removed(root, place)


def test_a_directory_on_another_disk_than_its_root_is_known(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    assert is_on_its_disk(root, "v1")
    assert was_on_its_disk(root, hashed)
    assert not is_on_its_disk(root, "nothing")
    (inside / "link").symlink_to("v1")
    assert not is_on_its_disk(root, "link/c")
    root.device += 1
    assert not is_on_its_disk(root, "v1")
    assert not was_on_its_disk(root, hashed)
