"""How long ago the newest version of a checkpoint was first heard of.

Whoever keeps new versions from this node, or makes everybody go on with an old one, shows in that:
nothing new comes. Which checkpoints there are is bounded by what this node holds, and no label of
a metric names one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NoReturn

from ckptd.limits import CHECKPOINTS_WATCHED_MAX
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Version
from ckptd.observe.metrics import MetricRow, gauges

FRESHNESS_LOOK_S: Final = 10.0
"""As often as ``daemon.measure.redundancy`` looks at the same holdings."""


class Freshness:
    """Knows since when the newest version of each checkpoint held here is the newest.

    Args:
        held: Returns what this node holds.
        of_peers: Returns what each live peer holds.
        clock: Seconds since any moment.
    """

    def __init__(
        self,
        *,
        held: Callable[[], Iterable[Holding]],
        of_peers: Callable[[], Iterable[Iterable[Holding]]],
        clock: Callable[[], float],
    ) -> None:
        self._held = held
        self._of_peers = of_peers
        self._clock = clock
        self._newest: dict[CheckpointName, tuple[Version, float]] = {}

    async def run(self) -> NoReturn:
        """Look now and then until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(FRESHNESS_LOOK_S)

    def look(self) -> None:
        """Take note of versions that are newer than any before."""
        versions: dict[CheckpointName, Version] = {}
        held = tuple(self._held())
        for name in sorted({holding.checkpoint for holding in held})[:CHECKPOINTS_WATCHED_MAX]:
            versions[name] = Version(0)
        for holdings in (held, *self._of_peers()):
            for holding in holdings:
                known = versions.get(holding.checkpoint)
                if known is not None and holding.version > known:
                    versions[holding.checkpoint] = holding.version
        now_s, before = self._clock(), self._newest
        self._newest = {
            name: before[name]
            if name in before and before[name][0] >= version
            else (version, now_s)
            for name, version in versions.items()
        }

    def ages_s(self) -> dict[str, float]:
        """Return the ages of the checkpoint that had a new version last, and of the other extreme.

        Empty if none is held here. None is older than this daemon.
        """
        now_s = self._clock()
        ages = [now_s - since_s for _, since_s in self._newest.values()]
        return {"freshest": min(ages), "stalest": max(ages)} if ages else {}


FRESHNESS_METRICS: Final[Sequence[MetricRow[Mapping[str, float]]]] = (
    gauges(
        "newest_manifest_age_seconds",
        "Since the newest version of a checkpoint held here was first heard of.",
        ("which",),
        lambda ages_s: ages_s,
    ),
)
