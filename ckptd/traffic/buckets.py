"""Who may move how many bytes now: token buckets for everything, for each class, for each peer.

Whoever has bytes to move *asks*, and is *granted* some of them by :meth:`Shaper.grant`, at once
or later. What must hold:

* Nothing exceeds a limit: of whatever a limit is on, no more than ``rate * t + burst`` is granted
  in any time ``t``.
* Nothing is saved up beyond a burst of :data:`BURST_NS`, so that no second sees more than 2.5 %
  above the limit.
* Nothing is reserved. What one class or peer does not use is there for the others in the same
  moment, and what it asks for later goes before theirs: the most urgent class first; within a
  class peers in turn, each as much as the other, however many connections it has.
* A ticket that waits longer than :data:`TRICKLE_NS` is granted a trickle ahead of its turn, on
  credit, so that the other end does not take silence for a dead peer. The credit is at most one
  burst.

Time is an argument, in nanoseconds; levels of buckets are integers (bytes times nanoseconds), so
that nothing is lost by rounding.

Source: peers in turn by start tags, after Goyal, Vin and Cheng, *Start-time Fair Queueing*
(SIGCOMM 1996).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeVar

from ckptd.limits import KIB, MIB, MS, SECOND
from ckptd.model.words import Urgency

BURST_NS: Final = 25 * MS
"""A thread that wakes up late finds what came meanwhile; more would show in a second's sum."""

GRANT_NS: Final = 10 * MS
GRANT_BYTES_MIN: Final = KIB // 2
GRANT_BYTES_MAX: Final = 4 * MIB
"""What is granted at once: short enough to be smooth, and to change one's mind. Who was granted a
piece is expected back as soon: until then less urgent classes wait, for a burst is not lost. The
most is what a fast lane takes at once: 2 GiB from two sources, behind a limit that binds nothing,
took 1.58 s and 0.86 CPU-s per GB, as without one; with 1 MiB 2.05 and 1.23."""

TRICKLE_NS: Final = 200 * MS
"""A lane is called silent after 500 ms."""

_TAGS_MAX: Final = 1024
"""Peers whose turn is remembered; those whose turn is over are forgotten first."""


_K = TypeVar("_K")


class Flow(NamedTuple):
    """What bytes belong to."""

    urgency: Urgency
    peer: str


class Ceilings(NamedTuple):
    """The limits of one direction in bytes per second; what is not named is not limited."""

    total: int | None = None
    classes: Mapping[Urgency, int] = {}
    peers: Mapping[str, int] = {}


@dataclass(slots=True, eq=False)
class Ticket:
    """Somebody waits to move bytes.

    Attributes:
        flow: What they belong to.
        size_bytes: How many there are.
        granted_bytes: How many may move now; 0 as long as it waits.
        asked_ns: Since when.
    """

    flow: Flow
    size_bytes: int
    asked_ns: int
    start_tag: int
    sequence: int
    granted_bytes: int = 0


class Bucket:
    """Lets a rate pass, and a burst after a pause.

    Args:
        rate_bytes_per_s: The limit, above 0.
        now: The moment. It begins full.

    Attributes:
        rate_bytes_per_s: The limit.
        burst_bytes: What it holds.
        grant_bytes: What is taken at once.
        granted_ns: When each class was granted something of it last.
    """

    def __init__(self, rate_bytes_per_s: int, *, now: int) -> None:
        self._filled_ns = now
        self._level = 0
        self.rate_bytes_per_s = 0
        self.burst_bytes = 0
        self.grant_bytes = 0
        self.granted_ns: dict[Urgency, int] = {}
        self._set_rate(rate_bytes_per_s)
        self._level = self.burst_bytes * SECOND

    def change(self, rate_bytes_per_s: int, *, now: int) -> None:
        """Change the limit; it counts from now on."""
        self.fill(now=now)
        self._set_rate(rate_bytes_per_s)
        self._level = min(self._level, self.burst_bytes * SECOND)

    def _set_rate(self, rate_bytes_per_s: int) -> None:
        self.rate_bytes_per_s = rate_bytes_per_s
        grant_bytes = rate_bytes_per_s * GRANT_NS // SECOND
        self.grant_bytes = min(max(grant_bytes, GRANT_BYTES_MIN), GRANT_BYTES_MAX)
        self.burst_bytes = max(rate_bytes_per_s * BURST_NS // SECOND, self.grant_bytes)

    def fill(self, *, now: int) -> None:
        """Add what time brought."""
        self._level += self.rate_bytes_per_s * (now - self._filled_ns)
        self._level = min(self._level, self.burst_bytes * SECOND)
        self._filled_ns = now

    def has(self, size_bytes: int) -> bool:
        """Tell whether so much may pass at the moment of the last :meth:`fill`."""
        return self._level >= size_bytes * SECOND

    @property
    def has_credit(self) -> bool:
        """Tell whether a trickle may pass although it is empty."""
        return self._level > -self.burst_bytes * SECOND

    def take(self, size_bytes: int) -> None:
        """Let bytes pass; a negative number gives back what did not."""
        self._level = min(self._level - size_bytes * SECOND, self.burst_bytes * SECOND)

    def wait_ns(self, size_bytes: int) -> int:
        """Return how long it takes until so much may pass, from the last :meth:`fill`."""
        missing = size_bytes * SECOND - self._level
        return max(-(-missing // self.rate_bytes_per_s), 0)


class Shaper:
    """One direction.

    Args:
        trickle_bytes: What a ticket that waits for long is granted ahead of its turn; 0: nothing.

    """

    def __init__(self, *, trickle_bytes: int = 0) -> None:
        self._waiting: dict[Ticket, None] = {}
        self._trickle_bytes = trickle_bytes
        self._total: Bucket | None = None
        self._classes: dict[Urgency, Bucket] = {}
        self._peers: dict[str, Bucket] = {}
        self._allowances: dict[str, tuple[Urgency, Bucket]] = {}
        self._tags: dict[Flow, int] = {}
        self._turns = dict.fromkeys(Urgency, 0)
        self._sequence = 0

    def change(self, ceilings: Ceilings, *, now: int) -> None:
        """Set the limits again; they count from now on, for those who wait as well."""
        total = {} if self._total is None else {"": self._total}
        wanted = {} if ceilings.total is None else {"": ceilings.total}
        self._total = _changed(total, wanted, now=now).get("")
        self._classes = _changed(self._classes, ceilings.classes, now=now)
        self._peers = _changed(self._peers, ceilings.peers, now=now)

    def allow(self, name: str, since: Urgency, rate_bytes_per_s: int | None, *, now: int) -> None:
        """Set what classes may use that have to give way.

        Args:
            name: To whom; what is allowed by each name counts.
            since: The most urgent class that gives way.
            rate_bytes_per_s: All of them together; ``None``: as much as they like.
            now: The moment.
        """
        known = self._allowances.pop(name, None)
        if rate_bytes_per_s is not None:
            bucket = known[1] if known else Bucket(rate_bytes_per_s, now=now)
            bucket.change(rate_bytes_per_s, now=now)
            self._allowances[name] = (since, bucket)

    def limit_of(self, flow: Flow) -> int | None:
        """Return the lowest limit on a flow, in bytes per second; allowances are none."""
        return min((bucket.rate_bytes_per_s for bucket in self._limits(flow)), default=None)

    @property
    def is_limiting(self) -> bool:
        """Whether there is a limit on anything."""
        return bool(self._total or self._classes or self._peers or self._allowances)

    def grant_bytes(self, flow: Flow) -> int:
        """Return how much of a flow is granted at once at most."""
        return min((bucket.grant_bytes for bucket in self._buckets(flow)), default=GRANT_BYTES_MAX)

    def ask(self, flow: Flow, size_bytes: int, *, now: int) -> Ticket:
        """Queue for a permit to move at least a byte; :meth:`grant` gives it."""
        assert size_bytes > 0
        start_tag = max(self._turns[flow.urgency], self._tags.get(flow, 0))
        self._sequence += 1
        ticket = Ticket(flow, size_bytes, now, start_tag, self._sequence)
        self._waiting[ticket] = None
        return ticket

    def __contains__(self, ticket: Ticket) -> bool:
        """Tell whether a ticket still waits."""
        return ticket in self._waiting

    def withdraw(self, ticket: Ticket) -> None:
        """Take back a ticket that waits."""
        del self._waiting[ticket]

    def give_back(self, flow: Flow, size_bytes: int) -> None:
        """Return what was granted and did not move."""
        for bucket in self._buckets(flow):
            bucket.take(-size_bytes)

    def grant(self, *, now: int) -> tuple[list[Ticket], int]:
        """Grant what may move.

        Args:
            now: The moment.

        Returns:
            The tickets that do not wait any more, and after how many ns to call this again for
            those that do, unless somebody asks or a limit changes before.

        Cost: O(n log n) for n tickets that wait.
        """
        for bucket in self._all_buckets():
            bucket.fill(now=now)
        granted: list[Ticket] = []
        next_ns = TRICKLE_NS
        spent: set[Bucket] = set()
        for ticket in sorted(self._waiting, key=_turn):
            wait_ns = self._try(ticket, spent, now=now)
            if ticket.granted_bytes:
                granted.append(ticket)
            next_ns = min(next_ns, wait_ns)
        for ticket in granted:
            del self._waiting[ticket]
        self._forget()
        return granted, next_ns

    @property
    def waiting(self) -> Collection[Ticket]:
        """Tickets that wait."""
        return self._waiting.keys()

    def _try(self, ticket: Ticket, spent: set[Bucket], *, now: int) -> int:
        """Grant a ticket something, or return how long it waits at least.

        A bucket that somebody waits for is spent: nobody whose turn is later empties it.
        """
        flow = ticket.flow
        buckets = list(self._buckets(flow))
        size_bytes = min(ticket.size_bytes, self.grant_bytes(flow))
        short = [bucket for bucket in buckets if not bucket.has(size_bytes)]
        wait_ns = max((bucket.wait_ns(size_bytes) for bucket in short), default=TRICKLE_NS)
        if not short and spent.isdisjoint(buckets):
            wait_ns = self._expecting_ns(flow.urgency, buckets, now=now)
        spent.update(short)
        if wait_ns > 0 and self._trickle_bytes:
            due_ns = ticket.asked_ns + TRICKLE_NS - now
            if due_ns > 0:
                wait_ns = min(wait_ns, due_ns)
            elif all(bucket.has_credit for bucket in buckets):
                size_bytes = min(ticket.size_bytes, self._trickle_bytes)
                wait_ns = 0
            else:
                wait_ns = GRANT_NS
        if wait_ns > 0:
            return wait_ns
        for bucket in buckets:
            bucket.take(size_bytes)
            bucket.granted_ns[flow.urgency] = now
        ticket.granted_bytes = size_bytes
        self._turns[flow.urgency] = max(self._turns[flow.urgency], ticket.start_tag)
        self._tags[flow] = max(ticket.start_tag, self._tags.get(flow, 0)) + size_bytes
        return TRICKLE_NS

    def _expecting_ns(self, urgency: Urgency, buckets: Sequence[Bucket], *, now: int) -> int:
        """Return how long to wait for a more urgent class that had just something of the same."""
        waiting = {ticket.flow.urgency for ticket in self._waiting if not ticket.granted_bytes}
        expected = [known for known in Urgency if known < urgency and known not in waiting]
        granted_ns = [
            bucket.granted_ns[known]
            for bucket in buckets
            for known in expected
            if known in bucket.granted_ns
        ]
        return max(granted_ns, default=now - GRANT_NS) + GRANT_NS - now

    def _limits(self, flow: Flow) -> Iterator[Bucket]:
        if self._total is not None:
            yield self._total
        if flow.urgency in self._classes:
            yield self._classes[flow.urgency]
        if flow.peer in self._peers:
            yield self._peers[flow.peer]

    def _buckets(self, flow: Flow) -> Iterator[Bucket]:
        yield from self._limits(flow)
        for since, bucket in self._allowances.values():
            if flow.urgency >= since:
                yield bucket

    def _all_buckets(self) -> Iterator[Bucket]:
        if self._total is not None:
            yield self._total
        yield from self._classes.values()
        yield from self._peers.values()
        for _, bucket in self._allowances.values():
            yield bucket

    def _forget(self) -> None:
        """Forget whose turn is over: they would begin with the present turn anyway."""
        if len(self._tags) > _TAGS_MAX:
            self._tags = {
                flow: tag for flow, tag in self._tags.items() if tag > self._turns[flow.urgency]
            }


def _turn(ticket: Ticket) -> tuple[int, int, int]:
    return (ticket.flow.urgency, ticket.start_tag, ticket.sequence)


def _changed(known: dict[_K, Bucket], rates: Mapping[_K, int], *, now: int) -> dict[_K, Bucket]:
    """Return buckets for these rates; those that are there go on with what they hold."""
    buckets = {}
    for key, rate in rates.items():
        if key in known:
            known[key].change(rate, now=now)
        buckets[key] = known[key] if key in known else Bucket(rate, now=now)
    return buckets
