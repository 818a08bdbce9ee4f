"""Waits that a drain cuts short."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Waits:
    """The places where connections wait for something that may never come."""

    def __init__(self) -> None:
        self._open: set[asyncio.Timeout] = set()
        self._is_cut = False

    @property
    def is_cut(self) -> bool:
        """``cut`` was called."""
        return self._is_cut

    @asynccontextmanager
    async def wait(self, delay_s: float) -> AsyncIterator[asyncio.Timeout]:
        """Limit what is awaited inside, like ``asyncio.timeout``.

        Raises:
            TimeoutError: The time is over, or the wait was cut short.
        """
        async with asyncio.timeout(0 if self._is_cut else delay_s) as timeout:
            self._open.add(timeout)
            try:
                yield timeout
            finally:
                self._open.discard(timeout)

    def cut(self) -> None:
        """End all waits, those to come as well."""
        self._is_cut = True
        now_s = asyncio.get_running_loop().time()
        for timeout in self._open:
            if not timeout.expired():
                timeout.reschedule(now_s)
