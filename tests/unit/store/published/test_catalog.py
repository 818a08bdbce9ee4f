import asyncio
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import (
    Conflict,
    ContentChanged,
    DamagedState,
    NotFound,
    OutOfSpace,
    StorageError,
    Withdrawn,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published import catalog as catalog_module
from ckptd.store.published import open_versions
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.checking import Reading, hash_again
from ckptd.store.published.inspection import Inspected, inspect, is_removed
from ckptd.store.published.places import HeldVersion, Place
from ckptd.store.records.active_records import ActiveVersion
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection
from ckptd.store.records.version_rows import StoredVersion
from tests.support.compressing import COPIED_CONTENTS, compress
from tests.support.stores import CONTENTS, forget, mark_changed, publish, read_served, write_files

NOW_S = 1_800_000_000.0
CHECKPOINT = CheckpointName("llama/rank-0")
Changes = list[tuple[Holding, ...]]

UNKNOWN = Digest("00" * 32)


@pytest.fixture
async def catalog(database: Database, root: Root) -> Catalog:
    catalog = Catalog(database, Roots([root]), lambda: NOW_S)
    assert await catalog.load() == ()
    return catalog


@pytest.fixture
def changes(catalog: Catalog) -> Changes:
    """What the catalog said it holds at each change."""
    noted: Changes = []
    catalog.on_change = lambda: noted.append(catalog.holdings())
    return noted


@pytest.fixture
def hashed(root: Root, inside: Path) -> HashedDirectory:
    write_files(inside / "v100")
    return publish(root, "v100")


async def reload(database: Database, root: Root) -> tuple[Catalog, tuple[HeldVersion, ...]]:
    catalog = Catalog(database, Roots([root]), lambda: NOW_S)
    return catalog, await catalog.load()


def without_unit(hashed: HashedDirectory, left_out: int) -> HashedDirectory:
    return replace(
        hashed,
        files=UnitFiles(
            None if unit == left_out else file for unit, file in enumerate(hashed.files)
        ),
    )


def unit_named(hashed: HashedDirectory, path: str) -> int:
    return [unit.path for unit in hashed.manifest.units].index(path)


def blocks_of(hashed: HashedDirectory, unit: int) -> BlockSet:
    return BlockSet.of_run(AddressSpace(hashed.manifest).unit_run(unit))


def in_order(hashed: HashedDirectory) -> list[bytes]:
    """What the units consist of."""
    return [CONTENTS[unit.path] for unit in hashed.manifest.units]


async def read_all(catalog: Catalog, hashed: HashedDirectory) -> bytes:
    """What a peer would get of a version."""
    served = await catalog.open_version(hashed.digest)
    return await asyncio.to_thread(read_served, served, 0, served.size_bytes)


def holding_of(hashed: HashedDirectory, blocks: BlockSet) -> Holding:
    return Holding(
        checkpoint=CHECKPOINT,
        version=Version(hashed.manifest.version),
        digest=hashed.digest,
        size_bytes=hashed.manifest.size_bytes,
        block_count=3,
        blocks=blocks,
    )


def place_at(held: HeldVersion, directory: str = "v100") -> Place:
    place = held.at("data", directory)
    assert place is not None
    return place


async def test_an_empty_catalog_holds_nothing(catalog: Catalog) -> None:
    assert catalog.holdings() == ()
    assert catalog.versions() == ()
    assert catalog.find(CHECKPOINT, Version(100)) == ()
    assert catalog.held(UNKNOWN) is None
    assert catalog.at("data", "v100") is None
    assert catalog.place(1) is None
    for refused in (
        catalog.open_version(UNKNOWN),
        catalog.manifest_bytes(UNKNOWN),
        catalog.forget(1),
        catalog.hashed(1),
        catalog.withdraw(UNKNOWN),
    ):
        with pytest.raises(NotFound):
            await refused
    catalog.mark_suspect(1, [0], "whatever")
    catalog.mark_changed(1, [0], "whatever")
    await catalog.settle(1, {}, {0: "whatever"})
    assert not await catalog.forget_if_gone(1)


async def test_a_published_version_is_held(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    (place,) = held.places
    assert held == HeldVersion(
        holding_of(hashed, BlockSet.full(3)),
        (
            Place(
                number=place.number,
                root="data",
                directory="v100",
                is_published=True,
                is_withdrawn=False,
                added_at_s=NOW_S,
                checked_at_s=NOW_S,
                scrubbed_units=0,
                unit_count=3,
                blocks=BlockSet.full(3),
            ),
        ),
    )
    assert place.state is PlaceState.HERE
    assert catalog.holdings() == (held.holding,)
    assert catalog.find(CHECKPOINT, Version(100)) == (held,)
    assert catalog.held(hashed.digest) is held
    assert catalog.at("data", "v100") == catalog.place(place.number) == (held, place)
    assert catalog.places_of("data") == [(held, place)]
    assert len(changes) == 1
    assert await catalog.manifest_bytes(hashed.digest) == hashed.encoded
    assert await catalog.hashed(place.number) == hashed
    served = await catalog.open_version(hashed.digest)
    assert (served.digest, served.size_bytes) == (hashed.digest, 305_000)


async def test_the_catalog_is_read_again_after_a_restart(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(without_unit(hashed, 2), is_published=False)
    write_files(inside / "copy")
    held = await catalog.add(publish(root, "copy"))
    again, wrong = await reload(database, root)
    assert wrong == ()
    assert again.versions() == (held,)
    partial, whole = held.places
    assert (partial.state, partial.is_published) == (PlaceState.PARTIAL, False)
    assert (whole.state, whole.is_published) == (PlaceState.HERE, True)
    served = await again.open_version(hashed.digest)
    assert served.blocks == held.holding.blocks == BlockSet.full(3)


async def test_what_is_here_by_choice_stays_so_and_counts_for_no_whole_version(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(without_unit(hashed, 2), is_published=False, is_by_choice=True)
    assert held.main.state is PlaceState.CHOSEN
    assert catalog.newest_ever(CHECKPOINT) is None
    again, _ = await reload(database, root)
    (held,) = again.versions()
    assert held.main.state is PlaceState.CHOSEN
    await again.note_choice(held.main.number, is_by_choice=False)
    assert again.versions()[0].main.state is PlaceState.PARTIAL
    assert again.newest_ever(CHECKPOINT) is None


async def test_what_lacks_nothing_any_more_counts_as_if_it_had_come_at_once(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(without_unit(hashed, 2), is_published=False, is_by_choice=True)
    number = held.main.number
    file = hashed.files[2]
    assert file is not None
    await catalog.settle(number, {2: file}, {})
    await catalog.note_choice(number, is_by_choice=False)
    assert catalog.newest_ever(CHECKPOINT) == 100
    again, _ = await reload(database, root)
    assert again.newest_ever(CHECKPOINT) == 100
    assert again.versions()[0].main.state is PlaceState.HERE
    await again.note_choice(number + 1, is_by_choice=True)  # was forgotten meanwhile


async def test_holdings_are_ordered_by_name_and_version(
    catalog: Catalog, root: Root, inside: Path
) -> None:
    write_files(inside / "v")
    for checkpoint, version in (("b", 1), ("a", 10), ("a", 9)):
        await catalog.add(publish(root, "v", checkpoint=checkpoint, version=version))
    names = [(holding.checkpoint, holding.version) for holding in catalog.holdings()]
    assert names == [("a", 9), ("a", 10), ("b", 1)]


async def test_publishing_the_same_again_changes_nothing(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, root: Root
) -> None:
    held = await catalog.add(hashed)
    assert await catalog.add(publish(root, "v100")) == held
    assert len(changes) == 1


async def test_the_same_content_elsewhere_is_a_second_place(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    write_files(inside / "copy")
    held = await catalog.add(publish(root, "copy"), is_published=False)
    assert [place.directory for place in held.places] == ["v100", "copy"]
    assert catalog.versions() == (held,)
    assert len(changes) == 1
    shutil.rmtree(inside / "v100")
    assert await read_all(catalog, hashed) == b"".join(in_order(hashed))


async def test_when_the_second_place_is_removed_the_first_one_still_serves(
    catalog: Catalog, hashed: HashedDirectory, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    write_files(inside / "copy")
    held = await catalog.add(publish(root, "copy"), is_published=False)
    shutil.rmtree(inside / "copy")
    assert await catalog.forget_if_gone(place_at(held, "copy").number)
    (left,) = catalog.versions()
    assert [place.directory for place in left.places] == ["v100"]
    assert left.holding == held.holding
    assert await read_all(catalog, hashed) == b"".join(in_order(hashed))


@pytest.fixture
def other(root: Root, inside: Path) -> HashedDirectory:
    write_files(inside / "other", {"weights.bin": b"other"})
    return publish(root, "other")


async def test_other_content_under_the_same_version_is_a_conflict(
    catalog: Catalog, hashed: HashedDirectory, other: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    with pytest.raises(Conflict, match=r"llama/rank-0@100: .*'v100' in root 'data'.*--replace"):
        await catalog.add(other)
    mark_changed(catalog, hashed.digest)
    with pytest.raises(Conflict):
        await catalog.add(other)
    assert [each.holding.digest for each in catalog.versions()] == [held.holding.digest]


async def test_other_content_can_replace(
    catalog: Catalog,
    changes: Changes,
    hashed: HashedDirectory,
    other: HashedDirectory,
    database: Database,
    root: Root,
) -> None:
    await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    held = await catalog.add(other, replace=True)
    assert catalog.versions() == (held,)
    assert len(changes) == 2
    with pytest.raises(NotFound):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.versions() == (held,)


async def test_what_a_recovery_brings_stands_beside_its_rival(
    catalog: Catalog, hashed: HashedDirectory, other: HashedDirectory
) -> None:
    first = await catalog.add(hashed)
    second = await catalog.add(other, is_published=False)
    assert catalog.find(CHECKPOINT, Version(100)) == (second, first)
    assert len(catalog.holdings()) == 2


async def test_what_was_recovered_is_not_replaced_by_what_is_published(
    catalog: Catalog, hashed: HashedDirectory, other: HashedDirectory
) -> None:
    await catalog.add(hashed, is_published=False)
    await catalog.add(other, replace=True)
    assert len(catalog.versions()) == 2


async def test_what_is_published_over_is_forgotten(
    catalog: Catalog, hashed: HashedDirectory, root: Root, inside: Path
) -> None:
    """A job that uses the same directories in turn does not fill the catalog."""
    await catalog.add(hashed)
    write_files(inside / "v100", {"weights.bin": b"other"})
    held = await catalog.add(publish(root, "v100", version=101))
    assert catalog.versions() == (held,)


async def test_one_directory_can_be_published_under_two_names(
    catalog: Catalog, hashed: HashedDirectory, root: Root
) -> None:
    first = await catalog.add(hashed)
    second = await catalog.add(publish(root, "v100", checkpoint="latest"))
    assert catalog.versions() == (second, first)
    assert catalog.at("data", "v100") == (second, second.places[0])


async def test_a_version_with_units_left_out_does_not_displace_a_fuller_one(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    partial = await catalog.add(without_unit(hashed, 2), is_published=False)
    full = await catalog.add(hashed)
    assert len(partial.holding.blocks) < len(full.holding.blocks)
    assert len(changes) == 2
    assert await catalog.add(without_unit(hashed, 2), is_published=False) == full
    assert catalog.versions() == (full,)


@pytest.mark.parametrize("kind", ["touch", "chmod", "link", "write again"])
async def test_a_file_that_looks_different_after_a_restart_is_suspect_and_the_rest_is_served(
    catalog: Catalog,
    hashed: HashedDirectory,
    database: Database,
    root: Root,
    inside: Path,
    kind: str,
) -> None:
    await catalog.add(hashed)
    path = inside / "v100/weights.bin"
    match kind:
        case "touch":
            os.utime(path)
        case "chmod":
            path.chmod(0o640)
        case "link":
            os.link(path, inside / "snapshot")
        case _:
            path.write_bytes(CONTENTS["weights.bin"])
    again, (held,) = await reload(database, root)
    (place,) = held.places
    weights = unit_named(hashed, "weights.bin")
    assert (place.state, place.suspect, place.changed) == (
        PlaceState.SUSPECT,
        frozenset({weights}),
        frozenset(),
    )
    assert "v100/weights.bin: " in place.reason
    assert not held.is_stale
    assert again.holdings() == (held.holding,)
    assert held.holding.blocks == BlockSet.full(3) - blocks_of(hashed, weights)
    served = await again.open_version(hashed.digest)
    assert served.blocks == held.holding.blocks


async def test_a_version_whose_directory_is_gone_is_stale_after_a_restart(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    os.rename(inside / "v100", inside / "gone")
    again, (stale,) = await reload(database, root)
    assert stale.is_stale
    assert place_at(stale).state is PlaceState.STALE
    assert stale.reason == f"directory {inside}/v100: was removed"
    assert again.holdings() == ()
    assert again.versions() == (stale,)
    with pytest.raises(ContentChanged, match=r"llama/rank-0@100: is stale: .*v100: was removed"):
        await again.open_version(hashed.digest)
    assert await again.manifest_bytes(hashed.digest) == hashed.encoded


async def test_a_file_that_is_gone_takes_only_its_unit_along(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    os.unlink(inside / "v100/optimizer/state.bin")
    _, (held,) = await reload(database, root)
    optimizer = unit_named(hashed, "optimizer/state.bin")
    assert place_at(held).changed == {optimizer}
    assert place_at(held).state is PlaceState.STALE
    assert held.holding.blocks == BlockSet.full(3) - blocks_of(hashed, optimizer)


async def test_a_version_in_a_root_that_is_not_configured_is_stale(
    catalog: Catalog, hashed: HashedDirectory, database: Database, tmp_path: Path
) -> None:
    held = await catalog.add(hashed)
    elsewhere = Root.open("elsewhere", str(tmp_path))
    again, (stale,) = await reload(database, elsewhere)
    assert "root 'data': is not configured" in stale.reason
    assert (stale.holding.size_bytes, stale.main.directory) == (held.holding.size_bytes, "v100")
    assert again.holdings() == ()
    assert not await again.forget_if_gone(stale.main.number)
    elsewhere.close()


async def test_a_unit_marked_suspect_is_served_no_more_until_it_was_hashed(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    suspects: list[int] = []
    catalog.on_place = suspects.append
    number, weights = held.places[0].number, unit_named(hashed, "weights.bin")
    await catalog.open_version(hashed.digest)
    for _ in range(2):
        catalog.mark_suspect(number, [weights, 99], "it looks different")
    assert suspects == [number]
    assert len(changes) == 2
    served = await catalog.open_version(hashed.digest)
    assert served.blocks == BlockSet.full(3) - blocks_of(hashed, weights)
    file = hashed.files[weights]
    assert file is not None
    await catalog.settle(number, {weights: file}, {})
    assert catalog.versions() == (held,)
    assert len(changes) == 3
    served = await catalog.open_version(hashed.digest)
    assert served.blocks == BlockSet.full(3)


async def test_a_unit_that_was_compressed_is_served_and_saves_room(
    catalog: Catalog, database: Database, root: Root, inside: Path
) -> None:
    write_files(inside / "v1", COPIED_CONTENTS)
    plain = publish(root, "v1")
    number = (await catalog.add(plain)).places[0].number
    before = await read_all(catalog, plain)
    kept = compress(root, plain)
    (unit,) = kept.files.compressed()
    file = kept.files[unit]
    assert file is not None
    await catalog.settle(number, {unit: file}, {})
    again, wrong = await reload(database, root)
    assert wrong == ()
    for each in (catalog, again):
        assert (
            await read_all(each, plain)
            == before
            == b"".join(COPIED_CONTENTS[unit.path] for unit in plain.manifest.units)
        )
        (place,) = each.versions()[0].places
        assert (place.state, place.saved_bytes) == (PlaceState.HERE, kept.files.saved_bytes)
        assert place.saved_bytes > 0


async def test_what_was_hashed_again_is_recorded(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    os.utime(inside / "v100/weights.bin")
    again, (held,) = await reload(database, root)
    number = held.places[0].number
    checked = hash_again(
        root, await again.hashed(number), held.places[0].suspect, Reading(workers=1)
    )
    await again.settle(number, checked.files, checked.changed)
    assert again.versions()[0].holding.is_complete
    assert await read_all(again, hashed) == b"".join(in_order(hashed))
    third, wrong = await reload(database, root)
    assert wrong == ()
    assert third.versions() == again.versions()


async def test_a_unit_whose_content_changed_is_withdrawn_and_the_rest_stays(
    catalog: Catalog, hashed: HashedDirectory, inside: Path, root: Root
) -> None:
    held = await catalog.add(hashed)
    number, weights = held.places[0].number, unit_named(hashed, "weights.bin")
    catalog.mark_suspect(number, [weights], "it looks different")
    await catalog.settle(number, {}, {weights: "it is different"})
    (stale,) = catalog.versions()
    assert (stale.places[0].changed, stale.places[0].suspect) == (frozenset({weights}), frozenset())
    assert stale.reason == "it is different"
    assert (stale.is_offered, stale.is_stale) == (True, False)
    catalog.mark_suspect(number, [weights], "looked at again")
    assert catalog.versions() == (stale,)
    catalog.mark_suspect(number, [weights], "written again", is_again=True)
    assert catalog.versions()[0].places[0].suspect == {weights}


async def test_who_waits_for_new_places_hears_of_them(
    catalog: Catalog, hashed: HashedDirectory
) -> None:
    places: list[int] = []
    catalog.on_place = places.append
    held = await catalog.add(hashed)
    await catalog.add(hashed)
    assert places == [held.places[0].number] * 2


async def test_when_all_was_right_is_known_only_when_all_was_hashed(
    catalog: Catalog, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = await catalog.add(hashed)
    number = held.places[0].number
    files = {unit: file for unit, file in enumerate(hashed.files) if file}
    monkeypatch.setattr(catalog, "_wall_clock", lambda: 9e9)
    await catalog.settle(number, {0: files[0]}, {})
    assert catalog.versions()[0].places[0].checked_at_s == held.places[0].checked_at_s
    await catalog.settle(number, files, {})
    assert catalog.versions()[0].places[0].checked_at_s == 9e9


async def test_what_was_found_wrong_is_not_believed_after_a_restart_however_it_looks(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(hashed)
    number, weights = held.places[0].number, unit_named(hashed, "weights.bin")
    await catalog.settle(number, {}, {weights: "it is different"})
    again, (wrong,) = await reload(database, root)
    assert wrong.places[0].suspect == {weights}
    assert wrong.reason == "was found to have other content"
    file = hashed.files[weights]
    assert file is not None
    await again.settle(number, {weights: file}, {})
    third, rest = await reload(database, root)
    assert rest == ()
    assert third.versions()[0].holding.is_complete


async def test_what_is_wholly_suspect_stays_listed_with_nothing(
    catalog: Catalog, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    number = held.places[0].number
    catalog.mark_suspect(number, range(len(hashed.files)), "it looks different")
    (listed,) = catalog.holdings()
    assert listed == replace(held.holding, blocks=BlockSet())
    with pytest.raises(NotFound):
        await catalog.open_version(hashed.digest)
    await catalog.withdraw(hashed.digest)
    assert catalog.holdings() == ()


async def test_a_version_of_which_all_changed_is_served_no_more_until_it_is_published_again(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, root: Root
) -> None:
    await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    mark_changed(catalog, hashed.digest, "somebody wrote to it")
    mark_changed(catalog, hashed.digest, "again")
    assert catalog.holdings() == ()
    assert len(changes) == 2
    with pytest.raises(ContentChanged, match="somebody wrote to it"):
        await catalog.open_version(hashed.digest)
    held = await catalog.add(publish(root, "v100"))
    assert catalog.holdings() == (held.holding,)
    assert len(changes) == 3
    await catalog.open_version(hashed.digest)


async def test_a_version_that_changes_while_it_is_opened_is_not_served(
    catalog: Catalog, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    opening = asyncio.create_task(catalog.open_version(hashed.digest))
    await asyncio.sleep(0)
    mark_changed(catalog, hashed.digest, "somebody wrote to it")
    with pytest.raises(ContentChanged, match="somebody wrote to it"):
        await opening


async def test_a_unit_found_changed_while_it_is_served_comes_from_another_place(
    catalog: Catalog, hashed: HashedDirectory, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    write_files(inside / "copy")
    held = await catalog.add(publish(root, "copy"))
    weights = unit_named(hashed, "weights.bin")
    os.unlink(inside / "v100/weights.bin")
    assert await read_all(catalog, hashed) == b"".join(in_order(hashed))
    await asyncio.sleep(0)  # the thread that served it tells
    (after,) = catalog.versions()
    assert place_at(after).suspect == {weights}
    assert place_at(after, "copy") == place_at(held, "copy")
    assert after.holding == held.holding


@pytest.mark.parametrize("is_forgotten", [False, True])
async def test_publishing_again_takes_the_new_fingerprints(
    catalog: Catalog, hashed: HashedDirectory, root: Root, inside: Path, *, is_forgotten: bool
) -> None:
    held = await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    os.utime(inside / "v100/weights.bin")
    if is_forgotten:
        await catalog.forget(held.places[0].number)
    await catalog.add(publish(root, "v100"))
    assert await read_all(catalog, hashed) == b"".join(in_order(hashed))


async def test_a_forgotten_version_is_gone_and_its_files_stay(
    catalog: Catalog,
    changes: Changes,
    hashed: HashedDirectory,
    database: Database,
    root: Root,
    inside: Path,
) -> None:
    held = await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    assert await catalog.forget(held.places[0].number) == held
    assert catalog.versions() == ()
    assert len(changes) == 2
    assert (inside / "v100/weights.bin").stat().st_size == 300_000
    with pytest.raises(NotFound):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.versions() == ()


async def test_a_place_that_was_removed_is_forgotten_and_that_is_reported(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    forgotten: list[str] = []
    catalog.on_forgotten = lambda held, place, why: forgotten.append(f"{place.directory}: {why}")
    held = await catalog.add(hashed)
    number = held.places[0].number
    assert not await catalog.forget_if_gone(number)
    shutil.rmtree(inside / "v100")
    assert await catalog.forget_if_gone(number)
    assert catalog.versions() == ()
    assert forgotten == ["v100: its directory was removed"]
    again, _ = await reload(database, root)
    assert again.versions() == ()


@pytest.mark.parametrize("is_there_again", [False, True])
async def test_what_is_added_meanwhile_only_counts_if_it_stands_there(
    catalog: Catalog,
    hashed: HashedDirectory,
    root: Root,
    inside: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_there_again: bool,
) -> None:
    held = await catalog.add(hashed)
    write_files(inside / "other")
    other = publish(root, "other", version=7)
    shutil.rmtree(inside / "v100")
    loop, looks = asyncio.get_running_loop(), 0

    def look_while_something_is_added(root: Root, place: Place) -> bool:
        nonlocal looks
        looks += 1
        removed = is_removed(root, place)
        if looks == 1:
            if is_there_again:
                write_files(inside / "v100")
            added = publish(root, "v100") if is_there_again else other
            asyncio.run_coroutine_threadsafe(catalog.add(added), loop).result()
        return removed

    monkeypatch.setattr(catalog_module, "is_removed", look_while_something_is_added)
    assert await catalog.forget_if_gone(held.places[0].number) is not is_there_again
    assert looks == 2
    assert (catalog.held(hashed.digest) is None) is not is_there_again


async def test_a_place_that_may_only_not_be_mounted_is_not_forgotten(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    shutil.rmtree(inside / "v100")
    again, _ = await reload(database, root)
    number = again.versions()[0].places[0].number
    assert not await again.forget_if_gone(number)
    (stale,) = again.versions()
    assert stale.is_stale
    write_files(inside / "other")
    await again.add(publish(root, "other", version=7))
    assert not await again.forget_if_gone(number), "that was put where nothing was mounted"
    third, _ = await reload(database, root)
    assert await third.forget_if_gone(number), "the other one is still there"


async def test_a_place_on_a_disk_that_is_mounted_below_the_root_is_not_forgotten(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    root.device += 1  # as if both directories lay on another disk than the root
    held = await catalog.add(hashed)
    write_files(inside / "other")
    await catalog.add(publish(root, "other", version=7))
    again, _ = await reload(database, root)
    shutil.rmtree(inside / "v100")
    number = held.places[0].number
    for each in (catalog, again):
        assert not await each.forget_if_gone(number)
        stale = each.held(hashed.digest)
        assert stale
        assert stale.is_stale
    root.device -= 1
    third, _ = await reload(database, root)
    assert await third.forget_if_gone(number)


async def test_a_place_that_stood_at_the_start_is_forgotten_whatever_its_disk_was_numbered(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    files = tuple(
        file and file._replace(fingerprint=file.fingerprint._replace(device=root.device + 1))
        for file in hashed.files
    )
    held = await catalog.add(replace(hashed, files=UnitFiles(files)))
    again, _ = await reload(database, root)
    shutil.rmtree(inside / "v100")
    assert await again.forget_if_gone(held.places[0].number)


async def test_what_is_withdrawn_is_off_offer_until_it_is_offered_again(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(hashed)
    withdrawn = await catalog.withdraw(hashed.digest)
    assert withdrawn.places[0].state is PlaceState.WITHDRAWN
    assert (withdrawn.is_offered, withdrawn.is_stale) == (False, False)
    assert changes == [(held.holding,), ()]
    with pytest.raises(NotFound, match="withdrawn"):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.holdings() == ()
    assert again.versions() == (withdrawn,)
    assert await again.offer(hashed.digest) == held
    assert again.holdings() == (held.holding,)
    with pytest.raises(NotFound):
        await again.withdraw(hashed.digest, 99)


async def test_what_is_held_back_is_off_offer_until_it_is_released_or_the_next_start(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(hashed)
    number = held.places[0].number
    catalog.hold_back(number)
    assert changes == [(held.holding,), ()]
    assert catalog.versions()[0].places[0].state is PlaceState.HERE
    with pytest.raises(Withdrawn):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.holdings() == (held.holding,)
    catalog.release(number)
    assert catalog.holdings() == (held.holding,)
    catalog.hold_back(number)
    await catalog.withdraw(hashed.digest)
    catalog.release(number)
    assert catalog.holdings() == (), "what somebody withdrew meanwhile stays so"


async def test_many_places_are_withdrawn_and_forgotten_together(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    await catalog.add(hashed)
    await catalog.add(publish(root, "v100", version=7))
    numbers = [held.places[0].number for held in catalog.versions()]
    changes.clear()
    await catalog.withdraw_all([*numbers, 99])
    assert changes == [()]
    assert [held.places[0].state for held in catalog.versions()] == [PlaceState.WITHDRAWN] * 2
    with pytest.raises(Withdrawn):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.holdings() == ()
    await catalog.forget_all([numbers[0], 99])
    assert [held.places[0].number for held in catalog.versions()] == [numbers[1]]
    await catalog.forget_all(numbers)
    assert catalog.versions() == ()
    assert changes == [()]
    again, _ = await reload(database, root)
    assert again.versions() == ()


async def test_what_is_withdrawn_is_nothing_that_a_recovery_should_go_back_to(
    catalog: Catalog, hashed: HashedDirectory, other: HashedDirectory
) -> None:
    await catalog.add(hashed)
    await catalog.add(other, is_published=False)
    assert catalog.had(CHECKPOINT) == {hashed.digest, other.digest}
    assert catalog.withdrawn(CHECKPOINT) == frozenset()
    await catalog.withdraw(other.digest)
    assert catalog.had(CHECKPOINT) == {hashed.digest}
    assert catalog.withdrawn(CHECKPOINT) == {other.digest}
    assert catalog.withdrawn(CheckpointName("another")) == frozenset()


async def test_how_far_scrubbing_is_survives_a_restart(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(hashed)
    number = held.places[0].number
    await catalog.note_scrubbed(number, 2, None)
    again, _ = await reload(database, root)
    assert again.versions() == catalog.versions()
    assert again.versions()[0].places[0].scrubbed_units == 2
    await catalog.note_scrubbed(number, 0, 7.0)
    again, _ = await reload(database, root)
    assert again.versions()[0].places[0].checked_at_s == 7.0
    assert len(changes) == 1


async def test_a_change_is_told_when_it_can_be_seen(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    mark_changed(catalog, hashed.digest)
    assert changes == [(held.holding,), ()]


async def test_only_some_versions_are_kept_open(
    catalog: Catalog, root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_versions, "_OPEN_VERSIONS_MAX", 2)
    write_files(inside / "v")
    first, second, third = [
        (await catalog.add(publish(root, "v", version=version))).holding.digest
        for version in range(3)
    ]
    opened = await catalog.open_version(first)
    await catalog.open_version(second)
    assert await catalog.open_version(first) is opened
    await catalog.open_version(third)
    assert await catalog.open_version(first) is opened
    assert list(catalog._open._open) == [third, first]


async def test_a_full_catalog_takes_no_more(
    catalog: Catalog, root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "HOLDINGS_MAX", 1)
    write_files(inside / "v")
    await catalog.add(publish(root, "v", version=1))
    await catalog.add(publish(root, "v", version=1))
    second = publish(root, "v", version=2)
    with pytest.raises(StorageError, match="has room for 1 versions"):
        await catalog.add(second)
    with pytest.raises(StorageError, match="has room for 1 versions"):
        catalog.check_room(CHECKPOINT, Version(2))
    with pytest.raises(StorageError):
        catalog.check_room(CHECKPOINT, Version(1), second.digest)
    catalog.check_room(CHECKPOINT, Version(1))
    catalog.check_room(CHECKPOINT, Version(1), catalog.versions()[0].holding.digest)


async def test_room_that_others_will_need_is_not_given_away(
    catalog: Catalog, root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "HOLDINGS_MAX", 3)
    write_files(inside / "v")
    await catalog.add(publish(root, "v", version=1))
    catalog.check_room(CHECKPOINT, Version(2), promised=1)
    catalog.check_room(CHECKPOINT, Version(1), promised=2)
    with pytest.raises(StorageError):
        catalog.check_room(CHECKPOINT, Version(2), promised=2)


async def test_a_version_that_cannot_be_recorded_is_not_held(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, database: Database
) -> None:
    await database.run(lambda connection: connection.execute("PRAGMA max_page_count = 1"))
    noise = replace(hashed, encoded=os.urandom(1 << 20))
    with pytest.raises(OutOfSpace):
        await catalog.add(noise)
    assert catalog.versions() == ()
    assert changes == []


DAMAGES = {
    "another manifest": "UPDATE versions SET manifest = (SELECT manifest FROM versions LIMIT 1)",
    "no compressed bytes": "UPDATE versions SET manifest = x'00010203'",
    "a frame that claims a terabyte": (
        "UPDATE versions SET manifest = x'28b52ffde0000000000001000001000000'"
    ),
    "no files": "UPDATE places SET files = x'c1'",
    "too few files": "UPDATE places SET files = x'90'",
}


@pytest.mark.parametrize("kind", DAMAGES)
async def test_a_damaged_row_makes_only_its_version_stale(
    catalog: Catalog,
    hashed: HashedDirectory,
    database: Database,
    root: Root,
    inside: Path,
    kind: str,
) -> None:
    write_files(inside / "sound")
    sound = await catalog.add(publish(root, "sound", version=1))
    await catalog.add(hashed)

    def damage(connection: Connection) -> None:
        connection.execute(f"{DAMAGES[kind]} WHERE digest = ?", (hashed.digest,))

    await database.run(damage)
    again, (stale,) = await reload(database, root)
    assert "is damaged" in stale.reason
    assert again.holdings() == (sound.holding,)
    with pytest.raises(DamagedState, match=r"llama/rank-0@100 in .*ckptd\.db: is damaged"):
        await catalog.open_version(hashed.digest)
    assert catalog.holdings() == (sound.holding,)


@pytest.fixture
async def again(
    database: Database, root: Root, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> Catalog:
    """A catalog after a start that had no time to look at what it has."""
    before = Catalog(database, Roots([root]), lambda: NOW_S)
    await before.load()
    await before.add(hashed)
    monkeypatch.setattr(catalog_module, "SEEN_AT_ONCE_BYTES", 0)
    catalog = Catalog(database, Roots([root]), lambda: NOW_S)
    assert await catalog.load() == ()
    return catalog


async def test_what_was_not_looked_at_is_known_and_not_on_offer(
    again: Catalog, hashed: HashedDirectory
) -> None:
    [held] = again.versions()
    assert [place.state for place in held.places] == [PlaceState.UNSEEN]
    assert (held.is_offered, held.is_stale, held.main.is_whole) == (False, False, False)
    assert again.holdings() == ()
    [standing] = again.standing(CHECKPOINT)
    assert not standing.blocks
    assert again.unseen() == (hashed.digest,)
    assert again.unseen(CheckpointName("other")) == ()
    assert again.had(CHECKPOINT) == {hashed.digest}


async def test_once_it_is_looked_at_it_is_what_it_would_have_been(
    again: Catalog, database: Database, root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    noted: Changes = []
    again.on_change = lambda: noted.append(again.holdings())
    stale: list[HeldVersion] = []
    again.on_stale = stale.append
    seen: list[int] = []
    again.on_seen = seen.append
    (inside / "v100/weights.bin").unlink()
    await again.see_family(CHECKPOINT)
    expected = Catalog(database, Roots([root]), lambda: NOW_S)
    await expected.load()
    await expected.see(hashed.digest)
    assert again.versions() == expected.versions()
    assert noted == [again.holdings()]
    assert stale == list(again.versions())
    assert seen == [again.versions()[0].main.number]
    assert again.unseen() == ()
    await again.see(hashed.digest)
    assert len(noted) == 1, "it is looked at once"


async def test_who_wants_to_read_it_has_it_looked_at(
    again: Catalog, hashed: HashedDirectory
) -> None:
    served = await again.open_version(hashed.digest)
    assert served.digest == hashed.digest
    assert again.unseen() == ()


async def test_who_reads_what_was_looked_at_waits_for_no_look_at_another(
    again: Catalog, root: Root, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await again.add(publish(root, "v100", version=101))
    looks = threading.Event()

    def look_late(stored: StoredVersion, roots: Roots, database: str) -> Inspected:
        assert looks.wait(60)
        return inspect(stored, roots, database)

    monkeypatch.setattr(catalog_module, "inspect", look_late)
    seeing = asyncio.create_task(again.see(hashed.digest))
    await asyncio.sleep(0)
    async with asyncio.timeout(30):
        served = await again.open_version(other.holding.digest)
    assert served.digest == other.holding.digest
    assert again.unseen() == (hashed.digest,)
    looks.set()
    await seeing
    assert again.unseen() == ()


async def test_what_somebody_decides_while_it_is_looked_at_counts(
    again: Catalog, root: Root, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = again.versions()[0].main
    looks = threading.Event()

    def look_late(stored: StoredVersion, roots: Roots, database: str) -> Inspected:
        assert looks.wait(60)
        return inspect(stored, roots, database)

    monkeypatch.setattr(catalog_module, "inspect", look_late)
    seeing = asyncio.create_task(again.see(hashed.digest))
    await asyncio.sleep(0)
    await again.withdraw(hashed.digest)
    looks.set()
    await seeing
    assert [each.state for each in again.versions()[0].places] == [PlaceState.WITHDRAWN]
    assert (await again.offer(hashed.digest)).main == replace(
        again.versions()[0].main, is_withdrawn=False
    )
    assert again.holdings()[0].is_whole
    assert place.is_unseen


async def test_what_goes_or_comes_while_it_is_looked_at_stays_so(
    again: Catalog, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = threading.Event()

    def look_late(stored: StoredVersion, roots: Roots, database: str) -> Inspected:
        assert looks.wait(60)
        return inspect(stored, roots, database)

    monkeypatch.setattr(catalog_module, "inspect", look_late)
    seeing = asyncio.create_task(again.see(hashed.digest))
    added = await again.add(hashed)
    looks.set()
    await seeing
    assert again.versions() == (added,)
    assert added.main.state is PlaceState.HERE
    await forget(again, hashed.digest)
    await again.see(hashed.digest)
    assert again.versions() == ()


async def test_a_version_is_active_where_a_link_leads_to_any_of_its_places(
    catalog: Catalog, database: Database, root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    shutil.copytree(inside / "v100", inside / "copy")
    await catalog.add(hashed)
    await catalog.add(publish(root, "copy"))
    assert not catalog.is_active(hashed.digest)
    row = ActiveVersion("data", CHECKPOINT, "current", "copy", Version(100), hashed.digest, NOW_S)
    await catalog.active.intend(row)
    assert catalog.is_active(hashed.digest)
    await catalog.active.settle(row)
    again, _ = await reload(database, root)
    assert again.is_active(hashed.digest)
    assert not again.is_active(UNKNOWN)


async def test_a_copy_is_nothing_that_this_node_had(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    roots = Roots([root], for_copies=root.name)
    catalog = Catalog(database, roots, lambda: NOW_S)
    held = await catalog.add(without_unit(hashed, 2), is_published=False, is_by_choice=True)
    assert held.is_copy
    file = hashed.files[2]
    assert file is not None
    await catalog.settle(held.main.number, {2: file}, {})
    await catalog.note_choice(held.main.number, is_by_choice=False)
    assert catalog.newest_ever(CHECKPOINT) is None
    assert catalog.had(CHECKPOINT) == frozenset()
    assert catalog.copied(CHECKPOINT) == {hashed.digest}
    assert [each.is_complete for each in catalog.standing(CHECKPOINT)] == [True]
    for found, is_copy in ((roots, True), (Roots([root]), False)):
        again = Catalog(database, found, lambda: NOW_S)
        await again.load()
        (held,) = again.versions()
        assert held.is_copy is held.main.is_copy is is_copy
        assert again.had(CHECKPOINT) == (frozenset() if is_copy else {hashed.digest})


async def test_what_was_published_in_the_root_for_copies_is_none(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    catalog = Catalog(database, Roots([root], for_copies=root.name), lambda: NOW_S)
    held = await catalog.add(hashed)
    assert not held.is_copy
    assert catalog.newest_ever(CHECKPOINT) == 100


async def test_a_copy_with_other_content_keeps_nobody_from_publishing(
    database: Database, root: Root, hashed: HashedDirectory, other: HashedDirectory
) -> None:
    """Whoever publishes under a name before its job does would keep that off offer else."""
    catalog = Catalog(database, Roots([root], for_copies=root.name), lambda: NOW_S)
    copy = await catalog.add(hashed, is_published=False)
    own = await catalog.add(other)
    assert (copy.is_copy, own.is_copy) == (True, False)
    assert catalog.find(CHECKPOINT, Version(100)) == (own, copy)
    assert catalog.had(CHECKPOINT) == {other.digest}


async def test_where_a_copy_and_a_version_stand_the_version_is_named(
    database: Database, root: Root, hashed: HashedDirectory
) -> None:
    catalog = Catalog(database, Roots([root], for_copies=root.name), lambda: NOW_S)
    await catalog.add(hashed, is_published=False)
    assert catalog.newest_ever(CHECKPOINT) is None
    await asyncio.to_thread(write_files, Path(root.path, "v100-too"))
    there = await asyncio.to_thread(publish, root, "v100-too")
    held = await catalog.add(there)
    assert [place.is_copy for place in held.places] == [True, False]
    assert held.main.directory == "v100-too"
    assert not held.is_copy
    catalog.mark_changed(held.places[1].number, (0,), "changed")
    assert catalog.versions()[0].main.directory == "v100"
