"""Asks other nodes whether they have a version, after this node has taken it off offer.

What they said before may be about to change: two nodes could each rely on the other, and both
remove it. Whoever is asked answers after this node's own offer is gone. So of two that do the same
at the same moment at least one hears that the other has nothing on offer, and keeps what it has.

An answer is no proof. A copy counts only if a block of it, drawn at random, came within the last
day; where none did one is asked for now, of as few nodes as are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from ckptd.core.peers.copies import has_all
from ckptd.daemon.recover.recovering import Recovering
from ckptd.errors import CkptdError
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import Digest, NodeId, PathId
from ckptd.net.inquiry import Inquirer

_AT_ONCE_MAX: Final = 4
_ANSWER_S: Final = 15.0
"""Who does not answer within this time counts as not there."""
_PROOF_S: Final = 30.0
"""So long holders have, one after another, to show a block of a version that is off offer here."""
_ASKED_MAX: Final = 32
"""So many nodes are asked at most, those with the first names; one copy is enough to most."""


Proven: TypeAlias = Callable[[PathId, Holding], Awaitable[bool]]
"""Tells whether a peer has what it claims, by a block that came within the day or comes now."""


class AskingHolders:
    """Asks peers. Belongs to the event loop.

    Args:
        recovering: Knows who claims what, and on which path they are.
        inquirer: Asks them.
        is_proven: Tells whether they have what they say.
    """

    def __init__(self, recovering: Recovering, inquirer: Inquirer, is_proven: Proven) -> None:
        self._is_proven = is_proven
        self._scheduler = recovering.scheduler
        self._peering = recovering.peering
        self._now = recovering.runtime.now
        self._inquirer = inquirer

    def nodes_with(self, own: Iterable[Holding]) -> dict[NodeId, PathId]:
        """Return which nodes say that they have all of some versions, and a path to each."""
        found: dict[NodeId, PathId] | None = None
        for holding in own:
            paths = self._scheduler.copies(holding, now=self._now())
            ends = {end.node: path for path in paths if (end := self._peering.end_of(path))}
            found = ends if found is None else {n: p for n, p in found.items() if n in ends}
        return found or {}

    async def count(self, own: Iterable[Holding], wanted: int) -> Mapping[Digest, int]:
        """Ask everybody who claims some versions; return how many have each, up to ``wanted``.

        Args:
            own: The versions as this node has them, which are on offer no more.
            wanted: More than so many need not show that they have one.
        """
        own = list(own)
        paths = dict.fromkeys(
            path
            for holding in own
            for path in self._scheduler.copies(holding, now=self._now())[:_ASKED_MAX]
        )
        answers = await self._ask_all(paths)
        return {
            holding.digest: await self._count_proven(
                holding,
                [
                    (path, said)
                    for path in paths
                    if (said := answers[path].get(holding.digest)) and has_all(said, holding)
                ],
                wanted,
            )
            for holding in own
        }

    async def holdings(self, digest: Digest) -> Mapping[NodeId, Holding]:
        """Ask everybody who has something of a version; return what they say that they have now.

        Nobody is among them who is in quarantine.
        """
        paths: dict[NodeId, PathId] = {}
        for peer in self._scheduler.holders(digest, now=self._now()):
            if peer.quarantined_until_ns is None and len(paths) < _ASKED_MAX:
                paths.setdefault(peer.source.node, peer.source.path)
        answers = await self._ask_all(paths.values())
        return {node: said for node, path in paths.items() if (said := answers[path].get(digest))}

    async def _count_proven(
        self, own: Holding, answers: Iterable[tuple[PathId, Holding]], wanted: int
    ) -> int:
        """Return how many of those who say so have a version; more than enough are not asked."""
        count = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_PROOF_S):
                for path, said in answers:
                    if count >= wanted:
                        break
                    is_proven = await self._is_proven(path, said)
                    # Who is distrusted by now, or is another node, counts no more.
                    count += is_proven and path in self._scheduler.copies(own, now=self._now())
        return count

    async def _ask_all(self, paths: Iterable[PathId]) -> dict[PathId, dict[Digest, Holding]]:
        """Return what some nodes hold at this moment; of who does not say so, nothing."""
        at_once = asyncio.Semaphore(_AT_ONCE_MAX)
        answers: dict[PathId, dict[Digest, Holding]] = {}

        async def ask(path: PathId) -> None:
            async with at_once:
                said = await self._ask(path)
            answers[path] = {} if said is None else {each.digest: each for each in said.holdings}

        async with asyncio.TaskGroup() as tasks:
            for path in paths:
                tasks.create_task(ask(path))
        return answers

    async def _ask(self, path: PathId) -> Holdings | None:
        """Return what a node holds at this moment; ``None`` if it does not say."""
        end = self._peering.end_of(path)
        if end is None:
            return None
        try:
            async with asyncio.timeout(_ANSWER_S):
                answer = await self._inquirer.holdings(end.address)
        except (CkptdError, OSError, TimeoutError):
            return None
        said = answer.update
        return said if isinstance(said, Holdings) and said.node == end.node else None
