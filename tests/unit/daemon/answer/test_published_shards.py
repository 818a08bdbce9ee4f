"""What a shard that is published must not contradict."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.daemon.answer.published_shards import PublishedShards
from ckptd.errors import Conflict
from ckptd.model.ids import CheckpointName
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from tests.support.stores import publish, write_files


def saved(root: Root, directory: str, checkpoint: str, **contents: bytes) -> HashedDirectory:
    write_files(Path(root.path, directory), contents)
    return publish(root, directory, checkpoint=checkpoint)


@pytest.fixture
def shards(catalog: Catalog) -> PublishedShards:
    return PublishedShards(catalog)


async def test_shards_of_a_job_stand_beside_each_other(
    shards: PublishedShards, catalog: Catalog, root: Root
) -> None:
    await catalog.add(saved(root, "0", "llama/shard-0-of-2", config=b"alike", zero=b"0"))
    shards.check_name(CheckpointName("llama/shard-1-of-2"))
    shards.check_name(CheckpointName("llama/shard-1-of-4"))
    await shards.check_alike(saved(root, "1", "llama/shard-1-of-2", config=b"alike", one=b"1"))


@pytest.mark.parametrize(
    ("here", "name", "named"),
    [
        ("llama", "llama/shard-0-of-2", "shard 0/2 of llama.*beside what is no shard of it: llama"),
        ("llama/rank-0", "llama/shard-0-of-2", "forget llama/rank-0"),
        ("llama/shard-0-of-2", "llama", "beside the shards of the job llama"),
        ("llama/shard-0-of-2", "llama/rank-0", "--shard RANK/COUNT"),
    ],
)
async def test_names_that_make_a_job_unclear_are_refused(
    shards: PublishedShards, catalog: Catalog, root: Root, here: str, name: str, named: str
) -> None:
    await catalog.add(saved(root, "v", here, file=b"content"))
    with pytest.raises(Conflict, match=named):
        shards.check_name(CheckpointName(name))


async def test_a_file_that_differs_from_that_of_another_shard_is_named(
    shards: PublishedShards, catalog: Catalog, root: Root
) -> None:
    await catalog.add(saved(root, "0", "llama/shard-0-of-2", config=b"alike"))
    other = saved(root, "1", "llama/shard-1-of-2", config=b"other")
    with pytest.raises(Conflict, match=r"'config'.*shard 0/2.*shard 1/2"):
        await shards.check_alike(other)


@pytest.mark.parametrize(
    "checkpoint", ["llama/shard-0-of-2", "llama/shard-1-of-4", "other/shard-1-of-2", "x"]
)
async def test_other_layouts_and_the_shard_itself_are_not_compared(
    shards: PublishedShards, catalog: Catalog, root: Root, checkpoint: str
) -> None:
    await catalog.add(saved(root, "0", "llama/shard-0-of-2", config=b"one"))
    await shards.check_alike(saved(root, "1", checkpoint, config=b"another"))


@pytest.mark.parametrize("here", ["llama/shard-0-of-2", "llama/rank-0", "llama"])
async def test_a_copy_for_others_keeps_nobody_from_publishing(
    database: Database, root: Root, here: str
) -> None:
    catalog = Catalog(database, Roots([root], for_copies=root.name), lambda: 0.0)
    held = await catalog.add(saved(root, "0", here, config=b"one"), is_published=False)
    assert held.is_copy
    shards = PublishedShards(catalog)
    shards.check_name(CheckpointName("llama/shard-1-of-2"))
    await shards.check_alike(saved(root, "1", "llama/shard-1-of-2", config=b"another"))
