"""What is active, and what was to be, is known after a restart."""

from __future__ import annotations

import pytest

from ckptd.errors import StorageError
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.records.active_records import ActiveRecords, ActiveVersion
from ckptd.store.records.database import Database

NAME = CheckpointName("llama/rank-0")
DIGEST = Digest("0a" * 32)


def leading_to(
    version: int | None, root: str = "data", name: CheckpointName = NAME
) -> ActiveVersion:
    """Return where a link is to lead; ``None``: nowhere."""
    link = f"{name}/current"
    if version is None:
        return ActiveVersion(root, name, link, None, None, None, 5.0)
    return ActiveVersion(root, name, link, f"{name}/{version}", Version(version), DIGEST, 5.0)


async def loaded(database: Database) -> ActiveRecords:
    records = ActiveRecords(database)
    await records.load()
    return records


async def both(records: ActiveRecords, database: Database) -> list[ActiveRecords]:
    """Return them as they are, and as the next start finds them."""
    return [records, await loaded(database)]


async def test_what_is_intended_becomes_what_is_so(database: Database) -> None:
    records, first = await loaded(database), leading_to(1200)
    await records.intend(first)
    for each in await both(records, database):
        assert (each.all(), each.intended()) == ((), (first,))
        assert each.is_active("data", "llama/rank-0/1200"), "from the intention on"
        assert each.at("data", "llama/rank-0/1200") is None
    await records.settle(first)
    for each in await both(records, database):
        assert (each.all(), each.intended()) == ((first,), ())
        assert each.is_active("data", "llama/rank-0/1200")
        assert each.at("data", "llama/rank-0/1200") == first
        assert each.known("data", NAME) == first
        assert each.of(NAME) == (first,)
        assert not each.is_active("data", "llama/rank-0/1300")
        assert not each.is_active("other", "llama/rank-0/1200")


async def test_until_a_swap_is_settled_both_places_are_active(database: Database) -> None:
    records, first, second = await loaded(database), leading_to(1200), leading_to(1300)
    await records.intend(first)
    await records.settle(first)
    await records.intend(second)
    for each in await both(records, database):
        assert each.is_active("data", "llama/rank-0/1200")
        assert each.is_active("data", "llama/rank-0/1300")
        assert (each.known("data", NAME), each.intended()) == (first, (second,))
    await records.settle(second)
    for each in await both(records, database):
        assert each.all() == (second,)
        assert not each.is_active("data", "llama/rank-0/1200")


async def test_what_is_given_up_leaves_what_was(database: Database) -> None:
    records, first, second = await loaded(database), leading_to(1200), leading_to(1300)
    await records.intend(first)
    await records.give_up(first)
    assert not records.is_active("data", "llama/rank-0/1200")
    for each in await both(records, database):
        assert (each.all(), each.intended()) == ((), ())
    await records.intend(first)
    await records.settle(first)
    await records.intend(second)
    await records.give_up(second)
    for each in await both(records, database):
        assert (each.all(), each.intended()) == ((first,), ())


async def test_a_link_that_is_taken_away_leads_nowhere(database: Database) -> None:
    records, first, away = await loaded(database), leading_to(1200), leading_to(None)
    await records.intend(first)
    await records.settle(first)
    await records.intend(away)
    for each in await both(records, database):
        assert each.is_active("data", "llama/rank-0/1200"), "the link may lead there still"
    await records.settle(away)
    for each in await both(records, database):
        assert (each.all(), each.intended()) == ((), ())
        assert not each.is_active("data", "llama/rank-0/1200")


async def test_each_root_and_each_checkpoint_has_a_link_of_its_own(database: Database) -> None:
    records = await loaded(database)
    rows = [
        leading_to(1200),
        leading_to(1300, root="other"),
        leading_to(7, name=CheckpointName("a")),
    ]
    for row in rows:
        await records.intend(row)
        await records.settle(row)
    for each in await both(records, database):
        assert each.all() == (rows[2], rows[0], rows[1])
        assert each.of(NAME) == (rows[0], rows[1])


async def test_what_cannot_be_written_down_is_not_active(database: Database) -> None:
    records, first = await loaded(database), leading_to(1200)
    await database.run(lambda connection: connection.execute("DROP TABLE active"))
    with pytest.raises(StorageError):
        await records.intend(first)
    assert not records.is_active("data", "llama/rank-0/1200")


async def test_of_two_intentions_the_last_one_counts(database: Database) -> None:
    records, first, second = await loaded(database), leading_to(1200), leading_to(1300)
    await records.intend(first)
    await records.intend(second)
    for each in await both(records, database):
        assert each.intended() == (second,)
        assert not each.is_active("data", "llama/rank-0/1200")
