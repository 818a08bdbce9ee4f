"""Processors: what moving bytes takes of them, coded or not.

Whatever moves on a node has an equal share of its cores, and at most one: a lane is a thread, at
either end. What it does not use nobody else gets, which is right where all move alike.

All blocks of a version are laid out where those of another are of which they are differences, and
every block differs from its base as much as any other.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.model.ids import Digest
from ckptd.traffic.coding_time import CodingTime

NO_BASE_SHARE: Final = 0.67
"""Of their length that blocks of weights in bf16 have as planes, without a base."""


@dataclass(frozen=True, slots=True)
class Processors:
    """The processors of a node, in bytes of blocks a second and core where nothing else is said.

    Coding and decoding are about as fast as the slowest that decision 064 measured.

    Attributes:
        cores: How many of them moving bytes may have; others have the rest. Infinity: nothing
            here bounds anything.
        coding_bytes_per_s: How fast blocks are coded …
        decoding_bytes_per_s: … and decoded.
        sending_bytes_per_s: How fast bytes are sent that are made already.
        taking_bytes_per_s: How fast blocks are taken off a lane, hashed and written.
        coding_cores: How much of a core coding may take at the source; 0: it does not code.
        asks: Blocks are asked for coded.
    """

    cores: float = math.inf
    coding_bytes_per_s: float = 0.8e9
    decoding_bytes_per_s: float = 1.0e9
    sending_bytes_per_s: float = 4e9
    taking_bytes_per_s: float = 1.2e9
    coding_cores: float = 0.5
    asks: bool = True

    def core_share(self, moving_count: int) -> float:
        """Return how much of a core one has of so many that move."""
        return min(1.0, self.cores / max(moving_count, 1))

    def sends(self, body: Body) -> float:
        """Return how many bytes of a body a core sends in a second, as they are on their way."""
        coding_s = body.coded_plain_bytes / self.coding_bytes_per_s
        return body.size_bytes / (coding_s + body.size_bytes / self.sending_bytes_per_s)

    def takes(self, body: Body) -> float:
        """Return how many bytes of a body a core takes in a second, as they are on their way."""
        decoding_s = body.coded_plain_bytes / self.decoding_bytes_per_s
        return body.size_bytes / (decoding_s + body.plain_bytes / self.taking_bytes_per_s)


UNBOUNDED: Final = Processors(coding_cores=0, asks=False)
"""Nothing bounds, and nothing is coded."""


@dataclass(frozen=True, slots=True)
class Body:
    """What a range is on its way.

    Attributes:
        plain_bytes: How long its blocks are.
        coded_plain_bytes: How long those are that are coded.
        ends: How many bytes have come with each of its blocks; empty: all are as they are.
        starts: Where each of its blocks begins, counted without coding, and the last one ends.
        bases: Of coded blocks that need one, by their place in the range: of which version.
        wrong: Places of those whose base was not what it was where they were coded.
    """

    plain_bytes: int
    coded_plain_bytes: int = 0
    ends: Sequence[int] = ()
    starts: Sequence[int] = ()
    bases: Mapping[int, Digest] = field(default_factory=dict)
    wrong: Collection[int] = ()

    @property
    def size_bytes(self) -> int:
        """How many bytes it is."""
        return self.ends[-1] if self.ends else self.plain_bytes

    def received_bytes(self, came_bytes: int) -> int:
        """Return how much counts as received: of whole blocks all, of one that is not what came."""
        if not self.ends:
            return came_bytes
        whole = bisect_right(self.ends, came_bytes)
        before_bytes = self.ends[whole - 1] if whole else 0
        return self.starts[whole] + came_bytes - before_bytes

    def end_of(self, place: int) -> int:
        """Return how much is received once a block has come that cannot be decoded."""
        before_bytes = self.ends[place - 1] if place else 0
        return self.starts[place] + self.ends[place] - before_bytes


def coded_body(
    lengths: Sequence[int],
    bases: Sequence[Digest | None],
    shares: Mapping[Digest, float],
    processors: Processors,
    time: CodingTime,
    *,
    now: int,
) -> Body:
    """Return what blocks are on their way, while the source may spend time on coding them.

    Args:
        lengths: How long they are.
        bases: Of each the version that it is a difference from; ``None``: there is none.
        shares: Of their length that differences from a version have.
        processors: Those of the source.
        time: What it may spend.
        now: The moment.
    """
    ends, starts, coded_plain_bytes, came_bytes = list[int](), [0], 0, 0
    used: dict[int, Digest] = {}
    may_code = time.may_code(now=now)
    for place, (length, base) in enumerate(zip(lengths, bases, strict=True)):
        size_bytes = length
        if may_code:
            share = NO_BASE_SHARE if base is None else shares[base]
            size_bytes = min(max(int(length * share), 1), length)
            time.spend(int(length * 1e9 / processors.coding_bytes_per_s))
            may_code = time.may_code(now=now)
            coded_plain_bytes += length
            if base is not None and size_bytes < length:
                used[place] = base
        came_bytes += size_bytes
        ends.append(came_bytes)
        starts.append(starts[-1] + length)
    return Body(starts[-1], coded_plain_bytes, ends, starts, used)
