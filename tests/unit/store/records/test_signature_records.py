from pathlib import Path

import pytest

from ckptd.errors import DamagedState, NotFound
from ckptd.limits import SIGNATURES_MAX
from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.signatures import KeyId, Signature
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal, JournaledRecovery
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.wire.signature_lines import encode_signatures
from tests.support.stores import publish, write_files

DIGEST = Digest("ab" * 32)


def signature(number: int, value: int = 0) -> Signature:
    return Signature(KeyId(f"{number:016x}"), bytes([value]) * 64)


async def opened(path: Path) -> Database:
    database = Database(str(path / "ckptd.db"))
    await database.open()
    return database


async def test_signatures_outlive_the_daemon(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    await SignatureShelf(database).add(DIGEST, [signature(1), signature(2)])
    await database.close()
    database = await opened(tmp_path)
    shelf = SignatureShelf(database)
    assert await shelf.find(DIGEST) == (signature(1), signature(2))
    assert await shelf.document(DIGEST) == encode_signatures([signature(1), signature(2)])
    await database.close()


async def test_a_manifest_without_signatures_has_no_document(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    shelf = SignatureShelf(database)
    await shelf.add(DIGEST, [])
    assert await shelf.find(DIGEST) == ()
    with pytest.raises(NotFound):
        await shelf.document(DIGEST)
    await database.close()


async def test_signatures_come_together_one_for_each_key_and_not_without_end(
    tmp_path: Path,
) -> None:
    database = await opened(tmp_path)
    shelf = SignatureShelf(database)
    await shelf.add(DIGEST, [signature(1), signature(2)])
    await shelf.add(DIGEST, [signature(1, value=9)])
    assert await shelf.find(DIGEST) == (signature(2), signature(1, value=9))
    for number in range(3, 20):
        await shelf.add(DIGEST, [signature(number)])
    kept = await shelf.find(DIGEST)
    assert kept == tuple(signature(number) for number in range(20 - SIGNATURES_MAX, 20))
    await database.close()


async def test_signatures_of_manifests_that_are_gone_are_forgotten(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    root = Root.open("data", str(tmp_path))
    write_files(tmp_path / "v100")
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    held = await catalog.add(publish(root, "v100"))
    journal, wanted = Journal(database), Digest("cd" * 32)
    record = JournaledRecovery(
        RecoveryId("r-1"), CheckpointName("a"), None, None, "data", "", None, False, 0.0
    )
    await journal.begin(record)
    await journal.choose(record.recovery, Version(1), wanted, b"manifest")
    shelf = SignatureShelf(database)
    for digest in (DIGEST, wanted, held.holding.digest):
        await shelf.add(digest, [signature(1)])
    await shelf.prune()
    assert await shelf.find(DIGEST) == ()
    assert await shelf.find(wanted) == await shelf.find(held.holding.digest) == (signature(1),)
    root.close()
    await database.close()


async def test_damage_is_not_served(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    shelf = SignatureShelf(database)
    await shelf.add(DIGEST, [signature(1)])
    await database.run(
        lambda connection: connection.execute("UPDATE signatures SET document = x'00'")
    )
    with pytest.raises(DamagedState):
        await shelf.document(DIGEST)
    await database.close()
