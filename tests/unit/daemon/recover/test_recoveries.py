from __future__ import annotations

import asyncio
from random import Random

import pytest

from ckptd.core.effects import DiscardStaging, EndRecovery
from ckptd.core.events import RecoveryCancelled, RecoveryRequested, StagingDiscarded
from ckptd.core.scheduler import Scheduler
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, RecoveryId
from ckptd.store.files.roots import Root
from tests.support.stores import journaled

ID = RecoveryId("r-1")
CHECKPOINT = CheckpointName("llama")
OFTEN_S = 0.0
"""As often as the loop allows."""


@pytest.fixture
def recovery(root: Root) -> OpenRecovery:
    record = journaled(ID, checkpoint=CHECKPOINT, root=root.name)
    return OpenRecovery(record, root, "", 0)


@pytest.fixture
def book(recovery: OpenRecovery) -> RecoveryBook:
    made = RecoveryBook(lambda: 0, lambda: 0.0)
    made.open(recovery)
    return made


def end_of_it() -> EndRecovery:
    """What the scheduler orders at the end of a recovery that is cancelled."""
    scheduler = Scheduler(Random(0))
    scheduler.handle(RecoveryRequested(ID, CHECKPOINT, None), now=0)
    assert scheduler.handle(RecoveryCancelled(ID), now=1) == [DiscardStaging(ID)]
    (end,) = scheduler.handle(StagingDiscarded(ID), now=2)
    assert isinstance(end, EndRecovery)
    return end


async def test_a_recovery_is_followed_until_its_end_is_announced(
    book: RecoveryBook, recovery: OpenRecovery
) -> None:
    following = book.follow(ID, OFTEN_S)
    assert await anext(following) is recovery
    assert await anext(following) is recovery
    book.close(end_of_it())
    recovery.announce_end()
    assert [found async for found in following] == []


async def test_one_that_ended_is_not_shown_while_the_journal_hears_of_it(
    book: RecoveryBook, recovery: OpenRecovery
) -> None:
    following = book.follow(ID, OFTEN_S)
    assert await anext(following) is recovery
    book.close(end_of_it())
    asyncio.get_running_loop().call_later(0.01, recovery.announce_end)
    assert [found async for found in following] == []


async def test_of_one_that_is_not_under_way_there_is_nothing_to_follow(book: RecoveryBook) -> None:
    assert [found async for found in book.follow("r-2", OFTEN_S)] == []


@pytest.mark.parametrize("target", ["a", "a/b", "a/b/c"])
def test_a_target_is_taken_by_one_that_recovers_to_it_above_or_below(
    book: RecoveryBook, recovery: OpenRecovery, root: Root, target: str
) -> None:
    assert book.overlapping(root, target) is None
    recovery.target = "a/b"
    assert book.overlapping(root, target) is recovery
    assert book.overlapping(root, target, besides=ID) is None
    for free in ("", "a/bc", "b", "a/c"):
        assert book.overlapping(root, free) is None


def test_a_duration_is_measured_by_the_clock_that_never_jumps_also_over_lives(
    recovery: OpenRecovery,
) -> None:
    now, wall_s = 5 * SECOND, 1_700_000_000.0
    book = RecoveryBook(lambda: now, lambda: wall_s)
    recovery.since_ns = -60 * SECOND  # an earlier life was asked
    book.open(recovery)
    now, wall_s = 15 * SECOND, wall_s + 30 * 86_400
    assert book.close(end_of_it()).duration_s == 75
