"""What is known of the path to one peer: rate, latency, outstanding bytes.

A link belongs to a path, not to a recovery: what one recovery learns, the next one knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ckptd.core.options import Options
from ckptd.limits import MIB, MS, SECOND

_RATE_WINDOW_NS = 100 * MS
"""Bytes are counted over at least this long before they make a sample of the rate."""

_SOUND_BYTES = 1 * MIB
"""A rate that was measured over less says more about the way to the first byte."""

_RAISE_MAX = 4.0
"""A short window with less than that raises the estimate by this factor at most: what waited in a
buffer comes at once, and a link of 16 MiB/s looked like one of hundreds."""

_FALL_SHARE = 0.25
"""A lower sample moves the estimate a quarter of the way. One pause is not a slow source."""

_TROUBLE_NS = 300 * SECOND
"""For so long it is worth saying why nothing came, if nobody asked for anything since."""

_LATENCY_SHARE = 0.25
"""How far a new sample moves the estimate of the latency."""


@dataclass(slots=True)
class RateEstimate:
    """How fast a source delivers while it has work; rises fast, falls slowly.

    Attributes:
        bytes_per_s: The estimate; 0 before the first sample.
        best_bytes_per_s: The highest sample.
        latest_bytes_per_s: The last one.
        sampled_ns: When that was.
        sampled_bytes: How much came in all samples.
    """

    bytes_per_s: float = 0.0
    best_bytes_per_s: float = 0.0
    latest_bytes_per_s: float = 0.0
    sampled_ns: int = 0
    sampled_bytes: int = 0
    _window_start_ns: int | None = None
    _window_bytes: int = 0

    def begin(self, *, now: int) -> None:
        """Note that the source has work now; idle time before does not count."""
        if self._window_start_ns is None:
            self._window_start_ns = now
            self._window_bytes = 0

    def add(self, size_bytes: int, *, now: int) -> None:
        """Note bytes that arrived."""
        if self._window_start_ns is None:
            return
        self._window_bytes += size_bytes
        elapsed_ns = now - self._window_start_ns
        if elapsed_ns >= _RATE_WINDOW_NS:
            self._sample(self._window_bytes * SECOND / elapsed_ns, now=now)
            self._window_start_ns = now
            self._window_bytes = 0

    def pause(self, *, now: int) -> None:
        """Note that the source has no work any more.

        A window that is cut short counts while little has been: the rate of a source whose first
        range was a few bytes is raised by the next ones, however short these are. It is not
        lowered, for the way of the request is a part of each.
        """
        if self._window_start_ns is None:
            return
        elapsed_ns = now - self._window_start_ns
        if elapsed_ns > 0 and not self.is_sound:
            bytes_per_s = self._window_bytes * SECOND / elapsed_ns
            if self.bytes_per_s and self._window_bytes < _SOUND_BYTES:
                bytes_per_s = min(bytes_per_s, self.bytes_per_s * _RAISE_MAX)
            if bytes_per_s > self.bytes_per_s:
                self._sample(bytes_per_s, now=now)
        self._window_start_ns = None

    @property
    def is_sound(self) -> bool:
        """Whether it was measured over enough to say something; a first few bytes say little."""
        return self.sampled_bytes >= _SOUND_BYTES

    def believe_latest(self) -> None:
        """Take the last sample for the rate: that the source was slow is no pause any more."""
        self.bytes_per_s = self.latest_bytes_per_s

    def _sample(self, bytes_per_s: float, *, now: int) -> None:
        self.latest_bytes_per_s = bytes_per_s
        self.sampled_ns = now
        self.sampled_bytes += self._window_bytes
        self.best_bytes_per_s = max(self.best_bytes_per_s, bytes_per_s)
        if bytes_per_s >= self.bytes_per_s:
            self.bytes_per_s = bytes_per_s
        else:
            self.bytes_per_s += (bytes_per_s - self.bytes_per_s) * _FALL_SHARE


@dataclass(slots=True)
class Link:
    """The path to one peer.

    Attributes:
        rate: How fast it delivers.
        latency_ns: Usual time from a request to its first byte; ``None`` before the first.
        gap_ns: Usual time between two reports of progress.
        outstanding_bytes: Ordered from it and not received, over all recoveries.
        load_bytes: What it last said it still has to send to others, while it has work from here.
        failures: Disappointments in a row.
        refusals: How often in a row it had too much to do; no disappointment.
        usable_at_ns: Not asked for anything before this moment.
        trouble: Why nothing came when it was asked last, for a person; empty: something did.
        troubled_ns: When that was.
    """

    rate: RateEstimate = field(default_factory=RateEstimate)
    latency_ns: int | None = None
    gap_ns: int = 0
    outstanding_bytes: int = 0
    load_bytes: int = 0
    failures: int = 0
    refusals: int = 0
    usable_at_ns: int = 0
    trouble: str = ""
    troubled_ns: int = 0

    def note_trouble(self, trouble: str, *, now: int) -> None:
        """Note why nothing comes; empty: something does."""
        self.trouble, self.troubled_ns = trouble, now

    def trouble_at(self, now: int) -> str:
        """Return why nothing came lately; empty: something did, or it is long ago."""
        return self.trouble if now - self.troubled_ns < _TROUBLE_NS else ""

    def queue_time_ns(self, options: Options) -> int:
        """Return how long the source needs for what it was given already."""
        return self.own_time_ns(self.outstanding_bytes, options)

    def own_time_ns(self, size_bytes: int, options: Options) -> int:
        """Return how long the source needs for some bytes and nothing else."""
        rate = self.rate.bytes_per_s or self._assumed_rate(options)
        return int(size_bytes * SECOND / rate)

    def time_for_ns(self, size_bytes: int, options: Options) -> int:
        """Return when the source would be done with some more bytes, from now.

        What it still has to send to others comes first.
        """
        return self.own_time_ns(self.outstanding_bytes + self.load_bytes + size_bytes, options)

    def expected_ns(self, size_bytes: int, options: Options) -> int:
        """Return how long some more bytes are expected to take.

        A source that failed last may be silent again: then it costs the patience with it.
        """
        patience_ns = self.first_byte_timeout_ns(options) if self.failures else 0
        return self.time_for_ns(size_bytes, options) + patience_ns

    def heard_load(self, load_bytes: int) -> None:
        """Note what a source says it still has to send, our own part included.

        It is worth something while the source has work from here; see :meth:`rested`.
        """
        self.load_bytes = max(load_bytes - self.outstanding_bytes, 0)

    def rested(self, *, now: int) -> None:
        """Note that nothing is outstanding: what was heard of its load will soon be wrong."""
        self.load_bytes = 0
        self.rate.pause(now=now)

    def window_bytes(self, options: Options) -> int:
        """Return how much the source may be given at most, over all recoveries."""
        rate = self.rate.bytes_per_s or self._assumed_rate(options)
        return int(rate * options.ranges.window_ns / SECOND)

    def range_bytes(self, options: Options) -> int:
        """Return how much to ask for at once."""
        if not self.rate.bytes_per_s:
            return options.ranges.bytes_first
        wanted = int(self.rate.bytes_per_s * options.ranges.duration_ns / SECOND)
        return min(wanted, options.ranges.bytes_max)

    def silence_timeout_ns(self, options: Options) -> int:
        """Return how long a lane may deliver nothing in the middle of a body."""
        return max(options.silence.floor_ns, options.silence.gaps * self.gap_ns)

    def first_byte_timeout_ns(self, options: Options) -> int:
        """Return how long a lane may take until the first byte of a body."""
        usual = options.silence.first_byte_latencies * (self.latency_ns or 0)
        patience = max(options.silence.first_byte_floor_ns, usual) << min(self.failures, 10)
        return min(patience, options.silence.first_byte_ceiling_ns)

    def heard_first_byte(self, latency_ns: int) -> None:
        """Note how long a first byte took."""
        self.trouble = ""
        if self.latency_ns is None:
            self.latency_ns = latency_ns
        else:
            self.latency_ns += int((latency_ns - self.latency_ns) * _LATENCY_SHARE)

    def heard_again(self, gap_ns: int) -> None:
        """Note the time between two reports of one body."""
        self.gap_ns += int((gap_ns - self.gap_ns) * _LATENCY_SHARE)

    def succeeded(self) -> None:
        """Note a range that came whole."""
        self.failures = self.refusals = 0
        self.trouble = ""

    def failed(self, options: Options, rng: Random, *, now: int) -> None:
        """Note a disappointment: leave the source alone for a while.

        Args:
            options: The numbers.
            rng: Spreads the pauses of many receivers; drawn from once.
            now: The moment.
        """
        pause = min(
            options.silence.back_off_first_ns << min(self.failures, 10),
            options.silence.back_off_max_ns,
        )
        jittered = int(pause * (0.5 + rng.random() / 2))
        self.failures += 1
        self.usable_at_ns = max(self.usable_at_ns, now + jittered)

    def refused(self, options: Options, rng: Random, *, now: int, at_least_ns: int) -> None:
        """Note that the source has too much to do: come again later, and think no worse of it.

        The pause is doubled while it stays busy, for then there are many that wait. Of requests
        that were under way together only the first one counts.

        Args:
            options: The numbers.
            rng: Spreads the pauses of many receivers; drawn from once.
            now: The moment.
            at_least_ns: What the source itself asked for.
        """
        longest_ns = max(options.silence.back_off_max_ns, at_least_ns)
        asked_ns = max(options.silence.back_off_first_ns, at_least_ns)
        most_ns = min((asked_ns << min(self.refusals, 10)) * 3 // 2, longest_ns)
        jittered_ns = int(most_ns * (2 + rng.random()) / 3)
        if self.usable_at_ns <= now:
            self.refusals += 1
            self.usable_at_ns = now + jittered_ns
        self.usable_at_ns = max(self.usable_at_ns, now + at_least_ns)

    @staticmethod
    def _assumed_rate(options: Options) -> float:
        """Return the rate to assume before anything is known: the first range in its time."""
        return options.ranges.bytes_first * SECOND / options.ranges.duration_ns
