from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "root").mkdir()
    opened = Root.open("data", str(tmp_path / "root"))
    yield opened
    opened.close()


@pytest.fixture
async def catalog(database: Database, root: Root) -> Catalog:
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    return catalog


@pytest.fixture
def hashed(root: Root) -> HashedDirectory:
    """Two blocks of weights, one of the optimizer."""
    write_files(Path(root.path, "v100"))
    return publish(root, "v100")
