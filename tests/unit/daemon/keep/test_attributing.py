"""Attribute documents of what was published before there were any."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.daemon.keep import attributing
from ckptd.daemon.keep.attributing import Attributing
from ckptd.daemon.parts import Parts
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files

Said = list[tuple[str, dict[str, object]]]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Warnings, each with its fields."""
    seen: Said = []
    log = SimpleNamespace(
        warning=lambda event, **fields: seen.append((event, fields)), info=lambda *_, **__: None
    )
    monkeypatch.setattr(attributing, "_log", log)
    return seen


async def publish_some(catalog: Catalog, root: Root) -> None:
    for number in range(3):
        write_files(Path(root.path, "run", str(number)), {"model.bin": bytes([number]) * 100})
        await catalog.add(publish(root, f"run/{number}", version=number))


def attributing_of(catalog: Catalog, database: Database, *roots: Root) -> Attributing:
    storage = SimpleNamespace(
        catalog=catalog,
        roots=Roots(list(roots)),
        attributes=AttributeShelf(database),
        shelf=SimpleNamespace(find=_find_none),
    )
    policy = SimpleNamespace(sign_attributes=lambda document: ())
    return Attributing(cast(Parts, SimpleNamespace(storage=storage, policy=policy)))


async def _find_none(_: str) -> tuple[object, ...]:
    return ()


async def test_what_stands_as_it_was_published_gets_a_document(
    catalog: Catalog, root: Root, database: Database, said: Said
) -> None:
    await publish_some(catalog, root)
    await attributing_of(catalog, database, root).run()
    shelf = AttributeShelf(database)
    assert [await shelf.has(each.holding.digest) for each in catalog.versions()] == [True] * 3
    assert said == []


async def test_of_a_root_that_is_not_configured_any_more_nothing_is_said(
    catalog: Catalog, root: Root, database: Database, said: Said, tmp_path: Path
) -> None:
    await publish_some(catalog, root)
    (tmp_path / "another").mkdir()
    another = Root.open("another", str(tmp_path / "another"))
    await attributing_of(catalog, database, another).run()
    another.close()
    assert said == []
