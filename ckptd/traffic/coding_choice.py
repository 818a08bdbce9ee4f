"""Whether blocks of a source are asked for coded: what was measured decides, not what one hopes.

Coding pays where the link is slower than both ends code, and only who measures knows that: it
depends on the link, on how busy the processors of both ends are, and on how much neighbouring
versions differ. So a source is asked for plain blocks first, then for coded ones; from then on in
the way that brought more bytes of the version in the same time. The other way is measured again
now and then.
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
CODING_BYTES_PER_S: Final = 300_000_000
"""A connection brings hardly more than this of coded blocks (docs/decisions/064): over one that is
faster it is not tried, for the trial itself costs a fifth of a second."""
_NOT_SAID: Final = "the source has not said that it codes"
_KEPT: Final = 0.7
"""Of what was measured before, with each range."""


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
        rate: Bytes of the version in a second, over one connection.
        share: Bytes on the way for each of them.
    """

    bytes: int = 0
    rate: float = 0.0
    share: float = 1.0

    @property
    def is_known(self) -> bool:
        """Enough came to go by it."""
        return self.bytes >= MEASURED_BYTES_MIN

    def note(self, body: BodyNote) -> None:
        """Take in how a range came."""
        rate = body.plain_bytes * SECOND / max(body.elapsed_ns, 1)
        share = body.sent_bytes / max(body.plain_bytes, 1)
        kept = _KEPT if self.bytes else 0.0
        self.rate = kept * self.rate + (1 - kept) * rate
        self.share = kept * self.share + (1 - kept) * share
        self.bytes += body.plain_bytes

    def measure_again(self) -> None:
        """Go by it no more until enough came once more."""
        self.bytes = 0


@dataclass(slots=True)
class CodingSource:
    """What is known of a source, whatever the version.

    Attributes:
        plain: How blocks come as they are.
        codes: It said that it codes, with the last range that came.
        refused_ns: When it refused to, though it had said so.
        is_warm: A coded range came already. The first one is not counted: both ends load what they
            code with.
    """

    plain: Way = field(default_factory=Way)
    codes: bool = False
    refused_ns: int | None = None
    is_warm: bool = False


class CodingChoice:
    """Decides for one version from one source. One thread at a time.

    Args:
        source: What is known of the source.

    Attributes:
        why: Why it is as it is, for people.
    """

    def __init__(self, source: CodingSource) -> None:
        self._source = source
        self._plain = source.plain
        self._coded = Way()
        self._is_coded = False
        self._again_ns = AGAIN_MIN_NS
        self._probe_left = PROBE_BYTES_MAX
        self._next_ns: int | None = None
        self.why = _NOT_SAID

    @property
    def may_be_coded(self) -> bool:
        """The source codes, and its plain blocks come no faster than anybody codes."""
        plain = self._plain
        return self._source.codes and plain.is_known and plain.rate < CODING_BYTES_PER_S

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
            self.why = "not measured yet"
        if body.is_coded and not self._source.is_warm:
            self._source.is_warm = True
            self._probe_left = PROBE_BYTES_MAX
            return
        way = self._coded if body.is_coded else self._plain
        was_known = way.is_known
        way.note(body)
        if not body.is_offered:
            self.why = _NOT_SAID
        elif self._plain.is_known and self._coded.is_known and source.codes:
            self._decide(now=now, is_new=not was_known)

    @property
    def is_chosen(self) -> bool:
        """Coded blocks are faster, as far as is known."""
        return self._is_coded and self._source.codes

    def explained(self) -> str:
        """Return how blocks are asked for, and why, for people."""
        return f"{'coded' if self.is_chosen else 'not coded'}: {self.why}"

    def is_coded(self, size_bytes: int, *, now: int) -> bool:
        """Return whether a range of so many bytes is to be asked for coded."""
        if not self._source.codes:
            return False
        if self._next_ns is not None and now >= self._next_ns:
            self._next_ns = now + self._again_ns
            (self._plain if self._is_coded else self._coded).measure_again()
            self._probe_left = PROBE_BYTES_MAX
        if self._plain.is_known and self._coded.is_known:
            return self._is_coded
        if not self._plain.is_known and not self._is_coded:
            return False  # the usual way, which is measured first
        if not self._is_coded and self._plain.rate >= CODING_BYTES_PER_S:
            self.why = _too_fast(self._plain.rate)
            return False
        if self._probe_left <= 0:
            return self._is_coded
        if self._next_ns is None:  # if nothing comes of it
            self._next_ns = now + self._again_ns
        self._probe_left -= size_bytes
        return not self._is_coded

    def _decide(self, *, now: int, is_new: bool) -> None:
        plain, coded = self._plain, self._coded
        before = self._is_coded
        if coded.share > SHARE_MAX:
            self._is_coded = False
            self.why = "it does not get shorter"
        elif self._is_coded:
            self._is_coded = coded.rate * BETTER >= plain.rate
        else:
            self._is_coded = coded.rate >= plain.rate * BETTER
        if coded.share <= SHARE_MAX:
            ratio = coded.rate / max(plain.rate, 1.0)
            self.why = f"coded came {ratio:.1f} times as fast, {1 / coded.share:.1f} times shorter"
        if self._is_coded is not before:
            self._again_ns = AGAIN_MIN_NS
        elif is_new:
            self._again_ns = min(2 * self._again_ns, AGAIN_MAX_NS)
        if is_new or self._next_ns is None:
            self._next_ns = now + self._again_ns


def _too_fast(bytes_per_s: float) -> str:
    return f"{bytes_per_s * 8 / 1e9:.0f} Gbit/s is faster than coding"
