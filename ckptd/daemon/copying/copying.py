"""The service that keeps copies for others: sees the fleet, decides, and carries that out.

What is decided comes from what is known alone (``ckptd.copies``); so a restart comes to the same.
It is decided again when something changed, and now and then because times of grace end.
"""

from __future__ import annotations

import asyncio
from typing import Final, NamedTuple

from ckptd.copies.decided import Decided
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import FleetView, Room
from ckptd.daemon.copying.compressing import Compressing
from ckptd.daemon.copying.giving_back import GivingBack
from ckptd.daemon.copying.layouts import VersionLayouts
from ckptd.daemon.copying.pulling import Pulling
from ckptd.daemon.copying.room import room_of
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.copying.viewing import Proofs, Viewing
from ckptd.daemon.copying.wanted import BeginCopy
from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.retention import Retention
from ckptd.daemon.serve.advertising import Advertising
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.observe.logs import get_logger

_LOOK_S: Final = 0.5
"""How often it is looked whether something changed: that takes some microseconds for each peer."""
_ROUND_S: Final = 5.0
"""It is decided at least so often, and …"""
_PAUSE_S: Final = 1.0
"""… at most so often."""
_AT_ONCE_MAX: Final = 2_000
"""So many pairs of a version and a node are decided on at once on the event loop: milliseconds."""

_log = get_logger()


class _Facts(NamedTuple):
    """What a decision comes from, in so far as it can be compared at once."""

    catalog: int
    layouts: int
    recoveries: int
    said: int
    is_settled: bool


class Copying:
    """Keeps copies until cancelled. Belongs to the event loop.

    Args:
        parts: What the daemon is made of.
        recovering: All recoveries, and what peers say.
        begin: Begins recoveries of copies.
        retention: By what versions go.
        advertising: Says what this node keeps copies of.
        proofs: Which claims of peers are proven.

    Attributes:
        seen: What it did, and what it saw last.
    """

    def __init__(
        self,
        parts: Parts,
        recovering: Recovering,
        begin: BeginCopy,
        retention: Retention,
        advertising: Advertising,
        proofs: Proofs,
    ) -> None:
        self._section = parts.config.copies
        self._catalog = parts.storage.catalog
        self._roots = parts.storage.roots
        self._recovering = recovering
        self._advertising = advertising
        self._now = recovering.runtime.now
        self._decider = Decider()
        self.seen = CopyingSeen(is_on=self._section.is_on)
        self._layouts = VersionLayouts(
            parts.storage, recovering.manifests, recovering.scheduler, parts.policy, self._now
        )
        self._viewing = Viewing(
            parts.config,
            self._catalog,
            recovering,
            self._layouts,
            proofs,
            advertising,
            parts.transport.identity,
        )
        self._pulling = Pulling(self._roots.for_copies, self._catalog, recovering, begin, self.seen)
        self._giving_back = GivingBack(
            self._catalog,
            self._viewing,
            self._layouts,
            retention.retaining,
            self.seen,
            self._now,
        )
        self._compressing = Compressing(
            self._section,
            self._catalog,
            self._roots,
            book=recovering.book,
            seen=self.seen,
            now=self._now,
        )
        self._problem = ""
        self._to_give_back = asyncio.Event()

    def is_near(self, name: CheckpointName) -> bool:
        """Tell whether copies of a name may fall to this node."""
        return self._viewing.is_near(name)

    def announce(self) -> None:
        """Say of which names this node keeps copies."""
        if self.seen.is_on:
            self._advertising.note_keeping(self._section.names, is_full=False)

    async def run(self) -> None:
        """Keep copies of what is listed; without names there is nothing to do."""
        if not self.seen.is_on:
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._layouts.run(), name="layouts of versions")
            tasks.create_task(self._give_back(), name="copies that go")
            tasks.create_task(self._compressing.run(), name="copies that are compressed")
            tasks.create_task(self._decide_again_and_again(), name="copies")

    async def _decide_again_and_again(self) -> None:
        loop = asyncio.get_running_loop()
        facts, decided_at_s = None, loop.time() - _ROUND_S
        while True:
            current = self._facts()
            waited_s = loop.time() - decided_at_s
            if waited_s >= _ROUND_S or (current != facts and waited_s >= _PAUSE_S):
                facts, decided_at_s = current, loop.time()
                try:
                    await self._round()
                except CkptdError as error:
                    self._say(str(error))
                else:
                    self._say("")
            await asyncio.sleep(_LOOK_S)

    async def _round(self) -> None:
        """See, decide, and let copies come."""
        room = await self._room()
        now = self._now()
        view = self._viewing.look(room, now=now)
        decided = await self._decide(view, now)
        self.seen.note(view, decided, self._viewing.conflicts, now)
        self.seen.saved_bytes = self._viewing.saved_bytes()
        self._advertising.note_keeping(self._section.names, is_full=decided.is_full)
        await self._pulling.follow(decided.pulls, view, now=now)
        if decided.give_back:
            self._to_give_back.set()

    async def _decide(self, view: FleetView, now: int) -> Decided:
        if len(view.versions) * len(view.nodes) <= _AT_ONCE_MAX:
            return self._decider.decide(view, now=now)
        return await asyncio.to_thread(self._decider.decide, view, now=now)

    async def _give_back(self) -> None:
        while True:
            await self._to_give_back.wait()
            self._to_give_back.clear()
            view, decided = self.seen.view, self.seen.decided
            if view is not None:
                await self._giving_back.follow(decided.give_back, view)

    async def _room(self) -> Room:
        """Return what this node has for copies.

        Raises:
            CkptdError: The disk does not answer.
        """
        root = self._roots[self._roots.for_copies]
        came_bytes, coming_bytes = self._pulling.came_bytes(), self._pulling.coming_bytes()
        promised_bytes = sum(
            each.staging.promised_bytes
            for each in self._recovering.book
            if each.staging is not None and each.root.device == root.device
        )
        return await asyncio.to_thread(
            room_of,
            root,
            quota_bytes=self._section.quota_bytes or 0,
            used_bytes=came_bytes + sum(each.size_bytes for each in self._viewing.own_copies()),
            # What is allocated for copies and did not come yet is asked for again each time.
            promised_bytes=promised_bytes - coming_bytes,
        )

    def _facts(self) -> _Facts:
        said = self._recovering.peering.said()
        revisions = frozenset(
            (node, holdings.epoch, holdings.revision) for node, holdings in said.items()
        )
        return _Facts(
            self._catalog.change_count,
            self._layouts.learned_count,
            hash(frozenset(each.id for each in self._recovering.book)),
            hash(revisions),
            self._recovering.scheduler.is_settled,
        )

    def _say(self, problem: str) -> None:
        """Say once what keeps this node from deciding."""
        if problem and problem != self._problem:
            _log.warning("copies.hindered", why=problem)
        self._problem = self.seen.problem = problem
