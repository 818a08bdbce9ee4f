"""Looks at what was not looked at before the daemon was ready: versions of very many files.

They are not on offer until then. Who asks for one has it looked at next; an order that depends on
what stands here waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.observe.logs import get_logger
from ckptd.store.published.catalog import Catalog

ORDERS: Final = frozenset(
    {
        "activate",
        "adopt",
        "forget",
        "need",
        "newest",
        "plan",
        "publish",
        "recover",
        "remove",
        "verify",
        "withdraw",
    }
)
"""Rows of the control API whose answer depends on what stands here, and how."""

_log = get_logger()


class FirstLooks:
    """Has the catalog look at what it has not seen yet, one version after another.

    Args:
        catalog: Which.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._is_done = False

    async def run(self) -> None:
        """Look at everything, the latest first; returns when that is done."""
        for digest in self._catalog.unseen():
            try:
                await self._catalog.see(digest)
            except CkptdError as error:
                _log.warning("version.not_checked", digest=digest, why=str(error))
        self._is_done = not self._catalog.unseen()

    async def before(self, row: str, taken: Sequence[object]) -> None:
        """Return when a request can be answered as if everything had been looked at.

        Args:
            row: Name of its row in the control API.
            taken: What it is about: of one with a ``checkpoint`` only that and what belongs to the
                same job is waited for.

        Raises:
            StorageError: The database cannot be read.
        """
        if row in ORDERS and not self._is_done:
            named = (getattr(each, "checkpoint", None) for each in taken)
            name = next(filter(None, named), None)
            await self._catalog.see_family(None if name is None else CheckpointName(name))
