"""Links and empty directories of a version at a place: what a look shows, and what follows."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.bare_names import bare_names_of, wrong_names
from ckptd.store.published.checking import Reading, Recorded, compare
from ckptd.store.published.inspection import facts_of, place_of
from ckptd.store.published.newcomers import look_beside
from ckptd.store.published.places import HeldVersion, Place, held_version
from ckptd.store.published.removing import Removed, examine, remove
from ckptd.store.records.version_rows import StoredPlace, pack_version
from tests.support.stores import publish, write_files

CONTENTS = {"step-5/model": b"m", "plain": b"p"}


@pytest.fixture
def hashed(root: Root, inside: Path) -> HashedDirectory:
    write_files(inside / "w1", CONTENTS)
    (inside / "w1/links").mkdir()
    (inside / "w1/links/latest").symlink_to("../step-5")
    (inside / "w1/tmp").mkdir()
    return publish(root, "w1", keeps_links=True)


def found_wrong(root: Root, hashed: HashedDirectory) -> dict[str, str]:
    found = wrong_names(root, bare_names_of(hashed.directory, hashed.manifest))
    why = {name: wrong.why for name, wrong in found.items()}
    assert compare(root, hashed).bare_names == why
    return why


def test_what_stands_as_it_was_shows_nothing(root: Root, hashed: HashedDirectory) -> None:
    assert found_wrong(root, hashed) == {}
    assert not compare(root, hashed).is_any


def test_whatever_is_done_to_a_link_or_an_empty_directory_shows(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    link, directory = inside / "w1/links/latest", inside / "w1/tmp"
    link.unlink()
    assert found_wrong(root, hashed) == {"links/latest": f"symbolic link {link}: was removed"}
    link.symlink_to("../plain")
    assert found_wrong(root, hashed) == {
        "links/latest": f"symbolic link {link}: leads to '../plain', not '../step-5'"
    }
    link.unlink()
    link.mkdir()
    directory.rmdir()
    directory.symlink_to("step-5")
    assert found_wrong(root, hashed) == {
        "links/latest": f"symbolic link {link}: is no link any more",
        "tmp": f"directory {directory}: is no directory any more",
    }
    assert compare(root, hashed).is_any
    link.rmdir()
    link.parent.rmdir()
    link.parent.symlink_to("tmp")
    assert "links/latest" in found_wrong(root, hashed), "no link on the way is followed"


def place_at(hashed: HashedDirectory) -> Place:
    row = StoredPlace(1, hashed.digest, "data", "w1", 1, 0, b"", 5.0, 6.0, 0)
    return place_of(row, AddressSpace(hashed.manifest), hashed.files)


def test_a_place_with_a_wrong_link_is_stale_and_serves_all_of_its_units(
    hashed: HashedDirectory,
) -> None:
    place = place_at(hashed)
    assert (place.links, place.empty_directories) == (1, 1)
    wrong = place.with_wrong_names({"tmp": "directory tmp: gone", "a": "link a: gone"})
    assert (wrong.state, wrong.reason, wrong.is_whole) == (
        PlaceState.STALE,
        "link a: gone",
        False,
    )
    assert wrong.servable(AddressSpace(hashed.manifest)) == place.blocks
    assert wrong.is_serving
    assert wrong.with_wrong_names({}) == place
    assert place.with_wrong_names({}) is place


def test_wrong_links_and_wrong_units_do_not_hide_each_other(hashed: HashedDirectory) -> None:
    place, space = place_at(hashed), AddressSpace(hashed.manifest)
    both = place.with_wrong_names({"l": "link l: gone"}).with_changed([0], "file: gone")
    assert both.with_wrong_names({}).reason == "file: gone"
    right = both.with_right([0], space, None)
    assert (right.state, right.reason) == (PlaceState.STALE, "link l: gone")
    assert right.with_wrong_names({}).state is PlaceState.HERE
    first = place.with_changed([0], "file: gone").with_wrong_names({"l": "link l: gone"})
    assert first.reason == "file: gone"
    held: HeldVersion = held_version(facts_of(pack_version(hashed, space), space), (right,), space)
    assert held.is_offered
    assert not held.is_stale


def test_links_and_empty_directories_are_watched_and_no_newcomers(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    recorded = Recorded(hashed)
    assert recorded.directories() == {"w1", "w1/step-5", "w1/links"}
    assert all(map(recorded.has, ("w1/links", "w1/links/latest", "w1/tmp", "w1/plain", "w1")))
    assert not any(map(recorded.has, ("w1/link", "w1/links/late", "w1/tm", "w1/other")))
    assert look_beside(root, recorded, None).names == frozenset()
    (inside / "w1/other").symlink_to("tmp")
    assert look_beside(root, recorded, None).names == {"w1/other"}


def removed_from(
    root: Root, hashed: HashedDirectory, *, with_foreign: bool = False
) -> tuple[Removed, int]:
    examined = examine(root, hashed, (), Reading())
    return remove(root, hashed, examined, with_foreign=with_foreign), examined.foreign_count


def test_removing_takes_links_and_empty_directories_with_it(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    examined = examine(root, hashed, (), Reading())
    assert (examined.links, examined.strangers) == (("links/latest",), 0)
    assert removed_from(root, hashed) == (Removed(3, 2, (), is_directory_gone=True), 0)
    assert not (inside / "w1").exists()


def test_removing_leaves_what_is_in_a_directory_that_was_empty(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "w1/tmp/mine").write_bytes(b"")
    assert removed_from(root, hashed) == (Removed(3, 2, (), is_directory_gone=False), 0)
    assert os.listdir(inside / "w1") == ["tmp"]


@pytest.mark.parametrize("with_foreign", [False, True])
def test_a_link_that_was_changed_is_foreign(
    root: Root, hashed: HashedDirectory, inside: Path, *, with_foreign: bool
) -> None:
    (inside / "w1/links/latest").unlink()
    (inside / "w1/links/latest").symlink_to("../plain")
    removed, foreign_count = removed_from(root, hashed, with_foreign=with_foreign)
    assert foreign_count == 1
    assert (removed.files, removed.is_directory_gone) == (2 + with_foreign, with_foreign)
    assert os.path.lexists(inside / "w1/links/latest") is not with_foreign


def test_a_link_that_changes_after_it_was_looked_at_stays(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    examined = examine(root, hashed, (), Reading())
    (inside / "w1/links/latest").unlink()
    (inside / "w1/links/latest").symlink_to("../plain")
    removed = remove(root, hashed, examined, with_foreign=False)
    assert removed.kept == ("links/latest",)
    assert os.readlink(inside / "w1/links/latest") == "../plain"


def test_a_recovered_place_is_compared_by_the_manifest_alone(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    os.rename(inside / "w1", inside / "w2")
    moved = replace(hashed, directory="w2")
    assert not compare(root, moved).bare_names
