"""Removes, once after the start, what recoveries left that no journal knows any more."""

from __future__ import annotations

import asyncio

from ckptd.daemon.parts import Storage
from ckptd.daemon.recover.recoveries import RecoveryBook
from ckptd.errors import CkptdError
from ckptd.model.ids import RecoveryId
from ckptd.observe.logs import get_logger
from ckptd.store.files.layout import staging_of
from ckptd.store.files.roots import Root
from ckptd.store.staging.orphans import remove_orphan, staged_recoveries

_log = get_logger()


async def remove_orphans(storage: Storage, book: RecoveryBook) -> None:
    """Look below every root. What is refused stays, with a line in the log.

    Recoveries may begin meanwhile: each is in the journal before it has a directory, and the
    journal is read after the directories were.
    """
    for root in storage.roots:
        try:
            staged = await asyncio.to_thread(staged_recoveries, root)
        except CkptdError as error:
            _log.warning("staging.not_discarded", root=root.name, why=str(error))
            continue
        unfinished = {each.recovery for each in await storage.journal.unfinished()}
        known = unfinished | {recovery.id for recovery in book}
        for recovery in staged:
            if recovery not in known:
                await _remove(root, recovery)


async def _remove(root: Root, recovery: RecoveryId) -> None:
    path = root.absolute(staging_of(recovery))
    try:
        is_gone = await asyncio.to_thread(remove_orphan, root, recovery)
    except CkptdError as error:
        _log.warning("staging.not_discarded", recovery=recovery, why=str(error))
        return
    if is_gone:
        _log.info("staging.orphan_removed", recovery=recovery, path=path)
    else:
        why = f"{path}: no journal here knows it, and another process may be using it"
        _log.warning("staging.not_discarded", recovery=recovery, why=why)
