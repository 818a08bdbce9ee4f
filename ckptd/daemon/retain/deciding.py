"""Decides on everything that stands here, by what is seen of it, of the disks and of peers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from ckptd.config.sections import RetentionSection
from ckptd.daemon.retain.outcomes import RetentionSeen
from ckptd.daemon.retain.survey import Survey, Surveyed
from ckptd.errors import CkptdError
from ckptd.model.ids import CheckpointName
from ckptd.model.patterns import compile_pattern
from ckptd.model.quantities import format_size
from ckptd.model.retention import (
    Decided,
    RetentionRule,
    RuleOf,
    StandingKey,
    StandingVersion,
    decide,
    freeable_bytes,
)
from ckptd.model.words import GoesBecause, KeptBecause
from ckptd.observe.logs import get_logger
from ckptd.store.files.roots import Root, Roots

_FAILED_S: Final = 300.0
"""So long one that could not go counts as one that stays: others may go in its place."""

_log = get_logger()


class View(NamedTuple):
    """Everything that stands here, and what was decided of it.

    Attributes:
        surveyed: What stands here.
        decided: What becomes of it.
        is_short: Less is free on a disk than is to be.
    """

    surveyed: Mapping[StandingKey, Surveyed]
    decided: Decided
    is_short: bool

    def going(self, name: CheckpointName | None = None) -> list[tuple[Surveyed, GoesBecause]]:
        """Return what goes, in order, and why; of one checkpoint or job, or of all."""
        return [
            (self.surveyed[each.standing.key], each.goes)
            for each in self.decided.going
            if each.goes and name in {None, each.standing.name}
        ]

    def newest(self, name: CheckpointName) -> list[Surveyed]:
        """Return those of the newest of a checkpoint or job for which older ones may go."""
        return [
            self.surveyed[each.standing.key]
            for each in self.decided.decisions
            if each.kept is KeptBecause.NEWEST
            and each.standing.name == name
            and each.standing.is_as_wanted
        ]


class _Failed(NamedTuple):
    """Why a version could not go, and when that was."""

    kept: KeptBecause
    why: str
    at_s: float


class Deciding:
    """Decides. Belongs to the event loop.

    Args:
        section: The rules.
        roots: Where versions stand.
        survey: Looks at them.
        seen: Takes what was seen and decided.
        clock: The moment in seconds, by a clock that never jumps.

    Attributes:
        rule_of: Says which rule counts for a checkpoint or a job.
        seen: What was seen last.
    """

    def __init__(
        self,
        section: RetentionSection,
        roots: Roots,
        survey: Survey,
        seen: RetentionSeen,
        clock: Callable[[], float],
    ) -> None:
        self._section = section
        self._roots = roots
        self._survey = survey
        self._clock = clock
        self._failed: dict[StandingKey, _Failed] = {}
        self._is_said_short = False
        self.seen = seen
        self.rule_of = rules_of(section)

    def could_free(self, root: Root) -> str:
        """Say what retention would free on the disk of a root, by what was seen last."""
        if not self._section.is_on:
            return ""
        freeable = self.seen.freeable_bytes.get(self._survey.disk_of(root))
        if freeable is None:
            return ""  # nobody looked yet
        if not freeable:
            return " Retention may remove nothing here: see 'ckptctl gc --dry-run'."
        size, by_itself = format_size(freeable), "by itself, a few versions a minute"
        if self._section.min_free is None:
            return f" Retention frees up to {size} {by_itself}; at once: ckptctl gc"
        return (
            f" Retention may free up to {size}: as much as keeps {self._section.min_free} free"
            f" {by_itself}, more with: ckptctl gc --free SIZE"
        )

    async def decide(self, free_bytes: int | None = None) -> View:
        """Look at everything and decide."""
        surveyed = await self._survey.look()
        self._failed = {
            key: failed
            for key, failed in self._failed.items()
            if self._clock() - failed.at_s < _FAILED_S
        }
        surveyed = [replace(each, standing=self._as_it_failed(each.standing)) for each in surveyed]
        standing = [each.standing for each in surveyed]
        short_bytes = await asyncio.to_thread(self._short_bytes, free_bytes)
        decided = await asyncio.to_thread(decide, standing, self.rule_of, short_bytes)
        disks = {self._survey.disk_of(root) for root in self._roots}
        self.seen.freeable_bytes = {
            **dict.fromkeys(disks, 0),
            **await asyncio.to_thread(freeable_bytes, standing, self.rule_of),
        }
        by_key = {each.standing.key: each for each in surveyed}
        if free_bytes is None:
            self.seen.note_decided(decided)
            self._say_if_short(decided)
            going = (by_key[each.standing.key] for each in decided.going)
            self.seen.going = frozenset(digest for each in going for digest in each.digests)
        return View(by_key, decided, bool(short_bytes))

    def _as_it_failed(self, standing: StandingVersion) -> StandingVersion:
        failed = self._failed.get(standing.key)
        if failed is None:
            return standing
        return replace(standing, in_the_way=standing.in_the_way | {failed.kept})

    def _short_bytes(self, free_bytes: int | None) -> dict[str, int]:
        """Return how much more is to be free on which disk. Blocks."""
        short: dict[str, int] = {}
        for root in self._roots:
            try:
                wanted = free_bytes or 0
                if self._section.min_free is not None:
                    wanted = max(wanted, self._section.min_free.of(root.size_bytes()))
                missing = wanted - root.free_bytes()
            except CkptdError:
                continue  # the watch over the roots says so
            if missing > 0:
                short[self._survey.disk_of(root)] = missing
        return short

    @property
    def failed_count(self) -> int:
        """How many could not go a short while ago."""
        return len(self._failed)

    def note_failed(self, key: StandingKey, kept: KeptBecause, why: str) -> None:
        """Take note that a version could not go: it counts as one that stays, for a while."""
        self._failed[key] = _Failed(kept, why, self._clock())

    def forget_failed(self) -> None:
        """Let all be tried again."""
        self._failed.clear()

    def why_failed(self, key: StandingKey) -> str:
        """Return more about why a version could not go; empty: it was not tried, or that is all."""
        failed = self._failed.get(key)
        return "" if failed is None else failed.why

    def _say_if_short(self, decided: Decided) -> None:
        if decided.short_bytes and not self._is_said_short:
            _log.warning("retention.short", bytes=sum(decided.short_bytes.values()))
        elif self._is_said_short and not decided.short_bytes:
            _log.info("retention.enough")
        self._is_said_short = bool(decided.short_bytes)


def rules_of(section: RetentionSection) -> RuleOf:
    """Return what says which rule counts for a checkpoint or a job: the first that matches."""
    default = RetentionRule(section.newest, section.every_s, section.copies, section.remove)
    rules = [
        (
            compile_pattern(pattern),
            RetentionRule(each.newest, each.every_s, each.copies, each.remove),
        )
        for pattern, each in section.checkpoints.items()
    ]
    return lambda name: next((rule for pattern, rule in rules if pattern.match(name)), default)
