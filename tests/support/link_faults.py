"""What can be wrong with a link: silence, resets, wrong bits, too little rate, too much latency."""

from __future__ import annotations

import enum
import threading
import time
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Self

from ckptd.limits import MIB

BURST_S = 0.02
"""What a way may make up for when the thread was late."""

QUANTUM_S = 0.004
"""Bytes of so much time pass together, or every byte would be a turn of the loop."""


class Mishap(enum.Enum):
    """What happens at one byte."""

    SILENCE = "silence"
    """Nothing passes any more, in neither direction; no connection is closed."""
    RESET = "reset"
    TRUNCATION = "truncation"
    """The connection is closed in good order, too early."""
    FLIP = "flip"
    """One bit of the byte is wrong."""


@dataclass(frozen=True, order=True)
class Planned:
    """A mishap when so many bytes of ranges have passed; a silence may end by itself."""

    at_bytes: int
    mishap: Mishap = field(compare=False)
    lasting_s: float | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Faults:
    """What is wrong with a link; by default nothing.

    Attributes:
        rate_bytes_per_s: Of the replies; ``None`` for no limit.
        latency_s: Of the replies.
        jitter_s: More latency at times, up to this.
        slice_bytes: Replies leave in pieces of this size at most.
        flips_per_mib: How many bits of a MiB are flipped, on average.
        flap_s: The link is there, and silent, for so long in turns.
        mishaps: What happens once.
    """

    rate_bytes_per_s: float | None = None
    latency_s: float = 0.0
    jitter_s: float = 0.0
    slice_bytes: int | None = None
    flips_per_mib: float = 0.0
    flap_s: tuple[float, float] | None = None
    mishaps: tuple[Planned, ...] = ()

    @classmethod
    def draw(cls, seed: int, size_bytes: int) -> Self:
        """Draw a bad link that still brings bytes in the end.

        Args:
            seed: The same one gives the same link.
            size_bytes: Mishaps happen within so many bytes.
        """
        rng = Random(seed)
        mishaps = [
            Planned(
                rng.randrange(size_bytes),
                rng.choice(list(Mishap)),
                lasting_s=rng.uniform(0.1, 1.5),
            )
            for _ in range(rng.randrange(4))
        ]
        return cls(
            rate_bytes_per_s=rng.choice((None, rng.uniform(4, 64) * MIB)),
            latency_s=rng.choice((0.0, rng.uniform(0, 0.3))),
            jitter_s=rng.choice((0.0, rng.uniform(0, 0.1))),
            slice_bytes=rng.choice((None, None, rng.randrange(50, 2000))),
            mishaps=tuple(mishaps),
        )


class Plan:
    """The mishaps to come, in bytes of ranges, all connections together; for two threads.

    Args:
        rng: Says where flips are.

    Attributes:
        flips_per_mib: How many bits are flipped, on average, beside those that were planned.
        body_bytes: How many bytes of ranges were let pass.
        mishap_count: How many mishaps happened.
    """

    def __init__(self, rng: Random) -> None:
        self.flips_per_mib = 0.0
        self.body_bytes = 0
        self.mishap_count = 0
        self._rng = rng
        self._lock = threading.Lock()
        self._coming: list[Planned] = []

    def add(self, planned: Planned) -> None:
        """Let something happen when so many more bytes have passed."""
        with self._lock:
            at_bytes = self.body_bytes + planned.at_bytes
            insort(self._coming, replace(planned, at_bytes=at_bytes))

    def clear(self) -> None:
        """Let nothing happen."""
        with self._lock:
            self._coming.clear()

    def let_pass(self, data: memoryview) -> int:
        """Count bytes as passed, up to the next mishap; a flip is done here.

        Returns:
            How many of the bytes pass. With 0, ``take`` the mishap that comes first.
        """
        with self._lock:
            self._plan_flip()
            coming = self._coming[0] if self._coming else None
            if coming is None or coming.at_bytes >= self.body_bytes + len(data):
                size_bytes = len(data)
            elif coming.at_bytes > self.body_bytes:
                size_bytes = coming.at_bytes - self.body_bytes
            elif coming.mishap is Mishap.FLIP:
                data[0] ^= 1 << self._rng.randrange(8)
                self._forget(coming)
                size_bytes = 1
            else:
                size_bytes = 0
            self.body_bytes += size_bytes
            return size_bytes

    def take(self) -> Planned:
        """Take the next mishap out: it happens now."""
        with self._lock:
            coming = self._coming[0]
            self._forget(coming)
            return coming

    def _plan_flip(self) -> None:
        if self.flips_per_mib and all(each.mishap is not Mishap.FLIP for each in self._coming):
            distance_bytes = int(self._rng.expovariate(self.flips_per_mib) * MIB)
            insort(self._coming, Planned(self.body_bytes + distance_bytes, Mishap.FLIP))

    def _forget(self, planned: Planned) -> None:
        self._coming.remove(planned)
        self.mishap_count += 1


class Bucket:
    """Tokens for bytes; pure: the time is given."""

    def __init__(self, rate_bytes_per_s: float, *, now: float) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        self._quantum_bytes = max(rate_bytes_per_s * QUANTUM_S, 1.0)
        self._full_bytes = max(rate_bytes_per_s * BURST_S, self._quantum_bytes)
        self._left_bytes = 0.0
        self._at_s = now

    def room(self, *, now: float) -> int:
        """Return how many bytes may pass now: none, or enough to be worth a turn."""
        self._left_bytes += (now - self._at_s) * self.rate_bytes_per_s
        self._left_bytes = min(self._left_bytes, self._full_bytes)
        self._at_s = now
        return int(self._left_bytes) if self._left_bytes >= self._quantum_bytes else 0

    def take(self, size_bytes: int) -> None:
        """Let bytes pass."""
        self._left_bytes -= size_bytes

    def room_at(self) -> float | None:
        """Return when there will be room; ``None`` if there is."""
        lacking = self._quantum_bytes - self._left_bytes
        return self._at_s + lacking / self.rate_bytes_per_s if lacking > 0 else None


class Way:
    """One direction. Attributes may be set at any moment and hold for the next bytes.

    Attributes:
        latency_s: How long bytes are under way.
        jitter_s: Up to so much longer, at random; their order stays.
        slice_bytes: They leave in pieces of this size at most; ``None``: as they came.
        connection_rate_bytes_per_s: How fast bytes pass on each connection that comes from now on;
            ``None`` for no limit.
        passed_bytes: How many left.
    """

    def __init__(self, wake: Callable[[], None]) -> None:
        self.latency_s = 0.0
        self.jitter_s = 0.0
        self.slice_bytes: int | None = None
        self.connection_rate_bytes_per_s: float | None = None
        self.passed_bytes = 0
        self._wake = wake
        self.bucket: Bucket | None = None
        self._is_silent = False

    @property
    def rate_bytes_per_s(self) -> float | None:
        """How fast bytes pass, all connections together; ``None`` for no limit."""
        bucket = self.bucket
        return bucket.rate_bytes_per_s if bucket else None

    @rate_bytes_per_s.setter
    def rate_bytes_per_s(self, rate: float | None) -> None:
        self.bucket = Bucket(rate, now=time.monotonic()) if rate else None
        self._wake()

    @property
    def is_silent(self) -> bool:
        """No byte passes, nor the news that a connection was closed."""
        return self._is_silent

    def silence(self) -> None:
        """Let nothing pass from now on; what has come waits."""
        self._is_silent = True

    def resume(self) -> None:
        """Let everything pass again."""
        self._is_silent = False
        self._wake()
