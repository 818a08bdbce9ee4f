"""What a node serves, from the catalog and from recoveries."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.daemon.serve.advertising import Advertising, Incoming
from ckptd.daemon.serve.content import ServedContent
from ckptd.errors import ContentChanged, DamagedState, NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, Epoch, NodeId, RecoveryId, Version
from ckptd.model.space import AddressSpace
from ckptd.net.source.answers import StoodBy, VersionBody
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from ckptd.store.published.serving import ServedVersion
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.wire.byte_ranges import ByteRange
from tests.support.stores import journaled, mark_changed, publish, rot, write_files

RECOVERY = RecoveryId("r-1")
UNKNOWN = Digest("00" * 32)


@pytest.fixture
def journal(database: Database) -> Journal:
    return Journal(database)


@pytest.fixture
def advertising(catalog: Catalog) -> Advertising:
    return Advertising(NodeId("node-a"), Epoch(5), catalog)


@pytest.fixture
def content(
    advertising: Advertising, catalog: Catalog, journal: Journal, database: Database
) -> ServedContent:
    return ServedContent(
        advertising, catalog, journal, SignatureShelf(database), AttributeShelf(database)
    )


@pytest.fixture
async def staged(
    advertising: Advertising, journal: Journal, root: Root, hashed: HashedDirectory
) -> StagedVersion:
    """A recovery that has one block."""
    await journal.begin(journaled(RECOVERY, target="target"))
    await journal.choose(RECOVERY, Version(100), hashed.digest, hashed.encoded)
    staged = StagedVersion(root, ".ckptd/r-1", "target", AddressSpace(hashed.manifest))
    staged.add(BlockSet.single(0))
    advertising.begin(Incoming(RECOVERY, hashed.digest, staged))
    return staged


async def test_what_is_not_here_is_not_found(content: ServedContent) -> None:
    with pytest.raises(NotFound):
        await content.manifest(UNKNOWN)
    with pytest.raises(NotFound):
        await content.open_version(UNKNOWN)


async def test_a_recovery_serves_its_blocks_and_its_manifest(
    content: ServedContent, staged: StagedVersion, hashed: HashedDirectory
) -> None:
    assert await content.open_version(hashed.digest) is staged
    assert await content.manifest(hashed.digest) == hashed.encoded
    assert content.revision == 2


async def test_the_catalog_goes_first_when_it_has_everything(
    content: ServedContent, staged: StagedVersion, catalog: Catalog, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    assert await content.open_version(hashed.digest) is await catalog.open_version(hashed.digest)
    assert await content.manifest(hashed.digest) == hashed.encoded
    mark_changed(catalog, hashed.digest)
    assert await content.open_version(hashed.digest) is staged


async def test_what_was_given_up_is_not_found_or_stale_as_before(
    content: ServedContent,
    staged: StagedVersion,
    advertising: Advertising,
    catalog: Catalog,
    hashed: HashedDirectory,
) -> None:
    assert staged.blocks
    advertising.end(RECOVERY)
    with pytest.raises(NotFound):
        await content.open_version(hashed.digest)
    with pytest.raises(NotFound):
        await content.manifest(hashed.digest)
    await catalog.add(hashed)
    mark_changed(catalog, hashed.digest)
    with pytest.raises(ContentChanged):
        await content.open_version(hashed.digest)


async def test_a_manifest_that_rotted_in_the_journal_is_not_passed_on(
    content: ServedContent, staged: StagedVersion, database: Database, hashed: HashedDirectory
) -> None:
    assert staged.blocks
    await database.run(
        lambda connection: connection.execute("UPDATE recoveries SET manifest = x''")
    )
    with pytest.raises(DamagedState):
        await content.manifest(hashed.digest)
    await database.run(lambda connection: connection.execute("DELETE FROM recoveries"))
    with pytest.raises(NotFound):
        await content.manifest(hashed.digest)


# Bad blocks that a receiver asks about


def _sent(digest: Digest, version: ServedVersion | StagedVersion) -> VersionBody:
    return VersionBody(digest, version, ByteRange(0, version.size_bytes))


async def test_a_rotted_block_is_denied_and_withdrawn_for_whom_it_was_sent_to(
    content: ServedContent, catalog: Catalog, root: Root, hashed: HashedDirectory
) -> None:
    asked = BlockSet.single(2)
    (place,) = AddressSpace(hashed.manifest).places((2, 3))
    await catalog.add(rot(root, hashed, place.unit, place.offset))
    version = await catalog.open_version(hashed.digest)
    content.sending(_sent(hashed.digest, version), "node-b")
    stands = StoodBy(BlockSet(), is_held=True)
    assert await content.stand_by(hashed.digest, asked, "node-c") == stands, "not sent to it"
    assert content.questions.questioned_count == 0
    assert await content.stand_by(hashed.digest, BlockSet.single(0), "node-b") == stands
    denied = StoodBy(asked, is_held=False)
    assert await content.stand_by(hashed.digest, asked, "node-b") == denied
    offered = {each.digest: each.blocks for each in catalog.holdings()}
    assert 2 not in offered.get(hashed.digest, BlockSet())


async def test_a_block_that_rotted_at_one_place_is_served_from_another_from_then_on(
    content: ServedContent, catalog: Catalog, root: Root, hashed: HashedDirectory
) -> None:
    asked = BlockSet.single(2)
    (place,) = AddressSpace(hashed.manifest).places((2, 3))
    write_files(Path(root.path, "copy"))
    copy = publish(root, "copy")
    await catalog.add(rot(root, hashed, place.unit, place.offset))
    await catalog.add(copy)
    version = await catalog.open_version(hashed.digest)
    content.sending(_sent(hashed.digest, version), "node-b")
    found = StoodBy(asked, is_held=True)
    assert await content.stand_by(hashed.digest, asked, "node-b") == found
    assert content.questions.rotten_count == 1
    assert [len(place.suspect) for place in catalog.versions()[0].places] == [1, 0]
    (holding,) = catalog.holdings()
    assert holding.is_complete
    stands = StoodBy(BlockSet(), is_held=True)
    assert await content.stand_by(hashed.digest, asked, "node-b") == stands


async def test_blocks_that_are_not_here_are_denied_and_others_do_not_exist(
    content: ServedContent, staged: StagedVersion, hashed: HashedDirectory
) -> None:
    asked = BlockSet([(0, 2), (1000, 1001)])
    expected = StoodBy(BlockSet.single(1), is_held=False)
    assert await content.stand_by(hashed.digest, asked, "node-b") == expected
    with pytest.raises(NotFound):
        await content.stand_by(UNKNOWN, asked, "node-b")


async def test_a_block_that_rots_in_staging_is_served_no_more(
    content: ServedContent, staged: StagedVersion, hashed: HashedDirectory, root: Root
) -> None:
    (place,) = staged.space.places((0, 1))
    wrong = {hashed.manifest.units[place.unit].path: bytes(place.size_bytes)}
    write_files(Path(root.path, ".ckptd", "r-1"), wrong)
    content.sending(VersionBody(hashed.digest, staged, ByteRange(0, place.size_bytes)), "node-b")
    denied = StoodBy(BlockSet.single(0), is_held=False)
    assert await content.stand_by(hashed.digest, BlockSet.single(0), "node-b") == denied
    assert not staged.blocks
