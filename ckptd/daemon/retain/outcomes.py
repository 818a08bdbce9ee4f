"""What retention did, and what it saw last: for answers, metrics and the doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.daemon.retain.survey import Surveyed
from ckptd.model.ids import Digest
from ckptd.model.retention import Decided
from ckptd.model.words import GoesBecause, KeptBecause
from ckptd.observe.metrics import MetricRow, counter, counters, gauges


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a version, or would.

    Attributes:
        surveyed: Which version.
        kept: Why it stays; ``None``: it went, or would.
        goes: By which rule; ``None``: it stays.
        freed_bytes: How much that freed.
        why: More about why it stays, a sentence for people; often empty.
    """

    surveyed: Surveyed
    kept: KeptBecause | None = None
    goes: GoesBecause | None = None
    freed_bytes: int = 0
    why: str = ""


@dataclass(slots=True)
class RetentionSeen:
    """What retention did, and what it saw last.

    Attributes:
        is_on: Somebody asked for it.
        freed_bytes: Bytes of files that it removed, since the start.
        removed: Versions that it removed, by rule.
        kept: Versions that stay, by reason.
        short_bytes: What is short of ``min_free`` with all gone that may go, by disk.
        freeable_bytes: What it would remove at most, however short room is, by disk.
        going: The contents of versions that it would let go, if others have them.
    """

    is_on: bool = False
    freed_bytes: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    kept: Mapping[KeptBecause, int] = field(default_factory=dict)
    short_bytes: Mapping[str, int] = field(default_factory=dict)
    freeable_bytes: Mapping[str, int] = field(default_factory=dict)
    going: frozenset[Digest] = frozenset()

    def note_decided(self, decided: Decided) -> None:
        """Take in what was decided of everything that stands here."""
        self.kept = decided.kept_by_reason()
        self.short_bytes = decided.short_bytes

    def note_removed(self, outcome: Outcome) -> None:
        """Count a version that went."""
        self.freed_bytes += outcome.freed_bytes
        if outcome.goes is not None:
            self.removed[outcome.goes.value] += 1


RETENTION_METRICS: Final[Sequence[MetricRow[RetentionSeen]]] = (
    counter(
        "retention_freed_bytes",
        "Bytes of files that retention removed.",
        lambda seen: seen.freed_bytes,
    ),
    counters(
        "retention_removed_versions",
        "Versions that retention removed, by rule.",
        ("why",),
        lambda seen: seen.removed,
        (why.value for why in GoesBecause),
    ),
    gauges(
        "retention_kept_versions",
        "Versions that stay on this node, by what keeps them; only with a rule in [retention].",
        ("why",),
        lambda seen: {why.value: count for why, count in seen.kept.items()},
        (why.value for why in KeptBecause),
    ),
    gauges(
        "retention_short_bytes",
        "What is short of [retention] min_free with all gone that may go, by disk: its first root.",
        ("root",),
        lambda seen: seen.short_bytes,
    ),
    gauges(
        "retention_freeable_bytes",
        "What retention would remove at most, however short room is, by disk: its first root.",
        ("root",),
        lambda seen: seen.freeable_bytes,
    ),
)
