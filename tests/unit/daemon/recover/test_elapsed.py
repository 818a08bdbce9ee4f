from __future__ import annotations

import pytest

from ckptd.daemon.recover.elapsed import Elapsed
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.limits import SECOND
from ckptd.model.ids import RecoveryId
from ckptd.store.files.roots import Root
from ckptd.store.records.database import Database
from ckptd.store.records.elapsed_times import ElapsedTimes
from ckptd.store.records.journal import Journal
from tests.support.stores import journaled

ID = RecoveryId("r-1")


@pytest.mark.parametrize(("boot", "since_ns"), [("a", -100 * SECOND), ("b", 70 * SECOND)])
async def test_the_next_life_goes_on_counting(
    database: Database, root: Root, boot: str, since_ns: int
) -> None:
    record = journaled(ID, root=root.name)
    await Journal(database).begin(record)
    book = RecoveryBook(lambda: 0, lambda: 0.0)
    book.open(OpenRecovery(record, root, "", -100 * SECOND))
    times = ElapsedTimes(database)
    await Elapsed(times, book, now=lambda: -70 * SECOND, boot="a").write()
    later = Elapsed(
        times, RecoveryBook(lambda: 0, lambda: 0.0), now=lambda: 100 * SECOND, boot=boot
    )
    assert await later.load() == {ID: since_ns}
