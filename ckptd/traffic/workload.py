"""Which bodies a source takes on: no more than it can send in about a second.

A source that accepts everything serves everybody slowly: each of a thousand receivers gets a
thousandth of its rate, and no receiver soon has a block to pass on. A source that accepts what it
can send makes a few receivers fast; the others retry, or fetch from those.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ckptd.limits import MS, RANGE_BYTES_MAX, SECOND

RETRY_AFTER_S: Final = 1
"""How long a receiver that is turned away is to wait; about what is taken on at a time."""

BODIES_MIN: Final = 32
"""So many bodies are always taken on: as many as ``net.source.sending`` has threads. With fewer, a
few receivers that take nothing would shut everybody out; and one receiver is never refused the two
ranges that it has in flight."""

LOAD_NS: Final = SECOND
"""More only as long as all of them are what was sent lately in this time. A range is 250 ms of
what its receiver gets, so that four times the receivers are let in that are served now, and a
source that can do more soon does."""

_SENT_WINDOW_NS: Final = 250 * MS
"""What was sent is counted over at least this long."""

_KEPT_SHARE: Final = 0.9
"""A slower window takes a tenth off: who was slow for a moment does not shut others out."""


@dataclass(slots=True)
class Workload:
    """What a source has taken on, and how fast it gets done with it.

    Attributes:
        body_count: Bodies that are being sent.
        load_bytes: Their length; one that is longer than any receiver of ours asks for counts as
            the longest of those, or one copy of a version would shut everybody out.
        sent_bytes_per_s: What it sent lately, over all receivers.
    """

    body_count: int = 0
    load_bytes: int = 0
    sent_bytes_per_s: float = 0.0
    _since_ns: int = 0
    _sent_bytes: int = 0

    def admits(self, size_bytes: int) -> bool:
        """Tell whether another body of so many bytes can be taken on."""
        if self.body_count < BODIES_MIN:
            return True
        return self.load_bytes + _counted(size_bytes) <= self.sent_bytes_per_s * LOAD_NS / SECOND

    def begin(self, size_bytes: int, *, now: int) -> None:
        """Take on a body."""
        if not self.body_count:  # idle time does not count
            self._since_ns, self._sent_bytes = now, 0
        self.body_count += 1
        self.load_bytes += _counted(size_bytes)

    def end(self, size_bytes: int, sent_bytes: int, *, now: int) -> None:
        """Note that a body is sent or was given up, and how much of it was sent."""
        self.body_count -= 1
        self.load_bytes -= _counted(size_bytes)
        self._sent_bytes += sent_bytes
        elapsed_ns = now - self._since_ns
        if elapsed_ns >= _SENT_WINDOW_NS:
            sample = self._sent_bytes * SECOND / elapsed_ns
            self.sent_bytes_per_s = max(sample, self.sent_bytes_per_s * _KEPT_SHARE)
            self._since_ns, self._sent_bytes = now, 0


def _counted(size_bytes: int) -> int:
    return min(size_bytes, RANGE_BYTES_MAX)
