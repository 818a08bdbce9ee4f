"""What is measured of versions that are seen, published, copied and brought."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from msgspec import structs

from ckptd.core.events import HoldingsArrived
from ckptd.daemon.measure.workloads import Workloads
from ckptd.daemon.parts import Storage
from ckptd.errors import StorageError
from ckptd.limits import CHECKPOINTS_WATCHED_MAX, KIB, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    CheckpointName,
    Digest,
    Epoch,
    NodeId,
    Origin,
    PathId,
    RecoveryId,
    Version,
)
from ckptd.model.words import Result
from ckptd.model.workload import VERSIONS_MAX, SavedVersion
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.ended import EndedRecovery
from ckptd.store.records.workload_records import WorkloadRecords
from tests.support.stores import ended, publish, write_files

LLAMA = CheckpointName("llama")
BLOCK = 256 * KIB
NOW_S = 2_000_000_000.0


class Node:
    """A node that publishes, hears of peers and recovers; its clocks stand until they are set."""

    def __init__(self, database: Database, catalog: Catalog, root: Root) -> None:
        self.catalog, self.root = catalog, root
        self.now_s = NOW_S
        self.peers: list[Holding] = []
        self.records = WorkloadRecords(database)
        self.storage = cast("Storage", SimpleNamespace(workload=self.records, catalog=catalog))
        self.start()

    def start(self) -> None:
        """Begin a life."""
        self.workloads = Workloads(
            self.storage,
            lambda digest: [each for each in self.peers if each.digest == digest],
            lambda: int((self.now_s - NOW_S) * SECOND),
            lambda: self.now_s,
        )

    async def publish(
        self, version: int, letters: str, saved_at_s: float, *, name: str = LLAMA
    ) -> Holding:
        """Let a version be on offer with a block for each letter, written at some time."""
        hashed = await self.put(version, letters, saved_at_s, name=name)
        held = (await self.catalog.add(hashed)).holding
        self.workloads.note_published(hashed, held.size_bytes, took_s=4.0, paced_s=1.0)
        return held

    async def put(
        self, version: int, letters: str, saved_at_s: float, *, name: str = LLAMA
    ) -> HashedDirectory:
        relative = f"{name.replace('/', '-')}-{version}"
        content = b"".join(letter.encode() * BLOCK for letter in letters)
        write_files(Path(self.root.path, relative), {"w": content})
        os.utime(Path(self.root.path, relative, "w"), (saved_at_s, saved_at_s))
        return await asyncio.to_thread(
            publish, self.root, relative, checkpoint=name, version=version
        )

    def hear(self, holding: Holding) -> None:
        b = NodeId("b")
        self.workloads.note([HoldingsArrived(b, Epoch(1), (holding,), PathId(b), Origin(b))])

    def known(self, version: int, name: str = LLAMA) -> SavedVersion | None:
        return next(
            (
                each
                for each in self.workloads.versions()
                if (each.checkpoint, each.version) == (name, version)
            ),
            None,
        )

    async def until(self, version: int, holds: Callable[[SavedVersion], bool]) -> SavedVersion:
        """Return what is known of a version, once that is so."""
        async with asyncio.timeout(60):
            while (found := self.known(version)) is None or not holds(found):  # noqa: ASYNC110  threads
                await asyncio.sleep(0.001)
        return found


@pytest.fixture
async def node(database: Database, catalog: Catalog, root: Root) -> AsyncIterator[Node]:
    node = Node(database, catalog, root)
    running = asyncio.ensure_future(node.workloads.run())
    yield node
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def has_changed(found: SavedVersion) -> bool:
    return found.changed_bytes is not None


async def test_a_published_version_is_measured_against_the_one_before(node: Node) -> None:
    await node.publish(100, "abcd", NOW_S - 50)
    first = await node.until(100, lambda found: found.saved_at_s is not None)
    assert first == SavedVersion(
        LLAMA,
        Version(100),
        NOW_S,
        first.digest,
        NOW_S - 50,
        4 * BLOCK,
        hashed_s=4.0,
        paced_s=1.0,
    )
    await node.publish(200, "abcx", NOW_S - 40)
    second = await node.until(200, has_changed)
    assert (second.saved_at_s, second.changed_bytes) == (NOW_S - 40, BLOCK)


async def test_the_version_before_is_read_again_where_its_blocks_are_not_remembered(
    node: Node, database: Database
) -> None:
    await node.publish(100, "abcd", NOW_S - 50)
    await node.until(100, lambda found: found.saved_at_s is not None)
    await node.workloads.write()
    node.start()
    await node.workloads.load()
    async with asyncio.timeout(60):
        running = asyncio.ensure_future(node.workloads.run())
        await node.publish(200, "abxx", NOW_S - 40)
        assert (await node.until(200, has_changed)).changed_bytes == 2 * BLOCK
    running.cancel()


async def test_a_time_that_lies_ahead_or_long_ago_is_no_time_of_a_save(node: Node) -> None:
    await node.publish(100, "a", NOW_S + 3600)
    await node.publish(200, "b", 0)
    await node.publish(300, "a", NOW_S)
    await node.until(300, has_changed)
    assert [getattr(node.known(each), "saved_at_s", 0) for each in (100, 200)] == [None, None]


async def test_a_copy_counts_once_a_node_has_all_of_it(node: Node) -> None:
    held = await node.publish(100, "abcd", NOW_S)
    node.now_s += 5
    node.hear(replace(held, blocks=BlockSet([(0, 3)])))
    assert getattr(node.known(100), "copied_s", 0) is None
    node.now_s += 2.5
    node.hear(held)
    node.now_s += 100
    node.hear(held)
    assert getattr(node.known(100), "copied_s", 0) == 7.5


async def test_what_was_elsewhere_before_is_no_copy_of_it(node: Node) -> None:
    hashed = await node.put(100, "a", NOW_S)
    held = (await node.catalog.add(hashed)).holding
    node.peers = [held]
    node.workloads.note_published(hashed, held.size_bytes, took_s=1.0, paced_s=0.0)
    node.now_s += 5
    node.hear(held)
    assert getattr(node.known(100), "copied_s", 0) is None


async def test_a_part_that_is_elsewhere_is_no_copy_yet(node: Node) -> None:
    hashed = await node.put(100, "abcd", NOW_S)
    held = (await node.catalog.add(hashed)).holding
    node.peers = [replace(held, blocks=BlockSet([(0, 3)]))]
    node.workloads.note_published(hashed, held.size_bytes, took_s=1.0, paced_s=0.0)
    node.now_s += 5
    node.hear(held)
    assert getattr(node.known(100), "copied_s", 0) == 5.0


async def test_saves_that_were_never_published_count_as_saves(node: Node) -> None:
    for number in range(4):
        node.workloads.note_seen(LLAMA, Version(number), NOW_S + 10 * number)
    node.workloads.note_seen(LLAMA, Version(3), NOW_S + 31)
    (llama,) = node.workloads.joint()
    assert (llama.interval_s, llama.published) == (10, [])
    assert llama.saved_at_s == NOW_S + 31
    await node.publish(3, "a", NOW_S + 32)
    await node.until(3, lambda found: found.saved_at_s == NOW_S + 32)
    node.workloads.note_seen(LLAMA, Version(3), NOW_S + 33)
    assert getattr(node.known(3), "hashed_s", 0) == 4.0, "until it is published again"


def brought(node: Node, hashed: HashedDirectory, **more: object) -> EndedRecovery:
    fields: dict[str, object] = {
        "checkpoint": CheckpointName(hashed.manifest.checkpoint),
        "version": Version(hashed.manifest.version),
        "digest": hashed.digest,
        "result": Result.COMPLETE,
        "received_bytes": 10,
        "total_bytes": 4 * BLOCK,
        "duration_s": 6.5,
        "started_at_s": node.now_s - 6.5,
    }
    return structs.replace(ended(RecoveryId("r-1")), **{**fields, **more})


async def test_what_a_recovery_brought_is_measured_as_well(node: Node) -> None:
    await node.publish(100, "abcd", NOW_S - 50)
    hashed = await node.put(200, "abcx", NOW_S - 40)
    await node.catalog.add(hashed, is_published=False)
    node.workloads.note_ended(brought(node, hashed))
    found = await node.until(200, has_changed)
    assert (found.brought_s, found.hashed_s, found.size_bytes) == (6.5, None, 4 * BLOCK)
    assert (found.saved_at_s, found.changed_bytes) == (NOW_S - 40, BLOCK)


async def test_files_without_their_times_say_nothing_of_when_they_were_saved(node: Node) -> None:
    await node.publish(100, "abcd", NOW_S - 50)
    hashed = await node.put(200, "abcx", NOW_S - 1)
    await node.catalog.add(hashed, is_published=False)
    node.workloads.note_ended(brought(node, hashed))
    assert (await node.until(200, has_changed)).saved_at_s is None


async def test_of_a_job_that_was_brought_the_time_of_its_shards_is_known(node: Node) -> None:
    hashed = await node.put(200, "ab", NOW_S - 40, name="llama/shard-0-of-2")
    await node.catalog.add(hashed, is_published=False)
    job = brought(node, hashed, checkpoint=LLAMA, digest=Digest("ee" * 32))
    node.workloads.note_ended(job)
    found = await node.until(200, lambda found: found.saved_at_s is not None)
    assert (found.saved_at_s, found.brought_s) == (NOW_S - 40, 6.5)


@pytest.mark.parametrize(
    "more",
    [
        {"result": Result.FAILED},
        {"result": Result.PARTIAL},
        {"was_here": True},
        {"received_bytes": 0},
        {"version": None},
    ],
)
async def test_what_brought_nothing_or_not_all_is_not_measured(
    node: Node, more: dict[str, object]
) -> None:
    hashed = await node.put(200, "a", NOW_S - 40)
    node.workloads.note_ended(brought(node, hashed, **more))
    assert node.workloads.versions() == []


async def test_a_repair_of_what_was_published_here_did_not_bring_it(node: Node) -> None:
    hashed = await node.put(100, "a", NOW_S)
    await node.publish(100, "a", NOW_S)
    node.workloads.note_ended(brought(node, hashed))
    found = node.known(100)
    assert found is not None
    assert (found.hashed_s, found.brought_s) == (4.0, None)


async def test_only_the_latest_are_kept(node: Node) -> None:
    for number in range(VERSIONS_MAX + 2):
        node.workloads.note_seen(LLAMA, Version(number), NOW_S)
    await node.workloads.write()
    node.workloads.note_seen(LLAMA, Version(99), NOW_S)
    kept = [*range(3, VERSIONS_MAX + 2), 99]
    assert [each.version for each in node.workloads.versions()] == kept
    await node.workloads.write()
    assert [each.version for each in await node.records.load()] == kept
    for number in range(CHECKPOINTS_WATCHED_MAX):
        node.workloads.note_seen(CheckpointName(f"c{number}"), Version(1), NOW_S)
    assert node.known(99) is None
    assert len(node.workloads.joint()) == CHECKPOINTS_WATCHED_MAX
    await node.workloads.write()
    assert {each.checkpoint for each in await node.records.load()} == {
        f"c{number}" for number in range(CHECKPOINTS_WATCHED_MAX)
    }


async def test_a_restart_forgets_nothing_but_what_is_being_copied(node: Node) -> None:
    held = await node.publish(100, "abcd", NOW_S - 50)
    before = await node.until(100, lambda found: found.saved_at_s is not None)
    await node.workloads.write()
    node.start()
    await node.workloads.load()
    assert node.workloads.versions() == [before]
    node.hear(held)
    assert node.workloads.versions() == [before], "nobody knows how long that took"


async def test_what_the_disk_refused_is_written_later(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise StorageError("database", "is full")

    node.workloads.note_seen(LLAMA, Version(1), NOW_S)
    with monkeypatch.context() as refusing:
        refusing.setattr(node.records, "write", refuse)
        await node.workloads.write()
    assert await node.records.load() == []
    await node.workloads.write()
    assert len(await node.records.load()) == 1


async def test_the_shards_of_a_job_are_shown_alone_where_it_is_named(node: Node) -> None:
    for name in ("gpt/shard-0-of-2", "gpt/shard-1-of-2", "gpt2"):
        node.workloads.note_seen(CheckpointName(name), Version(1), NOW_S)
    assert [each.checkpoint for each in node.workloads.joint()] == ["gpt", "gpt2"]
    found = node.workloads.of_family(CheckpointName("gpt"))
    assert [each.checkpoint for each in found] == ["gpt/shard-0-of-2", "gpt/shard-1-of-2"]
