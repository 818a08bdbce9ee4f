"""Retention: which versions stay on this node, and which may go.

Decided in two steps. First the rule: the newest stay, and of the older ones one for each span of
time as long as there is room. Then, for what the rule does not keep, everything that is in the way
of removing it. Nothing here removes; ``ckptd.daemon.retain`` does, and asks other nodes before.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, TypeAlias

from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.quantities import format_size, parse_size
from ckptd.model.words import GoesBecause, KeptBecause, RemovableKind

NEWEST_MAX: Final = 100_000
COPIES_MAX: Final = 1024

_PERCENT: Final = re.compile(r"([0-9]{1,2}(?:\.[0-9]{1,3})?)%", re.ASCII)
_UNKNOWN_S: Final = 0.0
_ALL_BYTES: Final = 2**63


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """What stays of a checkpoint. The newest version always does.

    Attributes:
        newest: So many of the newest stay; ``None``: that is not asked for.
        every_s: Of older ones one for so many seconds, as long as there is room; ``None``: none.
        copies: Nothing goes unless so many other nodes have it whole.
        kind: What may be removed.

    Without ``newest`` and ``every_s`` everything stays as long as there is room.
    """

    newest: int | None = None
    every_s: int | None = None
    copies: int = 1
    kind: RemovableKind = RemovableKind.RECOVERED


@dataclass(frozen=True, slots=True)
class FreeRoom:
    """How much of a disk is to stay free: a share of it, or so many bytes."""

    percent: float = 0.0
    size_bytes: int = 0

    def __str__(self) -> str:
        return f"{self.percent:g}%" if self.percent else format_size(self.size_bytes)

    def of(self, disk_bytes: int) -> int:
        """Return how many bytes that is of a disk of some size."""
        return int(disk_bytes * self.percent / 100) if self.percent else self.size_bytes


def parse_free_room(text: str) -> FreeRoom:
    """Read how much of a disk is to stay free: ``10%`` or ``500GiB``.

    Raises:
        UsageError: It is neither.
    """
    found = _PERCENT.fullmatch(text)
    if found is not None and float(found[1]):
        return FreeRoom(percent=float(found[1]))
    if text.endswith("%") or not (size_bytes := parse_size(text)):
        raise UsageError(f"{text[:40]!r}", "is no share of a disk", "Write 10% or 500GiB.")
    return FreeRoom(size_bytes=size_bytes)


RuleOf: TypeAlias = Callable[[CheckpointName], RetentionRule]
"""Returns what counts for a checkpoint, or for a job."""


StandingKey: TypeAlias = tuple[CheckpointName, Version]


@dataclass(frozen=True, slots=True)
class StandingVersion:
    """A version that stands on this node; of a job all shards of it that do.

    Attributes:
        name: The checkpoint, or the job.
        version: Which version.
        placed_at_s: When it was first recorded here, in Unix time; 0: not known.
        bytes_on: How many bytes of it stand on which disk.
        is_as_wanted: All of it is here, or all that somebody chose; nothing is wrong with it.
        kinds: What is here of it: published here, recovered, or both.
        copies_elsewhere: How many other nodes have all of it.
        in_the_way: What forbids to remove it, whatever the rule.
        bases: Earlier versions of the same name that it is a delta on.
    """

    name: CheckpointName
    version: Version
    placed_at_s: float
    bytes_on: Mapping[str, int]
    is_as_wanted: bool = True
    kinds: frozenset[RemovableKind] = frozenset({RemovableKind.RECOVERED})
    copies_elsewhere: int = 0
    in_the_way: frozenset[KeptBecause] = frozenset()
    bases: frozenset[Version] = frozenset()

    @property
    def key(self) -> StandingKey:
        """Which version it is."""
        return (self.name, self.version)

    @property
    def base_keys(self) -> list[StandingKey]:
        """Which versions it is a delta on."""
        return [(self.name, base) for base in self.bases]

    @property
    def size_bytes(self) -> int:
        """How many bytes of it stand here, on all disks."""
        return sum(self.bytes_on.values())


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a version, and why.

    Attributes:
        standing: Which version.
        kept: Why it stays; ``None``: it goes.
        goes: Why it goes; ``None``: it stays.
    """

    standing: StandingVersion
    kept: KeptBecause | None = None
    goes: GoesBecause | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of all versions.

    Attributes:
        decisions: One for each, by name, and of each name the newest first.
        short_bytes: What is still short on a disk when all that may go is gone; disks on which
            nothing is are missing.
    """

    decisions: tuple[Decision, ...] = ()
    short_bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def going(self) -> tuple[Decision, ...]:
        """What goes: of what is old the oldest first, then what goes for want of room.

        A version that others are deltas on goes behind them.
        """
        gone = [each for each in self.decisions if each.goes]
        gone.sort(key=lambda each: (each.goes is GoesBecause.ROOM, *_age(each)))
        return tuple(_bases_last(gone))

    def freed_bytes(self) -> Mapping[str, int]:
        """Return how many bytes that frees on which disk."""
        freed: Counter[str] = Counter()
        for each in self.going:
            freed.update(each.standing.bytes_on)
        return freed

    def kept_by_reason(self) -> Mapping[KeptBecause, int]:
        """Return how many versions stay for what reason."""
        return Counter(each.kept for each in self.decisions if each.kept)


def decide(
    standing: Iterable[StandingVersion], rule_of: RuleOf, short_bytes: Mapping[str, int]
) -> Decided:
    """Decide what stays and what goes.

    What a version that stays is a delta on stays as well, and so on down to a full version.

    Args:
        standing: Everything that stands here.
        rule_of: What counts for a checkpoint.
        short_bytes: How much more is to be free on which disk.

    Cost: O(n log n).
    """
    by_name: dict[CheckpointName, list[StandingVersion]] = {}
    for each in standing:
        by_name.setdefault(each.name, []).append(each)
    decisions: list[Decision] = []
    left = Counter({disk: needed for disk, needed in short_bytes.items() if needed > 0})
    for name in sorted(by_name):
        series = sorted(by_name[name], key=lambda each: -each.version)
        rule = rule_of(name)
        for each, kept in zip(series, _kept_by_rule(series, rule), strict=True):
            decisions.append(_decide(each, kept, rule))
    _keep_bases(decisions)
    for decision in decisions:
        if decision.goes:
            left.subtract(decision.standing.bytes_on)
    _let_go_for_room(decisions, left)
    return Decided(tuple(decisions), +left)


def freeable_bytes(standing: Iterable[StandingVersion], rule_of: RuleOf) -> Mapping[str, int]:
    """Return how many bytes at most retention frees on which disk, however short room is."""
    versions = list(standing)
    disks = {disk for each in versions for disk in each.bytes_on}
    return decide(versions, rule_of, dict.fromkeys(disks, _ALL_BYTES)).freed_bytes()


def is_to_wait(digest: Digest, own: NodeId, others: Iterable[NodeId], copies: int) -> bool:
    """Tell whether a node lets others go first that may remove the same version, too.

    All holders order themselves in the same way, for each version in another one. The first ones,
    as many as there are to be copies, wait: else all would take it off offer at the same moment,
    ask each other, and put it on offer again.

    Args:
        digest: Which version.
        own: This node.
        others: Who else has it.
        copies: How many of them are to stay.
    """
    before = sum(_rank(digest, other) < _rank(digest, own) for other in others)
    return before < copies


_WHILE_THERE_IS_ROOM: Final = (KeptBecause.EVERY, KeptBecause.ROOM)

_FIRST_SAID: Final = (
    KeptBecause.ACTIVE,
    KeptBecause.KIND,
    KeptBecause.WITHDRAWN,
    KeptBecause.UNSEEN,
    KeptBecause.CHANGED,
    KeptBecause.SHARED,
    KeptBecause.BASE,
    KeptBecause.READ,
    KeptBecause.RECOVERED_HERE,
    KeptBecause.RECOVERED_ELSEWHERE,
    KeptBecause.COPIES,
    KeptBecause.REFUSED,
)
"""Of several things in the way the first one is said: what lasts before what passes."""


def _decide(each: StandingVersion, kept: KeptBecause | None, rule: RetentionRule) -> Decision:
    """Decide about one version as if there was room enough."""
    if kept is KeptBecause.NEWEST:
        return Decision(each, kept=kept)
    in_the_way = _in_the_way(each, rule)
    if in_the_way is not None:
        return Decision(each, kept=in_the_way)
    return Decision(each, goes=GoesBecause.OLD) if kept is None else Decision(each, kept=kept)


def _keep_bases(decisions: list[Decision]) -> None:
    """Keep what versions that stay are deltas on.

    Args:
        decisions: Of each name the newest first: a base is always an earlier version.
    """
    needed: set[StandingKey] = set()
    for index, decision in enumerate(decisions):
        standing = decision.standing
        is_needed = standing.key in needed
        if decision.goes and is_needed:
            decisions[index] = Decision(standing, kept=KeptBecause.BASE)
        if decision.kept or is_needed:
            needed.update(standing.base_keys)


def _let_go_for_room(decisions: list[Decision], left: Counter[str]) -> None:
    """Let the oldest go of what stays only while there is room, until nothing is short.

    What others that stay are deltas on is not among it until the last of these went.

    Args:
        decisions: What was decided as if there was room enough.
        left: How much more is to be free on which disk.
    """
    needing = Counter(key for each in decisions if each.kept for key in each.standing.base_keys)
    index_of = {
        each.standing.key: index
        for index, each in enumerate(decisions)
        if each.kept in _WHILE_THERE_IS_ROOM
    }
    ready = [(_age(decisions[at]), at) for key, at in index_of.items() if not needing[key]]
    heapify(ready)
    while ready:
        _, index = heappop(ready)
        standing = decisions[index].standing
        if not _is_short(standing, left):
            continue
        decisions[index] = Decision(standing, goes=GoesBecause.ROOM)
        left.subtract(standing.bytes_on)
        for key in standing.base_keys:
            needing[key] -= 1
            if not needing[key] and key in index_of:
                heappush(ready, (_age(decisions[index_of[key]]), index_of[key]))
    for key, index in index_of.items():
        if needing[key] and _is_short(decisions[index].standing, left):
            decisions[index] = Decision(decisions[index].standing, kept=KeptBecause.BASE)


def _is_short(standing: StandingVersion, left: Mapping[str, int]) -> bool:
    """Tell whether removing a version would help."""
    return any(left[disk] > 0 and here > 0 for disk, here in standing.bytes_on.items())


def _bases_last(going: Sequence[Decision]) -> Iterator[Decision]:
    """Yield what goes in its order, but each version behind those that are deltas on it."""
    on: dict[StandingKey, list[Decision]] = {}
    for each in going:
        for key in each.standing.base_keys:
            on.setdefault(key, []).append(each)
    done: set[StandingKey] = set()
    for each in going:
        found, waiting = {}, [each]
        while waiting:
            at = waiting.pop()
            if at.standing.key not in done:
                done.add(at.standing.key)
                found[at.standing.version] = at
                waiting += on.get(at.standing.key, ())
        yield from (found[version] for version in sorted(found, reverse=True))


def _in_the_way(each: StandingVersion, rule: RetentionRule) -> KeptBecause | None:
    found = set(each.in_the_way)
    if rule.kind is not RemovableKind.ALL and each.kinds != {rule.kind}:
        found.add(KeptBecause.KIND)
    if each.copies_elsewhere < max(rule.copies, 1):
        found.add(KeptBecause.COPIES)
    return next((reason for reason in _FIRST_SAID if reason in found), None)


def _kept_by_rule(
    series: Sequence[StandingVersion], rule: RetentionRule
) -> list[KeptBecause | None]:
    """Return for each version of a checkpoint, the newest first, why the rule keeps it."""
    wanted = max(rule.newest or 1, 1)
    counted, newest = 0, 0
    for each in series:
        if counted == wanted:
            break
        counted += each.is_as_wanted
        newest += 1  # what lacks something stays beside those that do not, and does not count
    older = series[newest:]
    kept: dict[Version, KeptBecause] = {}
    if rule.every_s is not None:
        kept = dict.fromkeys(_spaced(older, rule.every_s), KeptBecause.EVERY)
    elif rule.newest is None:
        kept = dict.fromkeys((each.version for each in older), KeptBecause.ROOM)
    return [KeptBecause.NEWEST] * newest + [kept.get(each.version) for each in older]


def _spaced(older: Sequence[StandingVersion], every_s: int) -> set[Version]:
    """Return versions that were placed at least so long after one another, from the first one on.

    What is chosen does not depend on when it is: who was kept once stays, and more come after it.
    """
    found: set[Version] = set()
    last_s: float | None = None
    for each in sorted(older, key=lambda each: (each.placed_at_s, each.version)):
        if each.placed_at_s == _UNKNOWN_S:
            found.add(each.version)
        elif each.is_as_wanted and (last_s is None or each.placed_at_s >= last_s + every_s):
            found.add(each.version)
            last_s = each.placed_at_s
    return found


def _age(decision: Decision) -> tuple[bool, float, CheckpointName, Version]:
    """Return by what the oldest comes first; of what the age is not known, last."""
    each = decision.standing
    return (each.placed_at_s == _UNKNOWN_S, each.placed_at_s, each.name, each.version)


def _rank(digest: Digest, node: NodeId) -> bytes:
    return hashlib.sha256(f"{digest} {node}".encode()).digest()
