"""Lets holders know that somebody waits for the rest of a version.

A holder hashes files that look different before it lists them again: slowly while nobody asks for
their version, and at once when somebody does (``daemon.keep.rechecking``). A recovery asks for
blocks only where they are listed; so while one stands still, holders that list a part of what it
waits for, if only nothing, are asked about that version. What they answer is of no account.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, NoReturn

from ckptd.core.peers.listing import ListedPeer
from ckptd.core.report.views import RecoverySnapshot
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest
from ckptd.model.words import PeerState
from ckptd.net.inquiry import Inquirer

_LOOK_S: Final = 1.0
"""How often recoveries are looked at for one that stands still."""
_AGAIN_S: Final = 30.0
"""A holder remembers for minutes that it was asked; that it may have restarted is all there is to
ask again for."""
_VERSIONS_MAX: Final = 4
"""Newest versions of a checkpoint that a recovery without a version waits for."""
_QUESTIONS_MAX: Final = 64
"""Questions in one look."""


class Interest(NamedTuple):
    """Whom to ask, about which version."""

    address: tuple[str, int]
    digest: Digest


def interests(
    recoveries: Iterable[RecoverySnapshot], peers: Iterable[ListedPeer]
) -> list[Interest]:
    """Return which holders should know that somebody waits, each once.

    Args:
        recoveries: All that have not ended.
        peers: All peers.
    """
    live = [peer for peer in peers if peer.state is PeerState.LIVE and peer.holdings is not None]
    found: dict[Interest, None] = {}
    for recovery in recoveries:
        if not recovery.waiting_for or recovery.is_paused or recovery.is_idle:
            continue
        listed = [
            (holding.version, Interest(peer.address, holding.digest))
            for peer in live
            for holding in (peer.holdings.holdings if peer.holdings else ())
            if holding.checkpoint == recovery.checkpoint
            and not holding.is_complete
            and recovery.digest in {None, holding.digest}
            and recovery.version in {None, holding.version}
        ]
        newest = sorted({version for version, _ in listed}, reverse=True)[:_VERSIONS_MAX]
        found.update((interest, None) for version, interest in listed if version in newest)
    return list(found)[:_QUESTIONS_MAX]


class Asking:
    """Asks them, now and then, until cancelled.

    Args:
        recoveries: Returns all that have not ended.
        peers: Returns all peers.
        inquirer: Asks.
        clock: Seconds that go on.
    """

    def __init__(
        self,
        recoveries: Callable[[], Iterable[RecoverySnapshot]],
        peers: Callable[[], Iterable[ListedPeer]],
        inquirer: Inquirer,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recoveries = recoveries
        self._peers = peers
        self._inquirer = inquirer
        self._clock = clock
        self._asked_s: dict[Interest, float] = {}

    async def run(self) -> NoReturn:
        """Look for recoveries that stand still, until cancelled."""
        while True:
            async with asyncio.TaskGroup() as tasks:
                for interest in self.due():
                    tasks.create_task(
                        self._inquirer.confirm(interest.address, interest.digest, BlockSet())
                    )
            await asyncio.sleep(_LOOK_S)

    def due(self) -> list[Interest]:
        """Return what was not asked lately, and remember that it is now."""
        now_s = self._clock()
        self._asked_s = {
            asked: at_s for asked, at_s in self._asked_s.items() if now_s - at_s < _AGAIN_S
        }
        due = [
            interest
            for interest in interests(self._recoveries(), self._peers())
            if interest not in self._asked_s
        ]
        self._asked_s.update(dict.fromkeys(due, now_s))
        return due
