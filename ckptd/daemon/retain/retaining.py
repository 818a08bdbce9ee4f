"""The service that removes versions which nothing keeps, by the rules of ``[retention]``.

It comes after all other work, a few versions at a time. Each is looked at and taken off offer, and
only then it is asked who else has it (``asking_holders.py``); if too few do, it is on offer again.
What is written down as being removed is brought to its end by the next start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from random import Random
from typing import Final

from ckptd.daemon.parts import Parts
from ckptd.daemon.recover.recovering import Recovering
from ckptd.daemon.retain.asking_holders import AskingHolders, Proven
from ckptd.daemon.retain.deciding import Deciding, View
from ckptd.daemon.retain.leases import Leases
from ckptd.daemon.retain.letting_go import CHANGED, LetGo, LettingGo
from ckptd.daemon.retain.named_places import NamedPlaces
from ckptd.daemon.retain.outcomes import Outcome, RetentionSeen
from ckptd.daemon.retain.removing import Removing
from ckptd.daemon.retain.survey import AS_WANTED, Survey, Surveyed
from ckptd.daemon.serve.advertising import Advertising
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName, Digest
from ckptd.model.retention import is_to_wait
from ckptd.model.words import GoesBecause, KeptBecause
from ckptd.observe.logs import get_logger
from ckptd.store.records.retention_records import RetentionRecords

_ROUND_S: Final = 60.0
"""How often it is looked what may go; somewhat more or less, so that nodes do not go in step."""
_TOGETHER_MAX: Final = 8
"""So many versions go; then all is looked at again."""
_BUSY_S: Final = 600.0
"""So long all other work goes first; then one version goes, however busy a node is."""
_YIELD_S: Final = 600.0
"""So long a node waits for others that may remove a version, too, and are to go first."""

_log = get_logger()


class Retaining:
    """Removes what nothing keeps. Belongs to the event loop.

    Args:
        parts: What the daemon is made of.
        recovering: Recoveries, and what peers say.
        advertising: What this node says that it holds.
        standings: Says which places are not to be touched.
        removing: Removes.
        leases: Knows who reads what.
        is_proven: Tells whether a peer has what it claims.
        is_busy: Tells whether there is other work, which goes first.
        clock: The moment in seconds, by a clock that never jumps.

    Attributes:
        rule_of: Says which rule counts for a checkpoint or a job.
        could_free: Says what it would free on the disk of a root.
        letting_go: Removes what was decided on.
        survey: Says what is in the way of that.
        asking: Asks who else has it.
        seen: What it did, and what it saw last.
    """

    def __init__(  # noqa: PLR0913 (what it works with, each named)
        self,
        parts: Parts,
        recovering: Recovering,
        advertising: Advertising,
        standings: NamedPlaces,
        removing: Removing,
        leases: Leases,
        *,
        is_proven: Proven,
        is_busy: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = parts.config.retention
        self._node = parts.config.node.id
        self._catalog = parts.storage.catalog
        self._records: RetentionRecords = parts.storage.retention
        self._leases = leases
        self._is_busy = is_busy
        self._clock = clock
        self.survey = Survey(parts.storage, recovering, standings, leases, clock)
        self.letting_go = LettingGo(
            parts.storage.catalog, parts.storage.retention, advertising, self.survey, removing
        )
        self.seen = RetentionSeen(is_on=self._section.is_on)
        self._deciding = Deciding(self._section, parts.storage.roots, self.survey, self.seen, clock)
        self.rule_of = self._deciding.rule_of
        self.could_free = self._deciding.could_free
        self.asking = AskingHolders(recovering, parts.transport.inquirer, is_proven)
        self._rng = Random(parts.epoch)  # noqa: S311 (no secret)
        self._due_s: dict[Digest, float] = {}
        self._last_s = clock()

    async def run(self) -> None:
        """Bring begun removals to their end, and remove what may go, until cancelled."""
        is_first = True
        while True:
            try:
                async with self.letting_go.lock:
                    await self._finish_begun()
                await self._leases.end_old()
                if self._section.is_on and not is_first:  # peers are not heard yet
                    await self._round()
            except CkptdError as error:
                _log.warning("retention.not_removed", why=str(error))
            is_first = False
            await asyncio.sleep(_ROUND_S * self._rng.uniform(0.75, 1.25))

    async def collect(
        self, name: CheckpointName | None, *, is_dry_run: bool, free_bytes: int | None = None
    ) -> AsyncGenerator[Outcome, None]:
        """Remove now what may go; yield what becomes of each version. Closing it stops that.

        Args:
            name: Only of this checkpoint or job; ``None``: of all.
            is_dry_run: Only say what would be done, by what peers said last.
            free_bytes: So much is to be free on the disk of each root, if that is more.
        """
        if not is_dry_run:
            self._deciding.forget_failed()
        gone: list[Outcome] = []
        while True:
            async with self.letting_go.lock:
                view = await self._deciding.decide(free_bytes)
                going = view.going(name)
                if not is_dry_run:
                    gone = [await self._remove(view, *each) for each in going[:_TOGETHER_MAX]]
            for outcome in gone:
                if outcome.goes is not None:
                    yield outcome
            if is_dry_run or not going:
                break
        for chosen, goes in going:
            yield Outcome(chosen, goes=goes, freed_bytes=chosen.standing.size_bytes)
        for each in view.decided.decisions:
            if each.kept is not None and name in {None, each.standing.name}:
                surveyed = view.surveyed[each.standing.key]
                why = self._deciding.why_failed(each.standing.key)
                why = why or self.survey.more_about(each.kept, surveyed)
                yield Outcome(surveyed, kept=each.kept, why=why)

    async def _round(self) -> None:
        """Remove a few versions; all other work goes first unless room is short."""
        done = 0
        for _ in range(_TOGETHER_MAX):
            async with self.letting_go.lock:
                view = await self._deciding.decide()
                going = view.going()
                self._note_due(chosen for chosen, _ in going)
                failed = self._deciding.failed_count
                for chosen, goes in going:
                    if done == _TOGETHER_MAX or not (view.is_short or self._has_turn()):
                        return
                    if view.is_short or not self._is_to_wait(chosen):
                        await self._remove(view, chosen, goes)
                        self._last_s = self._clock()
                        done += 1
            if not view.is_short or self._deciding.failed_count == failed:
                return  # else others go in the place of those that could not

    def _has_turn(self) -> bool:
        """Tell whether all other work is done, or has been under way so long that one may go."""
        return not self._is_busy() or self._clock() - self._last_s >= _BUSY_S

    async def _remove(self, view: View, chosen: Surveyed, goes: GoesBecause) -> Outcome:
        """Remove a version unless something turns out to be in the way."""
        if self._stand(view.newest(chosen.standing.name)):
            done = await self.letting_go.let_go(chosen, lambda: self._have_others(chosen))
        else:
            done = LetGo(KeptBecause.REFUSED, CHANGED)
        outcome = (
            Outcome(chosen, goes=goes, freed_bytes=done.freed_bytes)
            if done.kept is None
            else Outcome(chosen, kept=done.kept, why=done.why)
        )
        if outcome.kept is not None:
            self._deciding.note_failed(chosen.standing.key, outcome.kept, outcome.why)
        else:
            self.seen.note_removed(outcome)
            _log.info(
                "retention.removed",
                checkpoint=chosen.standing.name,
                version=chosen.standing.version,
                bytes=outcome.freed_bytes,
                why=goes.value,
            )
        return outcome

    def _stand(self, newest: Sequence[Surveyed]) -> bool:
        """Tell whether the newest versions of a checkpoint are still here as wanted."""
        known = [self._catalog.held(digest) for each in newest for digest in each.digests]
        return all(
            held is not None and any(place.state in AS_WANTED for place in held.places)
            for held in known
        )

    async def _finish_begun(self) -> None:
        """Bring removals to their end that a crash interrupted."""
        numbers = await self._records.removals()
        if not numbers:
            return
        for surveyed in [*await self.survey.look(), *await self.survey.look(of_copies=True)]:
            try:
                freed_bytes = await self.letting_go.finish(numbers, surveyed)
            except CkptdError as error:
                _log.warning("retention.not_removed", version=surveyed.text, why=str(error))
                continue
            if not any(each.place.is_copy for each in surveyed.places):
                self.seen.freed_bytes += freed_bytes

    async def _have_others(self, chosen: Surveyed) -> bool:
        """Ask who else has a version that is off offer here; return whether they are enough."""
        wanted = self.rule_of(chosen.standing.name).copies
        counts = await self.asking.count((each.holding for each in chosen.held), wanted)
        return all(counts.get(digest, 0) >= wanted for digest in chosen.digests)

    def _note_due(self, going: Iterable[Surveyed]) -> None:
        """Remember since when versions may go; forget those that may not any more."""
        now_s = self._clock()
        digests = [digest for each in going for digest in each.digests]
        self._due_s = {digest: self._due_s.get(digest, now_s) for digest in digests}

    def _is_to_wait(self, chosen: Surveyed) -> bool:
        """Tell whether other nodes are to go first, and have had no time for it yet."""
        copies = self.rule_of(chosen.standing.name).copies
        others = self.asking.nodes_with(each.holding for each in chosen.held)
        digest = min(chosen.digests)
        if not is_to_wait(digest, self._node, others, copies):
            return False
        return self._clock() - self._due_s.get(digest, self._clock()) < _YIELD_S
