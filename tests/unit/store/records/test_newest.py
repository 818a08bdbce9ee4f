from dataclasses import replace
from pathlib import Path

from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.roots import Root, Roots
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.newest import NewestVersions
from ckptd.store.records.schema import Connection
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
    write_files(Path(root.path, "v200"))
    hashed = publish(root, "v200", version=200)
    left_out = (None, *hashed.files[1:])
    await catalog.add(replace(hashed, files=UnitFiles(left_out)), is_published=False)
    (held,) = catalog.find(NAME, Version(9))
    await catalog.forget(held.places[0].number)
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


DIGEST = Digest("0a" * 32)


async def test_a_mark_only_rises_in_memory_and_in_the_table(database: Database) -> None:
    marks = NewestVersions(database)
    await marks.load()
    for version, expected in ((7, 7), (9, 9), (8, 9), (9, 9), (0, 9)):

        def note(connection: Connection, version: int = version) -> None:
            marks.note(connection, NAME, Version(version), Digest(f"digest of {version}"))

        await database.run(note)
        assert marks.of(NAME) == expected
        again = NewestVersions(database)
        await again.load()
        assert again.of(NAME) == expected
        assert again.digest_of(NAME) == marks.digest_of(NAME) == f"digest of {expected}"
    assert marks.digest_of(CheckpointName("another")) is None
    assert marks.of(CheckpointName("another")) is None


async def test_checkpoints_have_marks_of_their_own(database: Database) -> None:
    marks = NewestVersions(database)
    other = CheckpointName("llama/rank-1")
    for name, version in ((NAME, 3), (other, 0)):

        def note(
            connection: Connection, name: CheckpointName = name, version: int = version
        ) -> None:
            marks.note(connection, name, Version(version), DIGEST)

        await database.run(note)
    again = NewestVersions(database)
    await again.load()
    assert (again.of(NAME), again.of(other)) == (3, 0)


async def test_of_two_contents_of_the_newest_version_the_last_one_counts(
    database: Database,
) -> None:
    marks, other = NewestVersions(database), Digest("0b" * 32)
    for digest in (DIGEST, other):

        def note(connection: Connection, digest: Digest = digest) -> None:
            marks.note(connection, NAME, Version(3), digest)

        await database.run(note)
    again = NewestVersions(database)
    await again.load()
    assert marks.digest_of(NAME) == again.digest_of(NAME) == other
