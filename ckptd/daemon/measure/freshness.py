"""How long ago the newest version of a checkpoint was first heard of.

Whoever keeps new versions from this node, or makes everybody go on with an old one, shows in that:
nothing new comes. Only versions that are whole at some node count, for from any other one nobody
can go on. Which checkpoints there are is bounded by what this node holds, and no label of a metric
names one. The moments outlive the daemon, so that a restart does not make old versions young.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.limits import CHECKPOINTS_WATCHED_MAX, SECOND
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Version
from ckptd.observe.metrics import MetricRow, gauges
from ckptd.store.records.boot_moments import BootMoment
from ckptd.store.records.moments import FirstHeard, HeardVersion


@dataclass(frozen=True, slots=True)
class NewestSeen:
    """The newest versions of two checkpoints; empty if none is held here.

    One had a new version last (``freshest``), the other is longest without (``stalest``).

    Attributes:
        ages_s: Since each was first heard of.
        versions: Their numbers.
    """

    ages_s: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, int] = field(default_factory=dict)


class Freshness:
    """Knows since when the newest version of each checkpoint held here is the newest.

    Args:
        held: Returns what this node holds.
        of_peers: Returns what each live peer holds.
        now: The moment in nanoseconds, on the monotonic clock.
        boot: Names this boot of the machine.
        wall_clock: Unix time, for what was first heard of in another boot.
    """

    def __init__(
        self,
        *,
        held: Callable[[], Iterable[Holding]],
        of_peers: Callable[[], Iterable[Iterable[Holding]]],
        now: Callable[[], int],
        boot: str,
        wall_clock: Callable[[], float],
    ) -> None:
        self._held = held
        self._of_peers = of_peers
        self._now = now
        self._boot = boot
        self._wall_clock = wall_clock
        self._newest: dict[CheckpointName, HeardVersion] = {}

    def take_over(self, known: FirstHeard) -> None:
        """Take over what an earlier life of the daemon knew; once, before the first look."""
        now, now_s = BootMoment(self._boot, self._now()), self._wall_clock()
        for name, heard in known.items():
            age_ns = now.since_ns(heard.moment)
            if age_ns is None:  # a clock that was set back makes nothing younger than now
                age_ns = int(max(now_s - heard.at_s, 0.0) * SECOND)
            self._newest[name] = heard._replace(moment=BootMoment(self._boot, now.at_ns - age_ns))

    def known(self) -> FirstHeard:
        """Return what the next life has to know."""
        return self._newest

    def look(self) -> None:
        """Take note of versions that are newer than any before."""
        versions: dict[CheckpointName, Version | None] = {}
        held = tuple(self._held())
        for name in sorted({holding.checkpoint for holding in held})[:CHECKPOINTS_WATCHED_MAX]:
            versions[name] = None
        for holdings in (held, *self._of_peers()):
            for holding in holdings:
                if not holding.is_whole:
                    continue
                if holding.checkpoint in versions:
                    known = versions[holding.checkpoint]
                    if known is None or holding.version > known:
                        versions[holding.checkpoint] = holding.version
        before = self._newest
        self._newest = {}
        for name, version in versions.items():
            if name in before and (version is None or before[name].version >= version):
                self._newest[name] = before[name]
            elif version is not None:
                moment = BootMoment(self._boot, self._now())
                self._newest[name] = HeardVersion(version, self._wall_clock(), moment)

    def seen(self) -> NewestSeen:
        """Return the newest versions of the two extremes."""
        if not self._newest:
            return NewestSeen()
        now, newest = self._now(), list(self._newest.values())
        both = {
            "freshest": max(newest, key=lambda each: each.moment.at_ns),
            "stalest": min(newest, key=lambda each: each.moment.at_ns),
        }
        return NewestSeen(
            {which: max(now - heard.moment.at_ns, 0) / SECOND for which, heard in both.items()},
            {which: heard.version for which, heard in both.items()},
        )


FRESHNESS_METRICS: Final[Sequence[MetricRow[NewestSeen]]] = (
    gauges(
        "newest_version",
        "The newest version of a checkpoint held here that is whole at some node.",
        ("which",),
        lambda seen: seen.versions,
    ),
    gauges(
        "newest_version_age_seconds",
        "Since that version was first heard of, also before a restart.",
        ("which",),
        lambda seen: seen.ages_s,
    ),
    gauges(
        "newest_manifest_age_seconds",
        "Old name of ckptd_newest_version_age_seconds, for this release.",
        ("which",),
        lambda seen: seen.ages_s,
    ),
)
