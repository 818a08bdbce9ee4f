"""What a node says it holds, while recoveries go on and the catalog changes."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from ckptd.daemon.serve import advertising as advertising_module
from ckptd.daemon.serve.advertising import Advertising, Incoming
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding, Holdings, HoldingsDelta, apply_delta
from ckptd.model.ids import CheckpointName, Epoch, NodeId, RecoveryId, Version
from ckptd.model.space import AddressSpace
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.catalog import Catalog
from ckptd.store.staging.staged_version import StagedVersion
from ckptd.wire.holdings_document import decode_holdings
from tests.support.stores import mark_changed, publish

FIRST, SECOND, THIRD = ([(block, block + 1)] for block in range(3))
R1, R2 = RecoveryId("r-1"), RecoveryId("r-2")


@pytest.fixture
def advertising(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> Advertising:
    """Return one that does not rest, however slow the machine is."""
    monkeypatch.setattr(advertising_module, "_REST", 0)
    return Advertising(NodeId("node-a"), Epoch(5), catalog)


@pytest.fixture
def incoming(root: Root, hashed: HashedDirectory) -> Incoming:
    return incoming_of(R1, root, hashed)


def incoming_of(recovery: RecoveryId, root: Root, hashed: HashedDirectory) -> Incoming:
    space = AddressSpace(hashed.manifest)
    staged = StagedVersion(root, f".ckptd/{recovery}", "target", space)
    return Incoming(recovery, hashed.digest, staged)


def holding_of(hashed: HashedDirectory, *runs: tuple[int, int]) -> Holding:
    return Holding(
        checkpoint=CheckpointName("llama/rank-0"),
        version=Version(100),
        digest=hashed.digest,
        size_bytes=hashed.manifest.size_bytes,
        block_count=3,
        blocks=BlockSet(runs),
    )


def without_unit(hashed: HashedDirectory, left_out: int) -> HashedDirectory:
    units = enumerate(hashed.files)
    return replace(
        hashed, files=UnitFiles(None if unit == left_out else each for unit, each in units)
    )


def said(advertising: Advertising) -> Holdings:
    """What a follower reads."""
    found = decode_holdings(advertising.document())
    assert isinstance(found, Holdings)
    assert found == advertising.holdings
    return found


def changed_since(advertising: Advertising, since: int) -> HoldingsDelta:
    encoded = advertising.delta(since)
    assert encoded is not None
    found = decode_holdings(encoded)
    assert isinstance(found, HoldingsDelta)
    return found


async def test_the_catalog_is_advertised(
    catalog: Catalog, advertising: Advertising, hashed: HashedDirectory
) -> None:
    assert said(advertising) == Holdings(NodeId("node-a"), Epoch(5), 1, ())
    held = await catalog.add(hashed)
    assert said(advertising) == Holdings(NodeId("node-a"), Epoch(5), 2, (held.holding,))
    assert Advertising(NodeId("node-a"), Epoch(6), catalog).holdings.holdings == (held.holding,)


async def test_a_recovery_is_advertised_before_it_has_a_block(
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "_INTERVAL_S", 0)
    advertising.begin(incoming)
    assert said(advertising).revision == 2
    assert said(advertising).holdings == (holding_of(hashed),)
    assert advertising.find(hashed.digest) is incoming
    incoming.staged.add(BlockSet(SECOND))
    assert said(advertising).revision == 2
    advertising.note_growth()
    assert said(advertising).revision == 3
    assert said(advertising).holdings == (holding_of(hashed, *SECOND),)
    advertising.end(R1)
    assert (said(advertising).revision, said(advertising).holdings) == (4, ())
    advertising.end(R1)
    assert said(advertising).revision == 4


async def test_what_a_recovery_has_when_it_goes_on_is_told_at_once(
    advertising: Advertising, incoming: Incoming, hashed: HashedDirectory
) -> None:
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    assert said(advertising).holdings == (holding_of(hashed, *FIRST),)


async def test_growth_is_told_with_what_else_came_within_the_interval(
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "_INTERVAL_S", 0.02)
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    for block in (1, 2):
        incoming.staged.add(BlockSet.single(block))
        advertising.note_growth()
    assert said(advertising).revision == 2
    assert said(advertising).holdings == (holding_of(hashed, (0, 1)),)
    await advertising.wait_change(2)
    assert said(advertising).revision == 3
    assert said(advertising).holdings == (holding_of(hashed, (0, 3)),)


async def test_a_change_of_the_catalog_waits_for_nothing_and_takes_growth_along(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "_INTERVAL_S", 3600)
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    incoming.staged.add(BlockSet(SECOND))
    advertising.note_growth()
    assert said(advertising).revision == 2
    other = await catalog.add(publish(root, "v100", version=101))
    assert said(advertising).revision == 3
    assert said(advertising).holdings == (other.holding, holding_of(hashed, (0, 2)))
    incoming.staged.add(BlockSet(THIRD))
    advertising.note_growth()
    assert said(advertising).revision == 3


async def test_when_announcing_takes_long_changes_of_the_catalog_are_announced_together(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A volume on which everything is suspect at once does not take the event loop."""
    monkeypatch.setattr(advertising_module, "_LONG_S", -1)
    monkeypatch.setattr(advertising_module, "_REST", 10**9)
    held = [await catalog.add(publish(root, "v100", version=version)) for version in range(5)]
    assert said(advertising).holdings == (held[0].holding,)
    assert said(advertising).revision == 2
    advertising.begin(incoming)
    assert len(said(advertising).holdings) == 6, "whatever is announced takes the rest along"
    mark_changed(catalog, held[0].holding.digest)
    assert len(said(advertising).holdings) == 6
    advertising.end(incoming.recovery)
    assert len(said(advertising).holdings) == 4


async def test_a_rest_ends_by_itself(
    catalog: Catalog,
    advertising: Advertising,
    hashed: HashedDirectory,
) -> None:
    held = await catalog.add(hashed)
    revision = said(advertising).revision
    advertising._rests_until_s = asyncio.get_running_loop().time() + 0.02
    mark_changed(catalog, held.holding.digest)
    assert said(advertising).revision == revision
    await advertising.wait_change(revision)
    assert said(advertising).holdings == ()


async def test_a_completed_recovery_becomes_a_version_of_the_catalog_in_one_step(
    catalog: Catalog, advertising: Advertising, incoming: Incoming, hashed: HashedDirectory
) -> None:
    incoming.staged.add(BlockSet([(0, 2)]))
    advertising.begin(incoming)
    incoming.staged.add(BlockSet(THIRD))
    held = await catalog.add(hashed, is_published=False)
    assert said(advertising).revision == 3
    assert said(advertising).holdings == (held.holding,)
    assert advertising.find(hashed.digest) is None
    advertising.end(R1)
    assert said(advertising).revision == 3


async def test_a_recovery_that_ended_in_part_leaves_what_it_placed(
    catalog: Catalog, advertising: Advertising, incoming: Incoming, hashed: HashedDirectory
) -> None:
    incoming.staged.add(BlockSet([(0, 2)]))
    advertising.begin(incoming)
    held = await catalog.add(without_unit(hashed, 2), is_published=False)
    assert len(held.holding.blocks) < 2
    assert said(advertising).revision == 2
    advertising.end(R1)
    assert said(advertising).revision == 3
    assert said(advertising).holdings == (held.holding,)


async def test_where_there_is_most_of_a_version_is_where_it_is_served_from(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    root: Root,
) -> None:
    other = incoming_of(R2, root, hashed)
    incoming.staged.add(BlockSet(THIRD))
    other.staged.add(BlockSet([(0, 2)]))
    for each in (incoming, other):
        advertising.begin(each)
    assert advertising.find(hashed.digest) is other
    assert said(advertising).holdings == (holding_of(hashed, (0, 2)),)
    await catalog.add(hashed)
    assert advertising.find(hashed.digest) is None
    mark_changed(catalog, hashed.digest)
    assert advertising.find(hashed.digest) is other
    advertising.end(R2)
    assert advertising.find(hashed.digest) is incoming
    assert said(advertising).holdings == (holding_of(hashed, *THIRD),)


async def test_a_follower_is_told_what_changed_since_any_revision_that_is_remembered(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "_INTERVAL_S", 0)
    monkeypatch.setattr(advertising_module, "_REVISIONS_MAX", 3)
    advertising.begin(incoming)
    followed = [said(advertising)]
    for block in range(3):
        incoming.staged.add(BlockSet.single(block))
        advertising.note_growth()
        followed.append(said(advertising))
    await catalog.add(publish(root, "v100", version=101))
    for known in followed[1:]:
        found = apply_delta(known, changed_since(advertising, known.revision))
        assert found.revision == 6
        assert set(found.holdings) == set(said(advertising).holdings)
    assert advertising.delta(followed[0].revision) is None
    assert advertising.delta(said(advertising).revision) is None
    assert advertising.delta(99) is None


async def test_of_what_grew_only_the_growth_is_told(
    advertising: Advertising, incoming: Incoming, hashed: HashedDirectory
) -> None:
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    incoming.staged.add(BlockSet(THIRD))
    advertising.end(RecoveryId("whatever"))
    first = changed_since(advertising, 2)
    assert (first.grown, first.changed, first.gone) == ((holding_of(hashed, *THIRD),), (), ())
    assert advertising.delta(2) is advertising.delta(2), "it is encoded once"
    advertising.end(R1)
    assert changed_since(advertising, 2).gone == (hashed.digest,)


async def test_there_is_no_delta_where_a_document_cannot_say_everything(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "_INTERVAL_S", 0)
    monkeypatch.setattr(advertising_module, "HOLDING_RUNS_MAX", 1)
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    incoming.staged.add(BlockSet(THIRD))
    advertising.note_growth()
    assert advertising.delta(2) is None
    await catalog.add(hashed)
    assert advertising.delta(3) is None
    assert changed_since(advertising, 2).revision == 4


async def test_not_more_is_advertised_than_followers_take(
    catalog: Catalog,
    advertising: Advertising,
    incoming: Incoming,
    root: Root,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(advertising_module, "HOLDINGS_MAX", 1)
    held = await catalog.add(publish(root, "v100", version=101))
    incoming.staged.add(BlockSet(FIRST))
    advertising.begin(incoming)
    assert said(advertising).holdings == (held.holding,)


async def test_everybody_who_waits_learns_of_a_change(
    advertising: Advertising, incoming: Incoming
) -> None:
    async with asyncio.TaskGroup() as tasks:
        waits = [tasks.create_task(advertising.wait_change(1)) for _ in range(3)]
        await asyncio.sleep(0)
        waits[0].cancel()
        advertising.note_growth()  # of nothing
        await asyncio.sleep(0)
        assert not any(wait.done() for wait in waits[1:])
        advertising.begin(incoming)
    assert waits[0].cancelled()
    await advertising.wait_change(1)


async def test_the_version_of_a_job_that_is_recovered_is_said_and_once_it_ends_no_more(
    advertising: Advertising,
) -> None:
    llama, other = (CheckpointName("llama"), Version(7)), (CheckpointName("eval"), Version(3))
    advertising.note_jobs([llama, other, llama])
    assert said(advertising).recovering == (other, llama)
    assert changed_since(advertising, 1).recovering == (other, llama)
    later = (CheckpointName("llama"), Version(8))
    advertising.note_jobs([other, later])
    assert changed_since(advertising, 2).recovering == (other, later)
    advertising.note_jobs([later, other])
    assert said(advertising).revision == 3
    advertising.note_jobs([])
    assert (said(advertising).recovering, said(advertising).revision) == ((), 4)


async def test_what_was_placed_of_a_job_is_said_until_it_counts_no_more(
    catalog: Catalog, advertising: Advertising, hashed: HashedDirectory
) -> None:
    held = await catalog.add(hashed, is_published=False)
    shard, llama = held.holding.checkpoint, CheckpointName("llama")
    await catalog.note_placed(llama, held.holding.version, shard)
    assert said(advertising).placed == ((llama, held.holding.version),)
    assert changed_since(advertising, 2).placed == ((llama, held.holding.version),)
    again = Advertising(NodeId("node-a"), Epoch(6), catalog)
    again.note_growth()
    assert again.holdings.placed == ((llama, held.holding.version),)
    await catalog.forget(held.places[0].number)
    assert not again.holdings.placed


async def test_what_was_placed_is_looked_at_again_when_it_expires(
    catalog: Catalog, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    advertising = Advertising(NodeId("node-a"), Epoch(5), catalog)
    held = await catalog.add(hashed, is_published=False)
    monkeypatch.setattr(catalog.placed_jobs, "expires_in_s", lambda: -1.0)
    await catalog.note_placed(
        CheckpointName("llama"), held.holding.version, held.holding.checkpoint
    )
    assert advertising.holdings.placed
    monkeypatch.setattr(catalog.placed_jobs, "counting", tuple)
    await advertising.wait_change(advertising.holdings.revision)
    assert not advertising.holdings.placed


async def test_of_which_names_copies_are_kept_is_said_when_that_changes(
    catalog: Catalog, advertising: Advertising
) -> None:
    revision = advertising.holdings.revision
    advertising.note_keeping(["llama*"], is_full=False)
    found = said(advertising)
    assert (found.keeps, found.is_full, found.revision) == (("llama*",), False, revision + 1)
    advertising.note_keeping(["llama*"], is_full=False)
    assert advertising.holdings.revision == revision + 1
    advertising.note_keeping(["llama*"], is_full=True)
    change = changed_since(advertising, revision + 1)
    assert (change.keeps, change.is_full) == (("llama*",), True)
