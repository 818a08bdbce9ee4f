"""Work that people ask for: how often it was done, how long it took, and when it last went well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ckptd.limits import SECOND
from ckptd.model.words import Result
from ckptd.observe.durations import NO_RECOVERIES, Durations
from ckptd.observe.metrics import MetricRow, counters, gauges, histogram

PUBLISH: Final = "publish"
RECOVERY: Final = "recovery"
_PUBLISH_RESULTS: Final = (Result.COMPLETE, Result.FAILED, Result.CANCELLED)


class Works:
    """Counts what was published, and remembers when work last went well.

    Args:
        wall_clock: Unix time; the moments outlive the daemon.

    Attributes:
        publishes: How many ended how.
        publish_durations: How long those took that ended well.
        succeeded_at_s: When each kind of work last ended well; a kind that never did is not there.
    """

    def __init__(self, wall_clock: Callable[[], float]) -> None:
        self._wall_clock = wall_clock
        self.publishes: Counter[str] = Counter()
        self.publish_durations: Durations = NO_RECOVERIES
        self.succeeded_at_s: dict[str, float] = {}

    def take_over(self, succeeded_at_s: Mapping[str, float]) -> None:
        """Take over what an earlier life of the daemon knew."""
        known = {PUBLISH, RECOVERY}
        self.succeeded_at_s = {work: at for work, at in succeeded_at_s.items() if work in known}

    def note_publish(self, result: Result, duration_ns: int) -> None:
        """Count a directory that was to be published."""
        self.publishes[result.value] += 1
        if result is Result.COMPLETE:
            self.publish_durations = self.publish_durations.plus(duration_ns / SECOND)
            self.succeeded_at_s[PUBLISH] = self._wall_clock()

    def note_recovery(self, result: Result) -> None:
        """Take note of how a recovery ended; one in part did not go well."""
        if result is Result.COMPLETE:
            self.succeeded_at_s[RECOVERY] = self._wall_clock()


WORK_METRICS: Final[Sequence[MetricRow[Works]]] = (
    counters(
        "publishes",
        "Directories that were to be published.",
        ("result",),
        lambda works: works.publishes,
        (result.value for result in _PUBLISH_RESULTS),
    ),
    histogram(
        "publish_duration_seconds",
        "From request to the version on offer, of directories that were published.",
        lambda works: works.publish_durations,
    ),
    gauges(
        "last_success_timestamp_seconds",
        "When a recovery last completed and a directory was last published, also before a restart.",
        ("work",),
        lambda works: works.succeeded_at_s,
    ),
)
