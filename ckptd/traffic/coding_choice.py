"""Whether blocks of a source are asked for coded: what was measured decides, not what one hopes.

Coding pays where the link is slower than both ends code, and only who measures knows that: it
depends on the link, on how busy the processors of both ends are, and on how much neighbouring
versions differ. So a source is asked for plain blocks first, then for coded ones; from then on in
the way that brought more bytes of the version in the same time, also for the versions of that
checkpoint that follow. The other way is measured again now and then, with short ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ckptd.limits import MIB, SECOND

MEASURED_BYTES_MIN: Final = 8 * MIB
"""A way is known when so much came in it: several blocks, past the slow start of a connection."""
PROBE_BYTES_MAX: Final = 2 * MEASURED_BYTES_MIN
"""Asked for in the other way before it is known; the rest of what is under way is not put at
risk."""
BETTER: Final = 1.1
"""The other way has to be better by so much: rates sway by a few hundredths from range to range."""
SHARE_MAX: Final = 0.97
"""Of their length that coded blocks have; what is not shorter than that only costs time."""
AGAIN_MIN_NS: Final = 10 * SECOND
AGAIN_MAX_NS: Final = 160 * SECOND
"""When the other way is measured again; each time twice as late, unless it was better."""
CODING_BYTES_PER_S: Final = 350_000_000
"""A processor at either end makes hardly more than this of coded blocks (docs/decisions/064): where
plain ones come faster than from all of them it is not tried, for the trial itself costs a fifth of
a second."""
_NOT_MEASURED: Final = "not measured yet"
_MEASURING: Final = "some ranges were asked for coded, too few to compare"
_NOT_SAID: Final = "the source has not said that it codes"
_SHORT_BYTES: Final = 4 * MIB
_SHORT_NS: Final = SECOND // 10
"""A range of so little that comes in so short a time says how long it takes to ask, and not more:
in the end of a recovery ranges are short, and the way in which they come seemed to be slow."""
_HALF_BYTES: Final = 16 * MIB
"""When so much more came, what was measured before counts half: a short range says little."""
_BEST_KEPT: Final = 0.9
"""Of the best rate, with each range that is long enough to measure, or with each …"""
_BEST_FADES_NS: Final = SECOND // 4
"""… so long that one took: a link that was fast may be limited since, and ranges get short then."""
_CHECKPOINTS_MAX: Final = 256
"""Of so many is remembered, for each source, which way was better; then all is measured again."""


class BodyNote(NamedTuple):
    """How a range came.

    Attributes:
        is_coded: It was asked for coded.
        is_offered: The source says that it codes.
        plain_bytes: How long the range is.
        sent_bytes: How many bytes came.
        elapsed_ns: How long that took, since it was asked for or the body before it had come.
        is_refused: It did not come: the source does not know what it was asked for.
    """

    is_coded: bool
    is_offered: bool
    plain_bytes: int
    sent_bytes: int
    elapsed_ns: int
    is_refused: bool = False


REFUSED_NOTE: Final = BodyNote(
    is_coded=True, is_offered=False, plain_bytes=0, sent_bytes=0, elapsed_ns=0, is_refused=True
)
"""That a source does not know coded blocks, of which it was asked for some."""


@dataclass(slots=True)
class Way:
    """What was measured of one way in which blocks come.

    Attributes:
        bytes: How much came, since it is measured.
        counted_bytes: Of that, with less weight the longer ago it came: bytes of the version, …
        counted_sent_bytes: … as many as they were on their way, …
        counted_ns: … and the time that they took.
        best_rate: The best of late over all connections: while the other way is measured, or
            something else takes the link or the processors for a moment, the rate is less than it
            can be.
    """

    bytes: int = 0
    counted_bytes: float = 0.0
    counted_sent_bytes: float = 0.0
    counted_ns: float = 0.0
    best_rate: float = 0.0

    @property
    def rate(self) -> float:
        """Bytes of the version in a second, over one connection."""
        return self.counted_bytes * SECOND / max(self.counted_ns, 1.0)

    @property
    def share(self) -> float:
        """Bytes on the way for each of them."""
        return self.counted_sent_bytes / max(self.counted_bytes, 1.0)

    @property
    def is_known(self) -> bool:
        """Enough came to go by it."""
        return self.bytes >= MEASURED_BYTES_MIN

    def note(self, body: BodyNote, lanes: int) -> None:
        """Take in how a range came, over one of so many connections, unless it says nothing."""
        if body.plain_bytes < _SHORT_BYTES and body.elapsed_ns < _SHORT_NS:
            return
        kept = 0.5 ** (body.plain_bytes / _HALF_BYTES) if self.bytes else 0.0
        self.counted_bytes = kept * self.counted_bytes + body.plain_bytes
        self.counted_sent_bytes = kept * self.counted_sent_bytes + body.sent_bytes
        self.counted_ns = kept * self.counted_ns + body.elapsed_ns
        self.bytes += body.plain_bytes
        part = min(body.plain_bytes / MEASURED_BYTES_MIN, 1.0)
        self.best_rate *= _BEST_KEPT ** max(part, body.elapsed_ns / _BEST_FADES_NS)
        if self.best_rate:  # not below what all ranges of late say, short ones together
            self.best_rate = max(self.best_rate, lanes * self.rate)
        if part == 1.0:  # most of a short one waited in buffers
            rate = lanes * body.plain_bytes * SECOND / max(body.elapsed_ns, 1)
            self.best_rate = max(self.best_rate, rate)

    def measure_again(self) -> None:
        """Go by it no more until enough came once more."""
        self.bytes = 0


@dataclass(slots=True)
class CodedCheckpoint:
    """What is known of a checkpoint from a source, whatever the version.

    Attributes:
        coded: How blocks come coded.
        is_coded: They are asked for so.
        next_ns: When the other way is measured again; ``None``: not known yet.
        again_ns: How long after that once more.
        probe_left: How much may be asked for in the other way before it is known.
        is_patient: Only ranges are taken for that which are no longer: the other way was known
            before, and costs time if it is as bad as it was. Fast links have longer ones, until
            little is left; when none came for once more as long, one of any length is taken.
    """

    coded: Way = field(default_factory=Way)
    is_coded: bool = False
    next_ns: int | None = None
    again_ns: int = AGAIN_MIN_NS
    probe_left: int = PROBE_BYTES_MAX
    is_patient: bool = False

    def try_other(self, size_bytes: int) -> bool:
        """Return whether a range is to be asked for in the other way, to measure that."""
        if self.probe_left <= 0 or (self.is_patient and size_bytes > self.probe_left):
            return False
        self.probe_left -= size_bytes
        return True

    def measure_again(self, plain: Way, *, now: int) -> None:
        """Measure the other way once more."""
        other = plain if self.is_coded else self.coded
        self.next_ns = now + self.again_ns
        self.probe_left = PROBE_BYTES_MAX
        self.is_patient = other.is_known
        other.measure_again()


@dataclass(slots=True)
class CodingSource:
    """What is known of a source, whatever the checkpoint.

    Attributes:
        plain: How blocks come as they are.
        codes: It said that it codes, with the last range that came.
        refused_ns: When it refused to, though it had said so.
        is_warm: A coded range came already. The first one is not counted: both ends load what they
            code with.
        checkpoints: What is known of each checkpoint.
    """

    plain: Way = field(default_factory=Way)
    codes: bool = False
    refused_ns: int | None = None
    is_warm: bool = False
    checkpoints: dict[str, CodedCheckpoint] = field(default_factory=dict)

    def of(self, checkpoint: str) -> CodedCheckpoint:
        """Return what is known of a checkpoint."""
        if checkpoint not in self.checkpoints and len(self.checkpoints) >= _CHECKPOINTS_MAX:
            self.checkpoints.clear()
        return self.checkpoints.setdefault(checkpoint, CodedCheckpoint())


class CodingChoice:
    """Decides for one version from one source. One thread at a time.

    Args:
        source: What is known of the source.
        checkpoint: What the version is of.
        lanes_max: Over so many connections coded blocks may come, each of which takes a processor.

    Attributes:
        why: Why it is as it is, for people.
    """

    def __init__(self, source: CodingSource, checkpoint: str = "", *, lanes_max: int = 1) -> None:
        self._source = source
        self._bound_bytes_per_s = CODING_BYTES_PER_S * lanes_max
        self._lanes = 1
        self._plain = source.plain
        self._known = source.of(checkpoint)
        self.why = _NOT_SAID
        if source.codes:
            self.why = self._compared() if self._are_known else _NOT_MEASURED

    @property
    def may_be_coded(self) -> bool:
        """The source codes, and its plain blocks come no faster than anybody codes."""
        plain = self._plain
        return self._source.codes and plain.is_known and plain.best_rate < self._bound_bytes_per_s

    @property
    def _are_known(self) -> bool:
        return self._plain.is_known and self._known.coded.is_known

    def note(self, body: BodyNote, *, now: int) -> None:
        """Learn how a range came."""
        source = self._source
        if body.is_refused:
            source.refused_ns, source.codes = now, False
            self.why = "the source said that it codes, and refused to"
            return
        is_pausing = source.refused_ns is not None and now < source.refused_ns + AGAIN_MAX_NS
        source.codes = body.is_offered and not is_pausing
        if source.codes and self.why == _NOT_SAID:
            self.why = _NOT_MEASURED
        if body.is_coded and self.why == _NOT_MEASURED:
            self.why = _MEASURING
        if body.is_coded and not source.is_warm:
            source.is_warm = True
            self._known.probe_left = PROBE_BYTES_MAX
            return
        way = self._known.coded if body.is_coded else self._plain
        was_known = way.is_known
        way.note(body, self._lanes)
        if not body.is_offered:
            self.why = _NOT_SAID
        elif self._are_known and source.codes:
            self._decide(now=now, is_new=not was_known)

    @property
    def is_chosen(self) -> bool:
        """Coded blocks are faster, as far as is known."""
        return self._known.is_coded and self._source.codes

    def explained(self) -> str:
        """Return how blocks are asked for, and why, for people."""
        return f"{'coded' if self.is_chosen else 'not coded'}: {self.why}"

    def is_coded(self, size_bytes: int, *, now: int, lanes: int = 1) -> bool:
        """Return whether a range is to be asked for coded.

        Args:
            size_bytes: How long it is.
            now: The moment.
            lanes: Over so many connections blocks come from the source.
        """
        self._lanes = lanes
        known, plain = self._known, self._plain
        if not self._source.codes:
            return False
        if known.next_ns is not None and now >= known.next_ns:
            known.measure_again(plain, now=now)
        if self._are_known:
            return known.is_coded
        if not plain.is_known and not known.is_coded:
            return False  # the usual way, which is measured first
        if not known.is_coded and plain.best_rate >= self._bound_bytes_per_s:
            self.why = _too_fast(plain.best_rate)
            return False
        if not known.try_other(size_bytes):
            return known.is_coded
        if known.next_ns is None:  # if nothing comes of it
            known.next_ns = now + known.again_ns
        return not known.is_coded

    def _decide(self, *, now: int, is_new: bool) -> None:
        known, plain, coded = self._known, self._plain, self._known.coded
        before = known.is_coded
        if coded.share > SHARE_MAX:
            known.is_coded = False
        elif known.is_coded:
            known.is_coded = coded.rate * BETTER >= plain.rate
        else:
            known.is_coded = coded.rate >= plain.rate * BETTER
        self.why = self._compared()
        if known.is_coded is not before:
            known.again_ns = AGAIN_MIN_NS
        elif is_new:
            known.again_ns = min(2 * known.again_ns, AGAIN_MAX_NS)
        if is_new or known.next_ns is None:
            known.next_ns = now + known.again_ns

    def _compared(self) -> str:
        plain, coded = self._plain, self._known.coded
        if coded.share > SHARE_MAX:
            return "it does not get shorter"
        ratio = coded.rate / max(plain.rate, 1.0)
        return f"coded came {ratio:.1f} times as fast, {1 / coded.share:.1f} times shorter"


def _too_fast(bytes_per_s: float) -> str:
    return f"{bytes_per_s * 8 / 1e9:.0f} Gbit/s is faster than coding"
