from __future__ import annotations

import pytest

from ckptd.model.ids import RecoveryId
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.database import Database
from ckptd.store.records.elapsed_times import ElapsedTimes
from ckptd.store.records.journal import Journal
from tests.support.stores import ended, journaled

ID = RecoveryId("r1")
DAY_NS = 86_400 * 10**9
RECOVERY = journaled(ID)


@pytest.mark.parametrize(
    ("now", "elapsed_ns"),
    [
        (BootMoment("a", 1_000), 50),
        (BootMoment("a", 1_000 + DAY_NS), 50 + DAY_NS),  # no daemon ran, and the clock went on
        (BootMoment("a", 10), 50),  # another container's clock: never less
        (BootMoment("b", 1_000 + DAY_NS), 50),  # a reboot: what nobody measured is not guessed
        (BootMoment("", 1_000 + DAY_NS), 50),
    ],
)
async def test_what_earlier_lives_measured_counts(
    database: Database, now: BootMoment, elapsed_ns: int
) -> None:
    times = ElapsedTimes(database)
    await Journal(database).begin(RECOVERY)
    assert await times.load(now) == {}
    await times.write({ID: 20}, BootMoment("a", 900))
    await times.write({ID: 50}, BootMoment("a", 1_000))
    assert await times.load(now) == {ID: elapsed_ns}


async def test_boots_without_a_name_are_never_the_same(database: Database) -> None:
    times = ElapsedTimes(database)
    await Journal(database).begin(RECOVERY)
    await times.write({ID: 50}, BootMoment("", 1_000))
    assert await times.load(BootMoment("", 2_000)) == {ID: 50}


async def test_nothing_is_kept_of_one_that_ended(database: Database) -> None:
    times, journal = ElapsedTimes(database), Journal(database)
    await journal.begin(RECOVERY)
    await times.write({ID: 50}, BootMoment("a", 1_000))
    await journal.end(ended(ID))
    assert await times.load(BootMoment("a", 1_000)) == {}
    await times.write({ID: 60}, BootMoment("a", 1_010))
    assert await times.load(BootMoment("a", 1_010)) == {}
