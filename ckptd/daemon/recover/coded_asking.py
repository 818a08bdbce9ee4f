"""Asks for blocks in fewer bytes where that pays: which sources, and against which bases.

Bases are versions of the same checkpoint that stand here and that the source says it has, too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from ckptd.core.report.learned_rate import LearnedRate
from ckptd.daemon.recover.recoveries import OpenRecovery
from ckptd.model.ids import CheckpointName, Digest, PathId
from ckptd.model.words import RateOrigin
from ckptd.net.coded_bases import CodedAsk
from ckptd.net.lane.lane import AskedRange
from ckptd.net.loaded_coding import can_code
from ckptd.observe.metrics import MetricRow, counter
from ckptd.traffic.coding_choice import BodyNote, CodingChoice, CodingSource
from ckptd.traffic.coding_outcomes import CameRange, CodedOutcome, CodingOutcomes

_SOURCES_MAX: Final = 4096
"""Sources of which is remembered what was measured; then all of it is measured again."""
_SWITCHED_OFF: Final = "switched off here, by [transport] coding"
_NOT_LOADED: Final = "what decodes cannot be loaded here"


class CodedBytes(NamedTuple):
    """What came coded.

    Attributes:
        plain: How long the blocks are.
        sent: How many bytes they were on their way.
    """

    plain: int = 0
    sent: int = 0


class CodedAsking:
    """Decides for each range.

    Args:
        has: Returns whether a source says that it has a version.
        now: The moment, in nanoseconds.
        is_on: Blocks may be asked for coded at all.
        lanes_max: Over so many lanes to a source they may come.

    Attributes:
        came: What came coded.
    """

    def __init__(
        self,
        has: Callable[[PathId, Digest], bool],
        now: Callable[[], int],
        *,
        is_on: bool,
        lanes_max: int = 1,
    ) -> None:
        self._lanes_max = lanes_max
        self._has = has
        self._now = now
        self._is_on = self._is_wanted = is_on
        self._is_loaded = False
        self._lock = threading.Lock()
        self._sources: dict[PathId, CodingSource] = {}
        self._outcomes = CodingOutcomes()
        self.came = CodedBytes()

    def ask(
        self, source: PathId, asked: AskedRange, recovery: OpenRecovery, *, lanes: int = 1
    ) -> CodedAsk | None:
        """Return how a range is asked for; ``None``: as it is.

        Args:
            source: Who is asked.
            asked: For what.
            recovery: For whom.
            lanes: How many lanes lead to the source.
        """
        if not self._is_on:
            return None
        with self._lock:
            choice = self._choice(recovery, source)
            if not self._is_loaded or not choice.is_coded(
                asked.byte_range.size_bytes, now=self._now(), lanes=lanes
            ):
                return None
        space = recovery.space_of(asked.digest)
        bases = [
            base
            for base in recovery.bases.get(asked.digest, ())
            if self._has(source, base.digest) and base.serves(space, asked.blocks)
        ]
        return CodedAsk(tuple(bases))

    def note_of(self, source: PathId, recovery: OpenRecovery) -> Callable[[BodyNote], None] | None:
        """Return what learns how bodies of a source come."""
        return partial(self._note, source, recovery) if self._is_on else None

    def why_of_all(self, recovery: OpenRecovery) -> dict[PathId, str]:
        """Return of each source that was asked for blocks how it is asked for them, and why."""
        with self._lock:
            return {
                path: self.why_off or choice.explained() for path, choice in recovery.coding.items()
            }

    @property
    def why_off(self) -> str:
        """Why no source is asked for coded blocks; empty: any may be."""
        if self._is_on:
            return ""
        return f"not coded: {_SWITCHED_OFF if not self._is_wanted else _NOT_LOADED}"

    def factors(self, checkpoint: CheckpointName, bases: Collection[Digest]) -> dict[PathId, float]:
        """Return how many times as fast as is known of them sources will be, where that differs.

        Args:
            checkpoint: Of what blocks will come.
            bases: Versions that stand here and of which they may be differences.
        """
        with self._lock:
            with_base = self._with_base(self._outcomes.shown_gains(), bases)
            return self._outcomes.factors(checkpoint, with_base)

    def expected(
        self, source: PathId, checkpoint: CheckpointName, bases: Collection[Digest]
    ) -> CodedOutcome | None:
        """Return how blocks of a source came coded the last time; ``None``: they did not.

        Args:
            source: From whom blocks will come.
            checkpoint: Of what.
            bases: Versions that stand here and of which they may be differences.
        """
        with self._lock:
            has_base = bool(self._with_base({source}, bases))
            return self._outcomes.expected(source, checkpoint, has_base=has_base)

    def as_plain(self, learned: Mapping[PathId, LearnedRate]) -> dict[PathId, LearnedRate]:
        """Return how fast sources would have been without coding, which nobody remembers long."""
        with self._lock:
            gains = self._outcomes.shown_gains()
        return {
            path: replace(rate, bytes_per_s=rate.bytes_per_s / gains.get(path, 1.0))
            if rate.origin is RateOrigin.RECOVERY
            else rate
            for path, rate in learned.items()
        }

    def _with_base(self, sources: Iterable[PathId], bases: Collection[Digest]) -> set[PathId]:
        """Return those of some sources that say that they have one of some versions."""
        return {source for source in sources if any(self._has(source, base) for base in bases)}

    def _choice(self, recovery: OpenRecovery, source: PathId) -> CodingChoice:
        choice = recovery.coding.get(source)
        if choice is None:
            if len(self._sources) >= _SOURCES_MAX:
                self._sources.clear()
            known = self._sources.setdefault(source, CodingSource())
            choice = recovery.coding[source] = CodingChoice(
                known, recovery.record.checkpoint, lanes_max=self._lanes_max
            )
        return choice

    def _note(self, source: PathId, recovery: OpenRecovery, body: BodyNote) -> None:
        with self._lock:
            choice = self._choice(recovery, source)
            now = self._now()
            choice.note(body, now=now)
            self._outcomes.note(
                source,
                recovery.record.checkpoint,
                CameRange(
                    body.is_coded,
                    body.plain_bytes,
                    body.sent_bytes,
                    body.elapsed_ns,
                    now,
                    has_base=bool(self._with_base({source}, recovery.base_digests)),
                    is_chosen=choice.is_chosen,
                ),
            )
            is_wanted = choice.may_be_coded and not self._is_loaded
            if body.is_coded:
                plain, sent = self.came
                self.came = CodedBytes(plain + body.plain_bytes, sent + body.sent_bytes)
        if is_wanted:  # here, in the thread of a lane
            self._is_loaded = self._is_on = can_code()


CODED_METRICS: Final[Sequence[MetricRow[CodedBytes]]] = (
    counter(
        "coded_plain_bytes",
        "Length of the blocks that peers sent coded.",
        lambda came: came.plain,
    ),
    counter(
        "coded_sent_bytes",
        "Bytes that those were on their way.",
        lambda came: came.sent,
    ),
)
