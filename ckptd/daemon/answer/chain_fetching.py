"""Brings the versions of a chain that are not here, by recoveries as anybody would begin them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from ckptd.control.messages.running_recoveries import RecoverRequest
from ckptd.daemon.answer.chain_planning import Content
from ckptd.daemon.answer.recovery_answers import RecoveryAnswers
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError, Missing
from ckptd.model.words import Result

_AT_ONCE: Final = 4
"""Small versions hardly use a network by themselves."""
_PATIENCE_S: Final = 60.0
"""So long a version is waited for that every holder lost since the way was chosen."""
_LOOK_S: Final = 1.0


class Wanted(NamedTuple):
    """A version to bring.

    Attributes:
        content: Which one.
        to: Absolute path of where it is to stand; ``None``: the usual place.
    """

    content: Content
    to: str | None = None


class Fetched(NamedTuple):
    """How far it is, in bytes."""

    done_bytes: int
    total_bytes: int


class ChainFetching:
    """Begins recoveries and waits for them. Belongs to the event loop.

    Args:
        recovering: All recoveries.
        recoveries: Begins them, and gives them up.
    """

    def __init__(self, recovering: Recovering, recoveries: RecoveryAnswers) -> None:
        self._scheduler = recovering.scheduler
        self._now = recovering.runtime.now
        self._book = recovering.book
        self._recoveries = recoveries

    async def fetch(self, wanted: Sequence[Wanted]) -> AsyncGenerator[Fetched, None]:
        """Bring some versions; yield progress. Those that are complete stay if it is stopped.

        Raises:
            Missing: One of them did not come.
            CkptdError: A recovery cannot begin.
        """
        total_bytes = sum(each.content.size_bytes for each in wanted)
        waiting, done_bytes = list(wanted), 0
        under_way: dict[str, Content] = {}
        own: set[str] = set()  # which nobody else asked for
        try:
            while waiting or under_way:
                while waiting and len(under_way) < _AT_ONCE:
                    content, to = waiting.pop(0)
                    view = await self._recoveries.recover(_request(content, to))
                    under_way[view.recovery] = content
                    if not view.is_joined:
                        own.add(view.recovery)
                await self._wait(next(iter(under_way)))
                for recovery in [each for each in under_way if self._is_over(each)]:
                    content = under_way.pop(recovery)
                    self._check(recovery, content)
                    done_bytes += content.size_bytes
                here_bytes = sum(map(self._verified_bytes, under_way))
                yield Fetched(done_bytes + here_bytes, total_bytes)
        finally:
            for recovery in under_way.keys() & own:
                with suppress(CkptdError):
                    await self._recoveries.cancel(recovery)

    async def _wait(self, recovery: str) -> None:
        found = self._book.get(recovery)
        if found is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await found.ended.wait()

    def _is_over(self, recovery: str) -> bool:
        found = self._book.get(recovery)
        return found is None or found.ended.is_set()

    def _check(self, recovery: str, content: Content) -> None:
        """Check how a recovery ended.

        Raises:
            Missing: Not well.
        """
        ended = self._book.result(recovery)
        if ended.result is not Result.COMPLETE or ended.digest != content.digest:
            why = ended.message or f"its recovery ended as {ended.result}"
            raise Missing(content.name, f"did not come: {why}", f"See: ckptctl explain {recovery}")

    def _verified_bytes(self, recovery: str) -> int:
        found = self._book.get(recovery)
        if found is None:
            return 0
        view = self._scheduler.recovery(found.id, now=self._now())
        return 0 if view is None else view.verified_bytes


def _request(content: Content, to: str | None) -> RecoverRequest:
    return RecoverRequest(
        checkpoint=content.checkpoint,
        version=content.version,
        digest=content.digest,
        to=to,
        patience_s=_PATIENCE_S,
    )
