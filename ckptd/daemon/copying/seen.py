"""What copying did and sees now: for answers, metrics and the doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.copies.decided import Decided
from ckptd.copies.fleet import FleetView
from ckptd.model.ids import CheckpointName, Version
from ckptd.model.words import CopiedBecause, GivenBackBecause
from ckptd.observe.metrics import MetricRow, counter, counters, gauge


@dataclass(slots=True)
class CopyingSeen:
    """What copying did since the start, and what it saw last.

    Attributes:
        is_on: This node lists names.
        view: What was known of the fleet at the last decision; ``None``: there was none.
        decided: What was decided then.
        decided_at_ns: When that was.
        conflicts: Versions of which it is not known which of several contents is meant.
        problem: What keeps this node from deciding at all; empty: nothing does.
        problems: Why copies did not come or did not go, by version, sentences for people.
        under_way: How many copies are being made.
        begun: Copies that were begun, by reason.
        made: Copies that came.
        failed: Tries that failed.
        given_back: Copies that were given back, by reason.
        given_back_bytes: How much that freed.
        compressed_bytes: How long units were that were compressed.
        saved_bytes: How much less room copies take because units are kept compressed.
    """

    is_on: bool = False
    view: FleetView | None = None
    decided: Decided = field(default_factory=Decided)
    decided_at_ns: int = 0
    conflicts: frozenset[tuple[CheckpointName, Version]] = frozenset()
    problem: str = ""
    problems: dict[tuple[CheckpointName, Version], str] = field(default_factory=dict)
    under_way: int = 0
    begun: Counter[str] = field(default_factory=Counter)
    made: int = 0
    failed: int = 0
    given_back: Counter[str] = field(default_factory=Counter)
    given_back_bytes: int = 0
    compressed_bytes: int = 0
    saved_bytes: int = 0

    def note(
        self,
        view: FleetView,
        decided: Decided,
        conflicts: frozenset[tuple[CheckpointName, Version]],
        now: int,
    ) -> None:
        """Take in what was known and decided."""
        self.view, self.decided, self.decided_at_ns = view, decided, now
        self.conflicts = conflicts
        current = {(each.checkpoint, each.version) for each in decided.pulls}
        current.update((each.checkpoint, each.version) for each in decided.give_back)
        self.problems = {key: why for key, why in self.problems.items() if key in current}

    @property
    def used_bytes(self) -> int:
        """What copies take, with what came so far of those that are being made."""
        return 0 if self.view is None else self.view.room.used_bytes

    @property
    def quota_bytes(self) -> int | None:
        """What they may take; ``None``: this node keeps none."""
        return None if self.view is None else self.view.room.quota_bytes


COPY_METRICS: Final[Sequence[MetricRow[CopyingSeen]]] = (
    counters(
        "copies_begun",
        "Copies for others that this node began to make, by reason.",
        ("why",),
        lambda seen: seen.begun,
        (why.value for why in CopiedBecause),
    ),
    counter("copies_made", "Copies that came, or grew.", lambda seen: seen.made),
    counter("copies_failed", "Tries to make a copy that failed.", lambda seen: seen.failed),
    counters(
        "copies_given_back",
        "Copies that this node removed because they were too many or too old, by reason.",
        ("why",),
        lambda seen: seen.given_back,
        (why.value for why in GivenBackBecause),
    ),
    counter(
        "copies_given_back_bytes",
        "Bytes of files that this freed.",
        lambda seen: seen.given_back_bytes,
    ),
    counter(
        "copies_compressed_bytes",
        "Bytes of units of copies that were compressed where they stand.",
        lambda seen: seen.compressed_bytes,
    ),
    gauge(
        "copies_saved_bytes",
        "How much less room copies take because units are kept compressed.",
        lambda seen: seen.saved_bytes,
    ),
    gauge("copies_under_way", "Copies that are being made.", lambda seen: seen.under_way),
    gauge(
        "copies_held_bytes",
        "What copies take of the quota, with what came so far of those that are being made.",
        lambda seen: seen.used_bytes,
    ),
    gauge(
        "copies_quota_bytes",
        "What copies may take; not there without [copies].",
        lambda seen: seen.quota_bytes,
    ),
    gauge(
        "copies_full",
        "1 if this node takes no more copies: quota, or less than 10 % of the disk free.",
        lambda seen: int(seen.decided.is_full) if seen.is_on else None,
    ),
    gauge(
        "copies_conflicts",
        "Listed versions of which nobody knows which of several contents is meant.",
        lambda seen: len(seen.conflicts),
    ),
)
