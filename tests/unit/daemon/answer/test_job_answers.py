"""Versions under a name for each rank become shards of one job without being read again."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.config.sections import SignaturesSection
from ckptd.control.messages.jobs import AdoptRequest
from ckptd.daemon.answer.job_answers import JobAnswers
from ckptd.daemon.parts import Storage
from ckptd.daemon.settings.signature_policy import SignaturePolicy
from ckptd.errors import Conflict, NotFound, UsageError
from ckptd.model.attributes import decode_attributes
from ckptd.model.ids import CheckpointName, Version
from ckptd.store.files.roots import Root, Roots
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.attribute_records import AttributeShelf
from ckptd.store.records.audit_records import AuditRecords
from ckptd.store.records.configured_records import ConfiguredRecords
from ckptd.store.records.database import Database
from ckptd.store.records.elapsed_times import ElapsedTimes
from ckptd.store.records.journal import Journal
from ckptd.store.records.link_records import LinkRecords
from ckptd.store.records.milestone_records import MilestoneRecords
from ckptd.store.records.moments import Moments
from ckptd.store.records.passed_records import PassedRecords
from ckptd.store.records.placed_units import PlacedUnitRecords
from ckptd.store.records.retention_records import RetentionRecords
from ckptd.store.records.signature_records import SignatureShelf
from ckptd.store.records.workload_records import WorkloadRecords
from tests.support.stores import mark_changed, publish, write_files

AT_PEERS = {CheckpointName("llama/rank-7"), CheckpointName("llama/rank-x"), CheckpointName("a")}


@pytest.fixture
def storage(database: Database, catalog: Catalog, root: Root) -> Storage:
    return Storage(
        Roots([root]),
        catalog,
        Journal(database),
        SignatureShelf(database),
        AttributeShelf(database),
        LinkRecords(database),
        Moments(database),
        ElapsedTimes(database),
        MilestoneRecords(database),
        PassedRecords(database),
        PlacedUnitRecords(database),
        RetentionRecords(database),
        ConfiguredRecords(database),
        AuditRecords(database),
        WorkloadRecords(database),
    )


@pytest.fixture
def answers(storage: Storage) -> JobAnswers:
    return JobAnswers(storage, SignaturePolicy(SignaturesSection()), lambda: AT_PEERS)


async def save(storage: Storage, root: Root, rank: int, **contents: bytes) -> None:
    write_files(Path(root.path, str(rank)), contents or {f"state-{rank}": bytes([rank])})
    hashed = publish(root, str(rank), checkpoint=f"llama/rank-{rank}")
    await storage.catalog.add(hashed)
    await storage.attributes.put(hashed.digest, hashed.attributes, ())


ADOPT = AdoptRequest(pattern="llama/rank-*", job="llama")


async def test_every_rank_becomes_a_shard_and_no_byte_is_read(
    answers: JobAnswers, storage: Storage, root: Root
) -> None:
    for rank in (0, 3):
        await save(storage, root, rank)
    found = await answers.adopt(ADOPT)
    assert (found.count, [row.shard for row in found.versions]) == (
        8,
        ["llama/shard-0-of-8", "llama/shard-3-of-8"],
    )
    held = storage.catalog.versions()
    assert [each.holding.checkpoint for each in held] == [row.shard for row in found.versions]
    assert all(each.is_offered for each in held)
    assert storage.catalog.find(CheckpointName("llama/rank-3"), Version(100)) == ()
    hashed = await storage.catalog.hashed(held[1].places[0].number)
    kept = await storage.attributes.find(hashed.digest)
    assert kept is not None
    assert decode_attributes(kept[0], hashed.digest, hashed.manifest).mode(0) == 0o644


async def test_a_dry_run_only_says_so(answers: JobAnswers, storage: Storage, root: Root) -> None:
    await save(storage, root, 2)
    found = await answers.adopt(AdoptRequest(pattern="llama/rank-*", job="llama", is_dry_run=True))
    assert [(row.shard, row.digest) for row in found.versions] == [("llama/shard-2-of-8", "")]
    assert storage.catalog.versions()[0].holding.checkpoint == "llama/rank-2"


async def test_what_changed_since_it_was_hashed_stays_as_it_is(
    answers: JobAnswers, storage: Storage, root: Root
) -> None:
    await save(storage, root, 2)
    mark_changed(storage.catalog, storage.catalog.versions()[0].holding.digest)
    with pytest.raises(NotFound, match="no version here that is whole"):
        await answers.adopt(ADOPT)


async def test_fewer_shards_than_numbers_are_refused(
    answers: JobAnswers, storage: Storage, root: Root
) -> None:
    await save(storage, root, 2)
    with pytest.raises(UsageError, match="--count 3"):
        await answers.adopt(AdoptRequest(pattern="llama/rank-*", job="llama", count=2))


async def test_shards_that_contradict_each_other_are_refused(
    answers: JobAnswers, storage: Storage, root: Root
) -> None:
    await save(storage, root, 0, config=b"one")
    await save(storage, root, 1, config=b"other")
    with pytest.raises(Conflict, match="'config'"):
        await answers.adopt(ADOPT)
    names = [held.holding.checkpoint for held in storage.catalog.versions()]
    assert names == ["llama/rank-0", "llama/rank-1"]


async def test_a_name_that_the_job_cannot_have_is_refused(
    answers: JobAnswers, storage: Storage, root: Root
) -> None:
    await save(storage, root, 0)
    write_files(Path(root.path, "v"), {"a": b"1"})
    await storage.catalog.add(publish(root, "v", checkpoint="llama"))
    with pytest.raises(Conflict, match="beside what is no shard"):
        await answers.adopt(ADOPT)


@pytest.mark.parametrize("pattern", ["llama/rank-0", "*/rank-*", ""])
async def test_a_pattern_needs_one_place_for_the_number(answers: JobAnswers, pattern: str) -> None:
    with pytest.raises(UsageError, match="one '\\*'"):
        await answers.adopt(AdoptRequest(pattern=pattern, job="llama"))
