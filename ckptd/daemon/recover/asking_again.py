"""Asks a peer until it has a place for the question, and this node what it takes to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ckptd.daemon.host.shortages import outlast
from ckptd.limits import SECOND
from ckptd.net.small_answers import TurnedAway

_PAUSE_MIN_S: Final = 0.1
_T = TypeVar("_T")


async def ask_again(
    ask: Callable[[], Awaitable[_T]], source: str, *, tries_max: int | None = None
) -> _T:
    """Ask; again after the pause that the peer names if it has no place for the question.

    That this node cannot ask now is no answer of the peer's, and is no try.

    Args:
        ask: The question.
        source: Who is asked, for the log.
        tries_max: How often it may turn the question away; ``None``: until the caller gives up.

    Raises:
        TurnedAway: It did so too often.
    """
    tries = 0
    while True:
        try:
            return await outlast(ask, f"question to {source}")
        except TurnedAway as away:
            tries += 1
            if tries == tries_max:
                raise
            await asyncio.sleep(max(away.pause_ns / SECOND, _PAUSE_MIN_S))
