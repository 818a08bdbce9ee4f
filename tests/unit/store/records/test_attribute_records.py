from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import DamagedState, NotFound
from ckptd.limits import MIB
from ckptd.model.ids import Digest
from ckptd.model.signatures import KeyId, Signature
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.database import Database
from ckptd.wire.attribute_answers import encode_answer
from tests.support.stores import publish, write_files

DIGEST = Digest("ab" * 32)
SIGNATURES = (Signature(KeyId("0" * 16), b"s" * 64),)
LONG = bytes(range(256)) * (3 * MIB // 256) + b"end"


async def opened(path: Path) -> Database:
    database = Database(str(path / "ckptd.db"))
    await database.open()
    return database


@pytest.mark.parametrize("document", [b"document", LONG])
async def test_documents_outlive_the_daemon(tmp_path: Path, document: bytes) -> None:
    database = await opened(tmp_path)
    await AttributeShelf(database).put(DIGEST, document, SIGNATURES)
    await database.close()
    database = await opened(tmp_path)
    shelf = AttributeShelf(database)
    assert await shelf.find(DIGEST) == (document, SIGNATURES)
    assert await shelf.answer(DIGEST) == encode_answer(document, SIGNATURES)
    await database.close()


async def test_the_last_document_takes_the_place_of_others(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    shelf = AttributeShelf(database)
    await shelf.put(DIGEST, LONG, SIGNATURES)
    await shelf.put(DIGEST, b"short", ())
    assert await shelf.find(DIGEST) == (b"short", ())
    await database.close()


async def test_a_manifest_without_attributes_has_no_document(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    shelf = AttributeShelf(database)
    assert await shelf.find(DIGEST) is None
    with pytest.raises(NotFound):
        await shelf.answer(DIGEST)
    await database.close()


@pytest.mark.parametrize("damage", ["x'00'", "x'28b52ffd2000010000'"])
async def test_a_damaged_document_is_an_error_with_a_name(tmp_path: Path, damage: str) -> None:
    database = await opened(tmp_path)
    shelf = AttributeShelf(database)
    await database.run(
        lambda connection: connection.execute(
            f"INSERT INTO attributes VALUES ('{DIGEST}', 0, {damage})"
        )
    )
    with pytest.raises(DamagedState, match=f"attributes of {DIGEST}"):
        await shelf.find(DIGEST)
    await database.close()


async def test_documents_of_what_is_gone_are_forgotten_at_the_next_start(tmp_path: Path) -> None:
    database = await opened(tmp_path)
    write_files(tmp_path / "v1")
    root = Root.open("data", str(tmp_path))
    hashed = publish(root, "v1")
    await Catalog(database, Roots([root])).add(hashed)
    shelf = AttributeShelf(database)
    for digest in (DIGEST, hashed.digest):
        await shelf.put(digest, b"document", ())
    await shelf.prune()
    assert await shelf.find(DIGEST) is None
    assert await shelf.find(hashed.digest) == (b"document", ())
    root.close()
    await database.close()
