"""What became of saves in watched directories, as numbers: for the page of metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.model.words import NotTaken, SavedState
from ckptd.observe.durations import NO_RECOVERIES, Durations
from ckptd.observe.metrics import MetricRow, counter, gauge, gauges, histogram


@dataclass(frozen=True, slots=True)
class SavesSeen:
    """All watched directories together, at one moment.

    Attributes:
        states: How many saves there are of each state.
        not_taken: How many were not taken, by reason.
        taken: How many were published since the start.
        blind: Directories that cannot be looked into.
        behind_s: Since the last change of the newest save of a directory that is not on offer, of
            all directories the longest; 0: all are.
        on_offer: From the last change that was seen until a save was on offer.
    """

    states: Mapping[SavedState, int] = field(default_factory=Counter)
    not_taken: Mapping[NotTaken, int] = field(default_factory=Counter)
    taken: int = 0
    blind: int = 0
    behind_s: float = 0.0
    on_offer: Durations = NO_RECOVERIES


SAVE_METRICS: Final[Sequence[MetricRow[SavesSeen]]] = (
    gauges(
        "watch_saves",
        "Saves in watched directories, by what becomes of them.",
        ("state",),
        lambda seen: {state.value: count for state, count in seen.states.items()},
        (state.value for state in SavedState),
    ),
    gauges(
        "watch_not_taken_saves",
        "Saves in watched directories that are not published, by reason.",
        ("why",),
        lambda seen: {why.value: count for why, count in seen.not_taken.items()},
        (why.value for why in NotTaken),
    ),
    counter(
        "watch_taken_saves",
        "Saves in watched directories that were published.",
        lambda seen: seen.taken,
    ),
    gauge(
        "watch_blind_directories",
        "Watched directories that cannot be looked into.",
        lambda seen: seen.blind,
    ),
    gauge(
        "watch_behind_seconds",
        "Since the last change of the newest save that is not on offer; 0 if all newest are.",
        lambda seen: seen.behind_s,
    ),
    histogram(
        "watch_offer_seconds",
        "From the last change of a save that was seen until it was on offer.",
        lambda seen: seen.on_offer,
    ),
)
