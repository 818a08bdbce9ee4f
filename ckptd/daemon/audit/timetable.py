"""Which claim of a peer is audited next. Knows no clock and no network.

New claims come first, those of the newest version of each checkpoint before all others, and of them
those of names whose copies may fall to this node; claims that were audited come again after some
eighteen hours. Claims of one version come together: its manifest is opened once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random
from typing import Final, NamedTuple, TypeAlias

from ckptd.core.peers.audits import AuditableClaim
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, Origin, PathId, Version
from ckptd.store.records.audit_records import AUDITS_MAX

HOUR_NS: Final = 3600 * SECOND
PROVEN_NS: Final = 24 * HOUR_NS
"""So long a claim counts as proven by one block."""
_AGAIN_NS: Final = (16 * HOUR_NS, 20 * HOUR_NS)
"""After so long a claim is audited again: four hours are left for a peer that is busy then."""
_TOGETHER_NS: Final = 4 * HOUR_NS
"""Claims of a version whose manifest is open come so much earlier."""
_PAUSE_NS: Final = (30 * SECOND, HOUR_NS)
"""Who is busy or does not answer is left alone for so long, twice as long each time, up to that."""
_FAILED_NS: Final = (300 * SECOND, 18 * HOUR_NS)
"""A claim that turned out to be false is looked at again after so long, likewise."""
_GROWN_NS: Final = 20 * SECOND
"""A claim that is not whole is audited so long after it grew last, for that of a recovery grows."""
_PRESSING: Final = -(10**9)
"""From here on, below 0, claims of newest versions are due that were never audited: before all
others, the first of each peer before the second of any. So nobody who invents thousands of them
holds up more than one of anybody else."""
_NEAR_MAX: Final = 16
"""So many claims of one peer, of names near to this node, go before those."""
_PER_ORIGIN_MAX: Final = 4096
"""So many claims of one peer are audited, the newest versions."""

ClaimKey: TypeAlias = tuple[Origin, Digest]
"""Whose claim, and of which version."""


class Audited(NamedTuple):
    """The last audit of a claim.

    Attributes:
        at_ns: When.
        is_right: The block came, and was right.
        block_count: So much was claimed then: who claims more since has shown nothing of that.
    """

    at_ns: int
    is_right: bool
    block_count: int

    def proves(self, claimed_count: int, *, now: int) -> bool:
        """Return whether a claim of so many blocks counts as proven."""
        is_young = now - self.at_ns < PROVEN_NS
        return self.is_right and is_young and claimed_count <= self.block_count


class _Pause(NamedTuple):
    """For how long a peer is left alone, and how often it gave no answer in a row."""

    until_ns: int
    tries: int


class Timetable:
    """All claims that are audited, and when each is due.

    Args:
        rng: Spreads the moments.

    Attributes:
        is_near: Whether copies of a name may fall to this node, which waits for proof then.
    """

    def __init__(self, rng: Random) -> None:
        self.is_near: Callable[[CheckpointName], bool] = lambda _: False
        self._rng = rng
        self._claims: dict[ClaimKey, AuditableClaim] = {}
        self._of_path: dict[PathId, set[ClaimKey]] = {}
        self._of_digest: dict[Digest, set[ClaimKey]] = {}
        self._due_ns: dict[ClaimKey, int] = {}
        self._heap: list[tuple[int, int, ClaimKey]] = []
        self._places = count()  # keys need not compare
        self._pressing: Counter[Origin] = Counter()
        self._failures: Counter[ClaimKey] = Counter()
        self._pauses: dict[Origin, _Pause] = {}
        self._versions: dict[CheckpointName, Counter[Version]] = {}

    @property
    def claims(self) -> Collection[AuditableClaim]:
        """All claims that are audited."""
        return self._claims.values()

    @property
    def paths(self) -> frozenset[PathId]:
        """On which paths there are claims that are audited."""
        return frozenset(self._of_path)

    def take_in(
        self,
        path: PathId,
        claims: Sequence[tuple[AuditableClaim, Audited | None]],
        *,
        now: int,
    ) -> None:
        """Know what a peer claims on a path, in place of what it claimed there before.

        Args:
            path: On which path.
            claims: What it claims, each with its last audit.
            now: The moment, in nanoseconds.
        """
        newest_first = sorted(claims, key=lambda each: -each[0].holding.version)
        keys: set[ClaimKey] = set()
        news: list[tuple[ClaimKey, Audited | None]] = []
        for claim, audited in newest_first[:_PER_ORIGIN_MAX]:
            key = (claim.origin, claim.holding.digest)
            before = self._claims.get(key)
            if before is None and len(self._claims) >= AUDITS_MAX:
                continue
            keys.add(key)
            self._know(key, claim)
            if before is None or len(claim.holding.blocks) > len(before.holding.blocks):
                news.append((key, audited))
        for key, audited in news:
            self._set_due(key, self._first_due_ns(key, audited, now=now))
        for key in self._of_path.pop(path, set()) - keys:
            if self._claims[key].path == path:  # else it is known on another path, too
                self._drop(key)
        if keys:
            self._of_path[path] = keys

    def note_audited(self, key: ClaimKey, audited: Audited) -> None:
        """Set when a claim is due again that was audited."""
        self._pauses.pop(key[0], None)
        if key not in self._claims:
            return
        if audited.is_right:
            del self._failures[key]
            self._set_due(key, audited.at_ns + self._rng.randint(*_AGAIN_NS))
            return
        self._failures[key] += 1
        self._set_due(key, audited.at_ns + self._spread(_FAILED_NS, self._failures[key]))

    def note_unanswered(self, key: ClaimKey, *, now: int) -> None:
        """Leave a peer alone that was busy, or did not answer, and ask it later."""
        tries = self._pauses.get(key[0], _Pause(0, 0)).tries + 1
        self._pauses[key[0]] = pause = _Pause(now + self._spread(_PAUSE_NS, tries), tries)
        if key in self._claims:
            self._set_due(key, pause.until_ns)

    def take_next(self, *, now: int, opened: Digest | None = None) -> AuditableClaim | None:
        """Return which claim to audit now; ``None``: nothing is due.

        What became of it is due to be noted.

        Args:
            now: The moment, in nanoseconds.
            opened: The version whose manifest is open.
        """
        earliest_ns = self._earliest_ns()
        if opened is not None and (earliest_ns is None or earliest_ns >= 0):
            for key in sorted(self._of_digest.get(opened, ())):
                is_soon = self._due_ns.get(key, now + _TOGETHER_NS) < now + _TOGETHER_NS
                if is_soon and key not in self._failures and self._may_ask(key, now=now):
                    return self._take(key)
        while earliest_ns is not None and earliest_ns <= now:
            _, _, key = self._heap[0]
            is_pressing = earliest_ns < 0 and self._is_newest(key)
            if self._may_ask(key, now=now) and (is_pressing or earliest_ns >= 0):
                return self._take(key)
            self._take(key)
            pause = self._pauses.get(key[0])
            self._set_due(key, now if pause is None else max(now, pause.until_ns))
            earliest_ns = self._earliest_ns()
        return None

    def _may_ask(self, key: ClaimKey, *, now: int) -> bool:
        pause = self._pauses.get(key[0])
        return pause is None or pause.until_ns <= now

    def _first_due_ns(self, key: ClaimKey, audited: Audited | None, *, now: int) -> int:
        holding = self._claims[key].holding
        if audited is not None and audited.proves(len(holding.blocks), now=now):
            return audited.at_ns + self._rng.randint(*_AGAIN_NS)
        if audited is not None and not audited.is_right:
            return max(now, audited.at_ns + _FAILED_NS[0])
        if not holding.is_whole:
            return now + _GROWN_NS
        if not self._is_newest(key):
            return now
        pressing = self._pressing[key[0]]
        if pressing < _NEAR_MAX and self.is_near(holding.checkpoint):
            return 2 * _PRESSING + pressing
        return _PRESSING + pressing

    def _is_newest(self, key: ClaimKey) -> bool:
        holding = self._claims[key].holding
        return holding.version >= max(self._versions[holding.checkpoint])

    def _spread(self, bounds_ns: tuple[int, int], tries: int) -> int:
        """Return a pause that is twice as long with each try, and differs between claims."""
        pause_ns = min(bounds_ns[0] << min(tries - 1, 10), bounds_ns[1])
        return int(pause_ns * self._rng.uniform(0.75, 1.25))

    def _earliest_ns(self) -> int | None:
        """Return when the first claim is due; entries that were replaced are passed over."""
        while self._heap and self._due_ns.get(self._heap[0][2]) != self._heap[0][0]:
            heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _set_due(self, key: ClaimKey, due_ns: int) -> None:
        self._cancel(key)
        self._due_ns[key] = due_ns
        self._pressing[key[0]] += due_ns < 0
        heappush(self._heap, (due_ns, next(self._places), key))
        if len(self._heap) > 2 * len(self._due_ns) + 64:
            self._heap = [entry for entry in self._heap if self._due_ns.get(entry[2]) == entry[0]]
            heapify(self._heap)

    def _cancel(self, key: ClaimKey) -> None:
        if self._due_ns.pop(key, 0) < 0:
            self._pressing[key[0]] -= 1

    def _take(self, key: ClaimKey) -> AuditableClaim:
        self._cancel(key)
        return self._claims[key]

    def _know(self, key: ClaimKey, claim: AuditableClaim) -> None:
        if key not in self._claims:
            self._of_digest.setdefault(key[1], set()).add(key)
            versions = self._versions.setdefault(claim.holding.checkpoint, Counter())
            versions[claim.holding.version] += 1
        self._claims[key] = claim

    def _drop(self, key: ClaimKey) -> None:
        holding = self._claims.pop(key).holding
        self._cancel(key)
        del self._failures[key]
        of_digest = self._of_digest[key[1]]
        of_digest.remove(key)
        if not of_digest:
            del self._of_digest[key[1]]
        versions = self._versions[holding.checkpoint]
        versions[holding.version] -= 1
        if not versions[holding.version]:
            del versions[holding.version]
        if not versions:
            del self._versions[holding.checkpoint]
