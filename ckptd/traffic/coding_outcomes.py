"""What coding came to with each source, so that what comes next can be predicted.

How fast a source is known to be was measured with blocks that came coded, or with plain ones. A
version with a base of a checkpoint that came coded last will come so again, and so will what has no
base if that came coded last; whatever else is predicted as plain blocks, the slower of two guesses.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ckptd.limits import MIB, SECOND
from ckptd.model.ids import CheckpointName, PathId

_SOURCES_MAX: Final = 4096
_CHECKPOINTS_MAX: Final = 16
"""Of each source; what was noted first makes room."""
_KNOWN_BYTES: Final = 8 * MIB
"""So much says how fast it comes."""
_LATEST_BYTES: Final = 256 * MIB
"""What came before the last so much counts half."""


class CameRange(NamedTuple):
    """A range that came.

    Attributes:
        is_coded: It was asked for coded.
        plain_bytes: How long it is.
        sent_bytes: How many bytes it was on its way.
        elapsed_ns: How long it took …
        now: … until when.
        has_base: Both ends have a version that its blocks may be differences from.
        is_chosen: Coded blocks are faster, as far as is known.
    """

    is_coded: bool
    plain_bytes: int
    sent_bytes: int
    elapsed_ns: int
    now: int
    has_base: bool
    is_chosen: bool


class CodedOutcome(NamedTuple):
    """How blocks of a source came coded when that was faster.

    Attributes:
        gain: How many times as fast as plain ones, over all connections together.
        share: Of their length that they had on their way.
    """

    gain: float
    share: float

    def sentence(self) -> str:
        """Return what is expected of it, for a person."""
        shorter = 1 / max(self.share, 1e-3)
        return f"coded as last time, {self.gain:.1f} times as fast, {shorter:.1f} times shorter"


@dataclass(slots=True)
class _Total:
    """What came in one way over all connections to a source, and in how much time."""

    plain_bytes: float = 0.0
    sent_bytes: float = 0.0
    busy_ns: float = 0.0
    is_chosen: bool = False

    def add(self, came: CameRange, busy_ns: int) -> None:
        kept = 0.5 if self.plain_bytes > _LATEST_BYTES else 1.0
        self.plain_bytes = kept * self.plain_bytes + came.plain_bytes
        self.sent_bytes = kept * self.sent_bytes + came.sent_bytes
        self.busy_ns = kept * self.busy_ns + busy_ns

    @property
    def bytes_per_s(self) -> float:
        """How fast it came; 0: too little did."""
        return self.plain_bytes * SECOND / max(self.busy_ns, 1) if self.is_known else 0.0

    @property
    def is_known(self) -> bool:
        return self.plain_bytes >= _KNOWN_BYTES


@dataclass(slots=True)
class _Known:
    plain: _Total = field(default_factory=_Total)
    coded: dict[CheckpointName | None, _Total] = field(default_factory=dict)  # None: without base
    shown_gain: float = 1.0  # of what its rate was measured with last
    until_ns: int = 0

    def outcome(self, checkpoint: CheckpointName | None) -> CodedOutcome | None:
        coded = self.coded.get(checkpoint)
        if coded is None or not (coded.is_chosen and coded.is_known and self.plain.is_known):
            return None
        gain = coded.bytes_per_s / self.plain.bytes_per_s
        return CodedOutcome(gain, coded.sent_bytes / coded.plain_bytes)


class CodingOutcomes:
    """Remembers; one thread at a time."""

    def __init__(self) -> None:
        self._sources: dict[PathId, _Known] = {}

    def note(self, source: PathId, checkpoint: CheckpointName, came: CameRange) -> None:
        """Note how a range came.

        Args:
            source: From whom.
            checkpoint: Of what.
            came: How.
        """
        known = self._sources.get(source)
        if known is None:
            if len(self._sources) >= _SOURCES_MAX:
                del self._sources[next(iter(self._sources))]
            known = self._sources[source] = _Known()
        # Of ranges that came over several connections at once each moment counts once.
        busy_ns = came.now - max(known.until_ns, came.now - came.elapsed_ns)
        known.until_ns = came.now
        name = checkpoint if came.has_base else None
        if came.is_coded and came.is_chosen:
            total = known.coded.pop(name, None) or _Total()
            known.coded[name] = total
            total.add(came, busy_ns)
            if len(known.coded) > _CHECKPOINTS_MAX:
                del known.coded[next(iter(known.coded))]
        elif not came.is_coded and not came.is_chosen:
            known.plain.add(came, busy_ns)
        # Else it was only tried, beside what came in the other way: that says little.
        if name in known.coded:
            known.coded[name].is_chosen = came.is_chosen
        outcome = known.outcome(name)
        known.shown_gain = 1.0 if outcome is None else outcome.gain

    def expected(
        self, source: PathId, checkpoint: CheckpointName, *, has_base: bool
    ) -> CodedOutcome | None:
        """Return how blocks of a source came coded the last time; ``None``: they did not."""
        known = self._sources.get(source)
        return None if known is None else known.outcome(checkpoint if has_base else None)

    def factors(
        self, checkpoint: CheckpointName, with_base: Collection[PathId]
    ) -> dict[PathId, float]:
        """Return how many times as fast as is known of them sources will be, where that differs.

        Args:
            checkpoint: Of what blocks will come.
            with_base: Sources that have a version that is here as well.
        """
        found = {}
        for source, known in self._sources.items():
            expected = self.expected(source, checkpoint, has_base=source in with_base)
            factor = (1.0 if expected is None else expected.gain) / known.shown_gain
            if factor != 1.0:
                found[source] = factor
        return found

    def shown_gains(self) -> Mapping[PathId, float]:
        """Return how many times as fast as plain blocks what is known of sources is."""
        return {source: known.shown_gain for source, known in self._sources.items()}
