"""What the driver and the sources of a simulated run share: time, chance, and records."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from ckptd.core.effects import EndRecovery
from ckptd.core.events import Event
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, NodeId, RecoveryId
from ckptd.model.words import Result
from tests.support.scheduling import Saved


class Agenda:
    """What will happen when, in virtual time.

    Attributes:
        now: The moment, in nanoseconds.
        life: Which life of the daemon this is; what belongs to an earlier one does not happen.
    """

    def __init__(self) -> None:
        self.now = 0
        self.life = 0
        self._entries: list[tuple[int, int, Callable[[], None]]] = []
        self._next_entry = 0

    @property
    def next_ns(self) -> int | None:
        """When the next thing happens; ``None``: nothing is planned."""
        return self._entries[0][0] if self._entries else None

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Let something happen, whatever becomes of the daemon."""
        heapq.heappush(self._entries, (self.now + delay_ns, self._next_entry, action))
        self._next_entry += 1

    def in_this_life(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Let something happen, unless the daemon was started anew by then."""
        life = self.life
        self.later(delay_ns, lambda: action() if life == self.life else None)

    def step(self) -> None:
        """Let the next thing happen."""
        self.now, _, action = heapq.heappop(self._entries)
        action()


class Chance:
    """What goes wrong and what does not, all drawn from one seed.

    Attributes:
        rng: Draws everything.
        share: Share of the things that go wrong.
    """

    def __init__(self, seed: int, share: float) -> None:
        self.rng = Random(seed)
        self.share = share

    def strikes(self) -> bool:
        return self.rng.random() < self.share

    def event(self, usual: Event, *mishaps: Event) -> Event:
        """Draw how an order ends."""
        return self.rng.choice(mishaps) if self.strikes() else usual


@dataclass(slots=True)
class Wish:
    """A version that somebody wants on the node, and what the disk has of it."""

    version: Saved
    attempt: int = 1
    is_chosen: bool = False
    has_manifest: bool = False
    written: BlockSet = field(default_factory=BlockSet)
    committed: BlockSet = field(default_factory=BlockSet)
    ends: list[EndRecovery] = field(default_factory=list)

    @property
    def recovery(self) -> RecoveryId:
        return RecoveryId(f"{self.version.checkpoint}.{self.attempt}")

    @property
    def is_fulfilled(self) -> bool:
        return bool(self.ends) and self.ends[-1].result is Result.COMPLETE


@dataclass(slots=True)
class Source:
    """A node that serves the ranges of a connection one after the other.

    Its connections share its rate; ``lane_rate_bytes_per_s`` is what one of them gets at most.
    ``said`` is what the scheduler was told last, ``bad`` what was sent wrongly in this epoch.
    """

    node: NodeId
    rate_bytes_per_s: int
    latency_ns: int
    is_honest: bool
    held: dict[Digest, BlockSet]
    epoch: int = 1
    lane_rate_bytes_per_s: int | None = None
    said: dict[Digest, BlockSet] = field(default_factory=dict)
    bad: dict[RecoveryId, BlockSet] = field(default_factory=dict)
