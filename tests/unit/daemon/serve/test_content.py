"""What a node serves, from the catalog and from recoveries."""

from __future__ import annotations

import pytest

from ckptd.daemon.serve.advertising import Advertising, Incoming
from ckptd.daemon.serve.content import ServedContent
from ckptd.errors import ContentChanged, DamagedState, NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, RecoveryId, Version
from ckptd.model.space import AddressSpace
from ckptd.store.files.fingerprints import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal, JournaledRecovery
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.staging.staged_version import StagedVersion
from tests.support.stores import mark_changed

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
    return ServedContent(advertising, catalog, journal, SignatureShelf(database))


@pytest.fixture
async def staged(
    advertising: Advertising, journal: Journal, root: Root, hashed: HashedDirectory
) -> StagedVersion:
    """A recovery that has one block."""
    record = JournaledRecovery(
        recovery=RECOVERY,
        checkpoint=CheckpointName("llama/rank-0"),
        version=None,
        digest=None,
        root="data",
        target="target",
        patience_ns=None,
        is_paused=False,
        started_at_s=0.0,
    )
    await journal.begin(record)
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
