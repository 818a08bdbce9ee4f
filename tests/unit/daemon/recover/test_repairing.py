"""What a repair of a place is for."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ckptd.daemon.recover.recoveries import OpenRecovery, RecoveryBook
from ckptd.daemon.recover.repairing import Repairing
from ckptd.model.unit_choice import Choice
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root, Roots
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.catalog import Catalog
from ckptd.store.records.database import Database
from ckptd.store.records.journal import Journal


@pytest.mark.parametrize(
    ("is_by_choice", "choice"), [(True, Choice(is_what_stands=True)), (False, None)]
)
async def test_what_is_here_by_choice_is_repaired_without_fetching_the_rest(
    catalog: Catalog,
    root: Root,
    hashed: HashedDirectory,
    database: Database,
    *,
    is_by_choice: bool,
    choice: Choice | None,
) -> None:
    files = UnitFiles((None, *hashed.files[1:]))
    held = await catalog.add(
        replace(hashed, files=files), is_published=False, is_by_choice=is_by_choice
    )
    catalog.mark_changed(held.main.number, [1], "it rotted")
    storage = SimpleNamespace(catalog=catalog, journal=Journal(database), roots=Roots([root]))
    begun: list[OpenRecovery] = []
    repairing = Repairing(
        cast("Any", storage), RecoveryBook(lambda: 0, lambda: 0.0), begun.append, float
    )
    recovery = await repairing.repair(held.main.number)
    assert begun == [recovery]
    assert recovery is not None
    assert recovery.choice == choice
    (record,) = await storage.journal.unfinished()
    assert record == recovery.record
