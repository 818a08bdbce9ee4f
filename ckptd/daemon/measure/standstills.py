"""Says in the log when a recovery stands still, and when it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

from ckptd.core.report.views import RecoverySnapshot
from ckptd.observe.logs import get_logger

_LOOK_S: Final = 1.0
"""How often recoveries are looked at for one that stands still."""

_log = get_logger()


class Standstills:
    """Knows which recoveries wait.

    Args:
        recoveries: Returns those that have not ended.
    """

    def __init__(self, recoveries: Callable[[], Iterable[RecoverySnapshot]]) -> None:
        self._recoveries = recoveries
        self._waiting: set[str] = set()

    async def run(self) -> NoReturn:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK_S)

    def look(self) -> None:
        """Look once, and say what is new."""
        current = {}
        for recovery in self._recoveries():
            if recovery.waiting_for and not recovery.is_idle:
                current[recovery.recovery] = recovery
            elif recovery.recovery in self._waiting:
                _log.info("recovery.moving", recovery=recovery.recovery)
        for name, recovery in current.items():
            if name not in self._waiting:
                _log.warning("recovery.waiting", recovery=name, why=recovery.waiting_for)
        self._waiting = set(current)
