import asyncio
import os
from collections.abc import AsyncIterator
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
)
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published import catalog as catalog_module
from ckptd.store.published.catalog import Catalog, HeldVersion
from ckptd.store.records.database import Database
from ckptd.store.records.schema import Connection
from tests.support.stores import CONTENTS, publish, write_files

CHECKPOINT = CheckpointName("llama/rank-0")
Changes = list[tuple[Holding, ...]]

UNKNOWN = Digest("00" * 32)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(str(tmp_path / "ckptd.db"))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def catalog(database: Database, root: Root) -> Catalog:
    catalog = Catalog(database, Roots([root]))
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
    catalog = Catalog(database, Roots([root]))
    return catalog, await catalog.load()


def without_unit(hashed: HashedDirectory, left_out: int) -> HashedDirectory:
    return replace(
        hashed,
        files=tuple(None if unit == left_out else file for unit, file in enumerate(hashed.files)),
    )


def holding_of(hashed: HashedDirectory, blocks: BlockSet) -> Holding:
    return Holding(
        checkpoint=CHECKPOINT,
        version=Version(hashed.manifest.version),
        digest=hashed.digest,
        size_bytes=hashed.manifest.size_bytes,
        block_count=3,
        blocks=blocks,
    )


async def test_an_empty_catalog_holds_nothing(catalog: Catalog) -> None:
    assert catalog.holdings() == ()
    assert catalog.versions() == ()
    assert catalog.find(CHECKPOINT, Version(100)) is None
    with pytest.raises(NotFound):
        await catalog.open_version(UNKNOWN)
    with pytest.raises(NotFound):
        await catalog.manifest_bytes(UNKNOWN)
    with pytest.raises(NotFound):
        await catalog.remove(CHECKPOINT, Version(100))


async def test_a_published_version_is_held(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    assert held == HeldVersion(
        holding=holding_of(hashed, BlockSet.full(3)),
        root="data",
        directory="v100",
        is_published=True,
    )
    assert catalog.holdings() == (held.holding,)
    assert catalog.find(CHECKPOINT, Version(100)) is held
    assert len(changes) == 1
    assert await catalog.manifest_bytes(hashed.digest) == hashed.encoded
    served = await catalog.open_version(hashed.digest)
    assert (served.digest, served.size_bytes) == (hashed.digest, 305_000)


async def test_the_catalog_is_read_again_after_a_restart(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root
) -> None:
    held = await catalog.add(without_unit(hashed, 2), is_published=False)
    again, stale = await reload(database, root)
    assert stale == ()
    assert again.versions() == (held,)
    assert not held.is_published
    served = await again.open_version(hashed.digest)
    assert served.blocks == held.holding.blocks == BlockSet([(0, 1)])


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


async def test_the_same_content_elsewhere_is_held_from_there(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    write_files(inside / "copy")
    held = await catalog.add(publish(root, "copy"))
    assert held.directory == "copy"
    assert catalog.versions() == (held,)
    assert len(changes) == 1
    for path in CONTENTS:
        os.unlink(inside / "v100" / path)
    served = await catalog.open_version(hashed.digest)
    assert sum(piece.size_bytes for piece in served.pieces(0, 305_000)) == 305_000


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
    catalog.mark_stale(hashed.digest, "changed")
    with pytest.raises(Conflict):
        await catalog.add(other)
    assert [each.directory for each in catalog.versions()] == [held.directory]


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


async def test_a_version_with_units_left_out_does_not_displace_a_fuller_one(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    partial = await catalog.add(without_unit(hashed, 2), is_published=False)
    full = await catalog.add(hashed)
    assert len(partial.holding.blocks) < len(full.holding.blocks)
    assert len(changes) == 2
    assert await catalog.add(without_unit(hashed, 2), is_published=False) == full
    assert catalog.versions() == (full,)


async def test_a_version_whose_files_changed_is_stale_after_a_restart(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    os.utime(inside / "v100/weights.bin")
    again, (stale,) = await reload(database, root)
    assert stale.is_stale
    assert "v100/weights.bin: changed since it was published" in stale.stale_reason
    assert again.holdings() == ()
    assert again.versions() == (stale,)
    with pytest.raises(ContentChanged, match=r"llama/rank-0@100: is stale: .*weights.bin"):
        await again.open_version(hashed.digest)
    assert await again.manifest_bytes(hashed.digest) == hashed.encoded


async def test_a_version_whose_files_vanished_is_stale_after_a_restart(
    catalog: Catalog, hashed: HashedDirectory, database: Database, root: Root, inside: Path
) -> None:
    await catalog.add(hashed)
    os.rename(inside / "v100", inside / "gone")
    _, (stale,) = await reload(database, root)
    assert "was removed" in stale.stale_reason


async def test_a_version_in_a_root_that_is_not_configured_is_stale(
    catalog: Catalog, hashed: HashedDirectory, database: Database, tmp_path: Path
) -> None:
    held = await catalog.add(hashed)
    elsewhere = Root.open("elsewhere", str(tmp_path))
    again, (stale,) = await reload(database, elsewhere)
    assert "root 'data': is not configured" in stale.stale_reason
    assert (stale.holding.size_bytes, stale.directory) == (held.holding.size_bytes, "v100")
    assert again.holdings() == ()
    elsewhere.close()


async def test_a_version_marked_stale_is_served_no_more_until_it_is_published_again(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory, root: Root
) -> None:
    await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    catalog.mark_stale(hashed.digest, "somebody wrote to it")
    catalog.mark_stale(hashed.digest, "again")
    catalog.mark_stale(UNKNOWN, "whatever")
    assert catalog.holdings() == ()
    assert len(changes) == 2
    with pytest.raises(ContentChanged, match="somebody wrote to it"):
        await catalog.open_version(hashed.digest)
    held = await catalog.add(publish(root, "v100"))
    assert catalog.holdings() == (held.holding,)
    assert len(changes) == 3
    await catalog.open_version(hashed.digest)


async def test_a_version_that_becomes_stale_while_it_is_opened_is_not_served(
    catalog: Catalog, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    opening = asyncio.create_task(catalog.open_version(hashed.digest))
    await asyncio.sleep(0)
    assert catalog._lock.locked(), "it reads the version"
    catalog.mark_stale(hashed.digest, "somebody wrote to it")
    with pytest.raises(ContentChanged, match="somebody wrote to it"):
        await opening
    assert not catalog._open


@pytest.mark.parametrize("is_removed", [False, True])
async def test_publishing_again_takes_the_new_fingerprints(
    catalog: Catalog, hashed: HashedDirectory, root: Root, inside: Path, is_removed: bool
) -> None:
    await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    os.utime(inside / "v100/weights.bin")
    if is_removed:
        await catalog.remove(CHECKPOINT, Version(100))
    await catalog.add(publish(root, "v100"))
    served = await catalog.open_version(hashed.digest)
    assert sum(piece.size_bytes for piece in served.pieces(0, 305_000)) == 305_000


async def test_a_removed_version_is_forgotten_and_its_files_stay(
    catalog: Catalog,
    changes: Changes,
    hashed: HashedDirectory,
    database: Database,
    root: Root,
    inside: Path,
) -> None:
    held = await catalog.add(hashed)
    await catalog.open_version(hashed.digest)
    assert await catalog.remove(CHECKPOINT, Version(100)) == held
    assert catalog.versions() == ()
    assert len(changes) == 2
    assert (inside / "v100/weights.bin").stat().st_size == 300_000
    with pytest.raises(NotFound):
        await catalog.open_version(hashed.digest)
    again, _ = await reload(database, root)
    assert again.versions() == ()


async def test_a_change_is_told_when_it_can_be_seen(
    catalog: Catalog, changes: Changes, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed)
    catalog.mark_stale(hashed.digest, "changed")
    assert changes == [(held.holding,), ()]


async def test_only_some_versions_are_kept_open(
    catalog: Catalog, root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "_OPEN_VERSIONS_MAX", 2)
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
    assert list(catalog._open) == [third, first]


async def test_a_full_catalog_takes_no_more(
    catalog: Catalog, root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_module, "HOLDINGS_MAX", 1)
    write_files(inside / "v")
    await catalog.add(publish(root, "v", version=1))
    await catalog.add(publish(root, "v", version=1))
    with pytest.raises(StorageError, match="has 1 versions"):
        await catalog.add(publish(root, "v", version=2))


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
    "no files": "UPDATE versions SET files = x'c1'",
    "too few files": "UPDATE versions SET files = x'90'",
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
    assert "is damaged" in stale.stale_reason
    assert again.holdings() == (sound.holding,)
    with pytest.raises(DamagedState, match=r"llama/rank-0@100 in .*ckptd\.db: is damaged"):
        await catalog.open_version(hashed.digest)
    assert catalog.holdings() == (sound.holding,)
