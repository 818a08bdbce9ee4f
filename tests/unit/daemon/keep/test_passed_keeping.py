"""Files that were passed are kept as long as a version uses them; a restart says that it ends."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from ckptd.daemon.keep.passed_keeping import CLOSED, PassedKeeping
from ckptd.errors import Withdrawn
from ckptd.model.words import PlaceState
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.kernel import storage_error
from ckptd.store.files.passed_files import Inode
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.passed_records import PassedRecords
from tests.support.somebody import somebody


@pytest.fixture
def roots(root: Root) -> Roots:
    return Roots([root])


@pytest.fixture
def keeping(catalog: Catalog, roots: Roots, database: Database) -> PassedKeeping:
    return PassedKeeping(catalog, roots, PassedRecords(database))


def pass_weights(roots: Roots, root: Root) -> Inode:
    """Close the weights of a version to others, and pass them."""
    path = f"{root.path}/v100/weights.bin"
    os.chmod(path, 0)
    inode = roots.passed.take(os.open(path, os.O_RDONLY), 1000, path, os.stat(path))
    roots.passed.settle([inode])
    return inode


async def test_they_are_kept_until_the_version_goes(
    keeping: PassedKeeping, catalog: Catalog, roots: Roots, root: Root, hashed: HashedDirectory
) -> None:
    pass_weights(roots, root)
    number = (await catalog.add(hashed)).places[0].number
    await keeping.note(number, replace(hashed, passed=1))
    assert await keeping.look() == 0
    await catalog.withdraw(hashed.digest)
    assert await keeping.look() == 1
    assert len(roots.passed) == 0
    pass_weights(roots, root)
    await catalog.offer(hashed.digest)
    assert await keeping.look() == 0
    await catalog.forget(number)
    assert await keeping.look() == 1


async def test_a_version_whose_directory_is_gone_is_not_said_to_be_closed(
    keeping: PassedKeeping, catalog: Catalog, root: Root, hashed: HashedDirectory
) -> None:
    number = (await catalog.add(hashed)).places[0].number
    await keeping.note(number, replace(hashed, passed=1))
    os.rename(f"{root.path}/v100", f"{root.path}/elsewhere")
    await keeping.load()
    (place,) = catalog.versions()[0].places
    assert place.state is PlaceState.WITHDRAWN
    assert place.reason != CLOSED
    assert f"{root.path}/v100" in place.reason


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
async def test_a_version_that_the_disk_does_not_show_is_not_said_to_be_closed(
    keeping: PassedKeeping,
    catalog: Catalog,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    number = (await catalog.add(hashed)).places[0].number
    await keeping.note(number, replace(hashed, passed=1))

    def refuse(_: Root, path: str) -> int:
        raise storage_error(path, OSError(code, os.strerror(code)))

    monkeypatch.setattr(Root, "open_directory", refuse)
    await keeping.load()
    (place,) = catalog.versions()[0].places
    assert place.state is PlaceState.WITHDRAWN
    assert ("disk reports an error" if code == errno.EIO else "descriptor") in place.reason


async def test_a_version_that_cannot_be_read_after_a_restart_is_withdrawn_with_the_reason(
    keeping: PassedKeeping,
    catalog: Catalog,
    roots: Roots,
    root: Root,
    hashed: HashedDirectory,
    database: Database,
) -> None:
    number = (await catalog.add(hashed)).places[0].number
    await keeping.note(number, replace(hashed, passed=1))
    inode = pass_weights(roots, root)
    later = PassedKeeping(catalog, roots, PassedRecords(database))
    with somebody():
        await later.load()
    (place,) = catalog.versions()[0].places
    assert place.state is not PlaceState.WITHDRAWN, "the service manager kept it"
    assert await later.look() == 0
    roots.passed.keep_only(())
    assert len(roots.passed) == 0, inode
    with somebody():
        await PassedKeeping(catalog, roots, PassedRecords(database)).load()
    (place,) = catalog.versions()[0].places
    assert (place.state, place.reason) == (PlaceState.WITHDRAWN, CLOSED)
    with pytest.raises(Withdrawn, match="publish it again"):
        await catalog.open_version(hashed.digest)
    # Published again without that: no restart withdraws it.
    await catalog.add(hashed)
    await keeping.note(number, hashed)
    with somebody():
        await PassedKeeping(catalog, roots, PassedRecords(database)).load()
    assert catalog.versions()[0].places[0].state is PlaceState.HERE
