from pathlib import Path

from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files

NAME = CheckpointName("llama/rank-0")


async def test_the_newest_version_outlives_itself_and_the_daemon(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    root = Root.open("data", str(tmp_path / "root"))
    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    assert catalog.newest_ever(NAME) is None
    for version in (7, 9, 8):
        write_files(Path(root.path, f"v{version}"))
        await catalog.add(publish(root, f"v{version}", version=version))
    write_files(Path(root.path, "v100"))
    await catalog.add(publish(root, "v100", version=100), is_newest_counted=False)
    await catalog.remove(NAME, Version(9))
    assert catalog.newest_ever(NAME) == 9
    await database.close()

    database = Database(str(tmp_path / "ckptd.db"))
    await database.open()
    catalog = Catalog(database, Roots([root]))
    await catalog.load()
    assert catalog.newest_ever(NAME) == 9
    assert catalog.newest_ever(CheckpointName("llama/rank-1")) is None
    root.close()
    await database.close()
