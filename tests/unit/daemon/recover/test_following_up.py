"""What is left for later begins with the end of what was waited for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import EndRecovery
from ckptd.daemon.recover.following_up import FollowingUp
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.model.ids import Digest, RecoveryId, Version
from ckptd.model.words import Result
from ckptd.store.files.roots import Root
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal
from tests.support.scheduling import ended
from tests.support.stores import journaled

ID = RecoveryId("r-1")
DIGEST = Digest("ab" * 32)


@pytest.fixture
def recovery(root: Root) -> OpenRecovery:
    record = replace(
        journaled(ID, root=root.name), rest_follows=True, shards="3", is_activating=True
    )
    return OpenRecovery(record, root, "llama/100", 0)


def end(result: Result) -> EndRecovery:
    known = ended(result, recovery=ID)
    return replace(known, final=replace(known.final, version=Version(100), digest=DIGEST))


class Followed:
    """A book with someone who begins what follows."""

    def __init__(self, database: Database) -> None:
        self.book = RecoveryBook(lambda: 7, lambda: 0.0)
        self.journal = Journal(database)
        self.begun: list[OpenRecovery] = []
        self.following_up = FollowingUp(self.book, self.journal, self.begun.append, lambda: 5.5)


async def test_the_rest_is_a_repair_of_what_was_placed_in_the_background(
    database: Database, recovery: OpenRecovery
) -> None:
    followed = Followed(database)
    follower = followed.following_up.follower_of(recovery, end(Result.CHOSEN))
    assert follower is not None
    assert (follower.is_background, follower.choice, follower.rest_follows) == (True, "", False)
    assert (follower.version, follower.digest_prefix) == (100, DIGEST)
    assert follower.is_activating
    assert (follower.target, follower.shards, follower.patience_ns) == ("llama/100", "3", None)
    await followed.journal.begin(follower)
    await followed.following_up.begin(recovery, follower)
    (begun,) = followed.begun
    assert (begun.record, begun.target, begun.since_ns) == (follower, "llama/100", 7)


@pytest.mark.parametrize(
    ("result", "rest_follows"),
    [
        (Result.CHOSEN, False),
        (Result.COMPLETE, True),
        (Result.PARTIAL, True),
        (Result.FAILED, True),
        (Result.CANCELLED, True),
    ],
)
async def test_nothing_follows_what_has_no_rest_or_was_not_to_have_one(
    database: Database, recovery: OpenRecovery, result: Result, *, rest_follows: bool
) -> None:
    recovery.record = replace(recovery.record, rest_follows=rest_follows)
    assert Followed(database).following_up.follower_of(recovery, end(result)) is None


async def test_what_somebody_began_meanwhile_is_not_followed_by_another_one(
    database: Database, recovery: OpenRecovery, root: Root
) -> None:
    followed = Followed(database)
    follower = followed.following_up.follower_of(recovery, end(Result.CHOSEN))
    assert follower is not None
    await followed.journal.begin(follower)
    followed.book.open(OpenRecovery(journaled("r-2"), root, "llama/100", 0))
    await followed.following_up.begin(recovery, follower)
    assert followed.begun == []
    assert await followed.journal.unfinished() == ()
