from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ckptd.daemon.recover.elapsed import Elapsed
from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, RecoveryId
from ckptd.store.files.roots import Root
from ckptd.store.records.database import Database
from ckptd.store.records.elapsed_times import ElapsedTimes
from ckptd.store.records.journal import Journal, JournaledRecovery

ID = RecoveryId("r-1")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = Database(str(tmp_path / "ckptd.db"))
    await opened.open()
    yield opened
    await opened.close()


@pytest.mark.parametrize(("boot", "since_ns"), [("a", -100 * SECOND), ("b", 70 * SECOND)])
async def test_the_next_life_goes_on_counting(
    database: Database, root: Root, boot: str, since_ns: int
) -> None:
    record = JournaledRecovery(
        recovery=ID,
        checkpoint=CheckpointName("llama"),
        version=None,
        digest=None,
        root=root.name,
        target="",
        patience_ns=None,
        is_paused=False,
        started_at_s=0.0,
    )
    await Journal(database).begin(record)
    book = RecoveryBook(lambda: 0, lambda: 0.0)
    book.open(OpenRecovery(record, root, "", -100 * SECOND))
    times = ElapsedTimes(database)
    await Elapsed(times, book, now=lambda: -70 * SECOND, boot="a").write()
    later = Elapsed(
        times, RecoveryBook(lambda: 0, lambda: 0.0), now=lambda: 100 * SECOND, boot=boot
    )
    assert await later.load() == {ID: since_ns}
