"""Other versions on this node are looked up once, and may go meanwhile."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.daemon.recover import own_versions
from ckptd.daemon.recover.own_versions import OwnVersions
from ckptd.daemon.recover.reuse import Reuse
from ckptd.model.ids import CheckpointName, Digest
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from tests.support.stores import publish, write_files


async def test_a_similar_version_that_is_forgotten_meanwhile_ends_no_recovery(
    catalog: Catalog, root: Root, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    await catalog.add(hashed)
    look_up = catalog.hashed

    async def look_up_and_forget(number: int) -> HashedDirectory:
        found = await look_up(number)
        await catalog.forget(number)
        return found

    monkeypatch.setattr(catalog, "hashed", look_up_and_forget)
    storage = SimpleNamespace(catalog=catalog, roots=Roots([root]))
    own = OwnVersions(cast("Any", storage), Reuse(()))
    checkpoint = CheckpointName(hashed.manifest.checkpoint)
    (similar,) = await own.similar(Digest("0" * 64), checkpoint, 200, root)
    assert similar.space.manifest == hashed.manifest
    assert similar.known.directory == hashed.directory
    assert await own.similar(Digest("0" * 64), checkpoint, 200, root) == ()


async def test_bases_are_opened_only_where_blocks_may_come_coded(
    catalog: Catalog, root: Root, hashed: HashedDirectory
) -> None:
    await catalog.add(hashed)
    storage = cast("Any", SimpleNamespace(catalog=catalog, roots=Roots([root])))
    new, checkpoint = Digest("0" * 64), CheckpointName(hashed.manifest.checkpoint)
    found = await OwnVersions(storage, Reuse(())).bases(new, checkpoint, 200, None)
    assert [base.digest for base in found[new]] == [hashed.digest]
    without = OwnVersions(storage, Reuse(()), has_bases=False)
    assert await without.bases(new, checkpoint, 200, None) == {}


async def test_what_is_known_of_bases_is_bounded_for_all_of_a_recovery(
    catalog: Catalog, root: Root, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = []
    for version in (101, 102):
        write_files(Path(root.path, f"v{version}"))
        others.append(publish(root, f"v{version}", version=version))
    for each in (hashed, *others):
        await catalog.add(each)
    storage = cast("Any", SimpleNamespace(catalog=catalog, roots=Roots([root])))
    new, checkpoint = Digest("0" * 64), CheckpointName(hashed.manifest.checkpoint)
    nearest = [each.digest for each in (others[1], others[0], hashed)]
    sizes = [len(each.encoded) for each in (others[1], others[0], hashed)]
    for count in range(4):
        for spare_bytes, found_count in ((0, count), (-1, max(count - 1, 0))):
            bytes_max = sum(sizes[:count]) + spare_bytes
            monkeypatch.setattr(own_versions, "BASES_BYTES_MAX", bytes_max)
            found = await OwnVersions(storage, Reuse(())).bases(new, checkpoint, 200, None)
            assert [base.digest for base in found[new]] == nearest[:found_count]
