"""Gives copies back that were decided to be too many or too old, by the way of retention.

A copy is off offer before anybody is asked who else has it, and goes only if those who answer are
as many as asked, in as many zones. One goes at a time: what is decided next is by what is left.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ckptd.copies.decided import GiveBack
from ckptd.copies.fleet import FleetVersion, FleetView
from ckptd.copies.spread import is_as_spread
from ckptd.daemon.copying.layouts import ClassLayout, NamedContent, VersionLayouts
from ckptd.daemon.copying.pauses import Pauses
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.copying.viewing import Viewing
from ckptd.daemon.retain.letting_go import LetGo
from ckptd.daemon.retain.reasons import why_kept
from ckptd.daemon.retain.retaining import Retaining
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId
from ckptd.model.words import Criticality, GivenBackBecause, KeptBecause
from ckptd.observe.logs import get_logger
from ckptd.store.published.catalog import Catalog

_TOGETHER_MAX: Final = 8
"""So many go, then it is decided again."""

_log = get_logger()


class GivingBack:
    """Removes copies. Belongs to the event loop.

    Args:
        catalog: What stands here.
        viewing: Knows who is in which zone, and what is proven.
        layouts: Which blocks are how urgent.
        retaining: Says what is in the way, asks who has a version, and removes.
        seen: Takes what came of it.
        now: The moment in nanoseconds, on the monotonic clock.
    """

    def __init__(
        self,
        catalog: Catalog,
        viewing: Viewing,
        layouts: VersionLayouts,
        retaining: Retaining,
        seen: CopyingSeen,
        now: Callable[[], int],
    ) -> None:
        self._catalog = catalog
        self._viewing = viewing
        self._layouts = layouts
        self._survey = retaining.survey
        self._letting_go = retaining.letting_go
        self._asking = retaining.asking
        self._seen = seen
        self._now = now
        self._pauses: Pauses[Digest] = Pauses()

    async def follow(self, going: Sequence[GiveBack], view: FleetView) -> bool:
        """Give back what was decided on, a few at a time.

        Args:
            going: What may go.
            view: What was known then.

        Returns:
            Whether something went: what else may go is to be decided again.
        """
        self._pauses.keep({each.digest for each in going})
        done = 0
        for each in going:
            if done == _TOGETHER_MAX or self._pauses.is_paused(each.digest, now=self._now()):
                continue
            async with self._letting_go.lock:
                done += await self._give_back(each, view)
            if done and each.why is GivenBackBecause.SURPLUS:
                break  # who holds what is another thing now
        return bool(done)

    async def _give_back(self, going: GiveBack, view: FleetView) -> bool:
        chosen = self._survey.copy_of(going.digest)
        if chosen is None:
            return False
        why = self._survey.more_about(KeptBecause.BASE, chosen)
        if why and going.why is GivenBackBecause.OLD:
            done = LetGo(KeptBecause.BASE, why)  # what is newer is of no use without it
        else:
            done = await self._letting_go.let_go(chosen, lambda: self._have_enough(going, view))
        facts = {"checkpoint": going.checkpoint, "version": going.version}
        key = (going.checkpoint, going.version)
        if done.kept is not None:
            self._pauses.note_failure(going.digest, now=self._now())
            self._seen.problems[key] = done.why or why_kept(done.kept)
            _log.info("copies.kept", **facts, kept=done.kept.value, why=done.why)
            return False
        self._pauses.forget(going.digest)
        self._seen.problems.pop(key, None)
        self._seen.given_back[going.why.value] += 1
        self._seen.given_back_bytes += done.freed_bytes
        _log.info("copies.given_back", **facts, why=going.why.value, bytes=done.freed_bytes)
        return True

    async def _have_enough(self, going: GiveBack, view: FleetView) -> bool:
        """Ask others, now that the copy is off offer; return whether it may go."""
        if going.why is GivenBackBecause.OLD:
            return await self._are_newer_whole(going, view)
        content = NamedContent(going.digest, going.checkpoint, going.version)
        layout, rule = self._layouts.get(content), view.rule_of(going.checkpoint)
        if layout is None or rule is None:
            return False
        holders = self._proven(going.digest, layout, await self._asking.holdings(going.digest))
        mine = next((each for each in view.versions if each.digest == going.digest), None)
        own = {each.node: each.least for each in mine.claims} if mine is not None else {}
        for criticality in layout.sizes_bytes:
            with_it = [node for node, least in holders.items() if _has(least, criticality)]
            if len(with_it) < rule.counts.of(criticality):
                return False
            zones = [self._viewing.zone(node) for node in with_it]
            if _has(own.get(view.own), criticality) and not is_as_spread(
                zones, self._viewing.zone(view.own), rule.counts.of(criticality)
            ):
                return False
        return True

    def _proven(
        self, digest: Digest, layout: ClassLayout, answers: Mapping[NodeId, Holding]
    ) -> dict[NodeId, Criticality | None]:
        return {
            node: layout.least_of(holding.blocks)
            for node, holding in answers.items()
            if self._viewing.is_proven(node, digest, self._now())
        }

    async def _are_newer_whole(self, going: GiveBack, view: FleetView) -> bool:
        """Return whether so many newer versions as are kept are whole somewhere, by who is asked.

        That is never more than one can rely on: who answers shows that he has it by an audit.
        """
        rule = view.rule_of(going.checkpoint)
        newer = sorted(
            (
                each
                for each in view.versions
                if each.checkpoint == going.checkpoint and each.version > going.version
            ),
            key=lambda each: -each.version,
        )
        count = 0
        for each in newer:
            count += await self._is_whole_somewhere(each)
            if rule is not None and count >= rule.keep:
                return True
        return False

    async def _is_whole_somewhere(self, version: FleetVersion) -> bool:
        content = NamedContent(version.digest, version.checkpoint, version.version)
        layout = self._layouts.get(content)
        if layout is None:
            return False
        held = self._catalog.held(version.digest)
        if held is not None and layout.least_of(held.holding.blocks) is max(Criticality):
            return True
        answers = await self._asking.holdings(version.digest)
        holders = self._proven(version.digest, layout, answers)
        return any(least is max(Criticality) for least in holders.values())


def _has(least: Criticality | None, criticality: Criticality) -> bool:
    return least is not None and criticality <= least
