"""What jobs do to a node: how often they save, how much of it is new, and how long that keeps it.

Everything here is counted from a few of the latest versions of each checkpoint. What is not known
is ``None`` and makes nothing up: a version that was published by hand before this was measured has
no duration, and a node without peers no time until a second one has a copy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import median
from typing import Final, TypeVar

from ckptd.model.ids import CheckpointName, Version
from ckptd.model.shards import job_of, split_shard

VERSIONS_MAX: Final = 16
"""So many of the latest versions of a checkpoint count: a median of them forgives a slow one, and
follows a job that is set to save more often within an hour."""

_SAMPLES_MIN: Final = 2
"""One interval, or one duration, says nothing of the next."""
_QUIET_INTERVALS: Final = 5
_QUIET_S: Final = 600.0
"""A job that did not save for so long, and for five of its intervals, has ended or stands still."""


@dataclass(frozen=True, slots=True)
class SavedVersion:
    """What is known of one version of a checkpoint, or of all shards of a job that are here.

    Attributes:
        checkpoint: Of which checkpoint.
        version: Which version.
        noted_at_s: When this node took note of it last, in Unix time.
        digest: Its identity; empty: it was seen, and is not published.
        saved_at_s: When its content changed last, in Unix time.
        size_bytes: How long it is.
        changed_bytes: How much of it is not in the version before that was here.
        hashed_s: How long it took to read and hash it here.
        paced_s: How much of that went by to keep to a rate.
        copied_s: From when it was on offer here until a second node said that it had all of it.
        brought_s: How long the recovery took that brought it here.
        shards: Of how many shards it is the sum; 0: of none.
    """

    checkpoint: CheckpointName
    version: Version
    noted_at_s: float
    digest: str = ""
    saved_at_s: float | None = None
    size_bytes: int | None = None
    changed_bytes: int | None = None
    hashed_s: float | None = None
    paced_s: float = 0.0
    copied_s: float | None = None
    brought_s: float | None = None
    shards: int = 0


@dataclass(frozen=True, slots=True)
class Workload:
    """What one checkpoint, or one job, does to this node.

    Attributes:
        checkpoint: Which one.
        versions: What is known of its latest versions, the latest last.
    """

    checkpoint: CheckpointName
    versions: tuple[SavedVersion, ...]

    @property
    def saved_at_s(self) -> float | None:
        """When it was saved last."""
        return max(self._moments(), default=None)

    @property
    def intervals_s(self) -> list[float]:
        """How long it was from each save to the next one, oldest first."""
        return [after - before for before, after in pairwise(self._moments())]

    @property
    def interval_s(self) -> float | None:
        """How often it is saved: the median."""
        return _typical(self.intervals_s)

    @property
    def published(self) -> list[SavedVersion]:
        """Its versions that were published here."""
        return [each for each in self.versions if each.hashed_s is not None]

    @property
    def size_bytes(self) -> int | None:
        """How long its latest version is of which that is known."""
        sizes = [each.size_bytes for each in self.versions if each.size_bytes is not None]
        return sizes[-1] if sizes else None

    @property
    def changed_share(self) -> float | None:
        """How much of a version is not in the one before: the median of shares."""
        shares = [
            each.changed_bytes / each.size_bytes
            for each in self.versions
            if each.changed_bytes is not None and each.size_bytes
        ]
        return median(shares) if shares else None

    @property
    def hashed_s(self) -> float | None:
        """How long it takes to read and hash a version: the median."""
        return _middle(each.hashed_s for each in self.versions)

    @property
    def paced_s(self) -> float:
        """How much of that goes by to keep to a rate: the median."""
        return median(each.paced_s for each in self.published) if self.published else 0.0

    @property
    def hashing_bytes_per_s(self) -> float | None:
        """How fast versions are read and hashed: the median."""
        rates = [
            each.size_bytes / each.hashed_s
            for each in self.versions
            if each.size_bytes and each.hashed_s
        ]
        return median(rates) if rates else None

    @property
    def copied_s(self) -> float | None:
        """How long it takes until a second node has a version: the median."""
        return _middle(each.copied_s for each in self.versions)

    @property
    def brought_s(self) -> float | None:
        """How long it takes to bring a version here: the median."""
        return _middle(each.brought_s for each in self.versions)

    @property
    def shards(self) -> int:
        """Of how many shards a version is the sum; 0: of none."""
        return max((each.shards for each in self.versions), default=0)

    def is_current(self, *, now_s: float) -> bool:
        """Return whether it is still being saved, as far as can be known.

        Args:
            now_s: The moment, in Unix time.
        """
        interval_s, saved_at_s = self.interval_s, self.saved_at_s
        if interval_s is None or saved_at_s is None:
            return False
        return now_s - saved_at_s <= max(_QUIET_S, _QUIET_INTERVALS * interval_s)

    def share_of_interval(self, durations_s: Iterable[float | None]) -> float | None:
        """Return a typical duration as a share of the interval between saves.

        Args:
            durations_s: How long something took with each version; ``None``: that is not known.

        Returns:
            Above 1 the job saves faster than that goes; ``None``: too little is known.
        """
        known = [each for each in durations_s if each is not None]
        interval_s, typical_s = self.interval_s, _typical(known)
        return None if interval_s is None or typical_s is None else typical_s / interval_s

    @property
    def hashing_share(self) -> float | None:
        """How long hashing takes, as a share of the interval between saves."""
        return self.share_of_interval(each.hashed_s for each in self.versions)

    @property
    def copying_share(self) -> float | None:
        """How long it takes until a second node has a version, likewise."""
        return self.share_of_interval(each.copied_s for each in self.versions)

    @property
    def bringing_share(self) -> float | None:
        """How long it takes to bring a version here, likewise."""
        return self.share_of_interval(each.brought_s for each in self.versions)

    def _moments(self) -> list[float]:
        return sorted({each.saved_at_s for each in self.versions if each.saved_at_s is not None})


def workloads_of(versions: Iterable[SavedVersion]) -> list[Workload]:
    """Return what each checkpoint does, by name; each shard of a job for itself."""
    found: dict[CheckpointName, list[SavedVersion]] = defaultdict(list)
    for each in versions:
        found[each.checkpoint].append(each)
    return [Workload(name, tuple(_in_order(found[name]))) for name in sorted(found)]


def joint_workloads_of(versions: Iterable[SavedVersion]) -> list[Workload]:
    """Return what each checkpoint does, by name; the shards of a job that are here together.

    A version of a job counts once all of its shards are known that this node has of others. Where
    some are saved here only these count: the others are copies, or were brought once.
    """
    alone, known = list[SavedVersion](), list(versions)
    saved = {each.checkpoint for each in known if each.brought_s is None}
    layouts_saved = {_layout_of(name) for name in saved}
    shards: dict[tuple[CheckpointName, int], dict[Version, list[SavedVersion]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for each in known:
        layout = _layout_of(each.checkpoint)
        if layout is None:
            alone.append(each)
        elif layout not in layouts_saved or each.checkpoint in saved:
            shards[layout][each.version].append(each)
    for of_layout in shards.values():
        count = max(map(len, of_layout.values()))
        alone += [_together(each) for each in of_layout.values() if len(each) == count]
    return workloads_of(_merged(alone))


def _layout_of(checkpoint: CheckpointName) -> tuple[CheckpointName, int] | None:
    """Return the job whose shard this is, and how many that has; ``None``: it is no shard."""
    split = split_shard(checkpoint)
    return None if split is None else (split[0], split[1].count)


def _merged(versions: Iterable[SavedVersion]) -> list[SavedVersion]:
    """Let what is known of a job's version as a whole, and of its shards, be one."""
    found: dict[tuple[CheckpointName, Version], SavedVersion] = {}
    for each in versions:
        key = each.checkpoint, each.version
        other = found.get(key)
        if other is None:
            found[key] = each
            continue
        whole, brought = (each, other) if each.shards >= other.shards else (other, each)
        found[key] = replace(
            whole,
            saved_at_s=brought.saved_at_s if whole.saved_at_s is None else whole.saved_at_s,
            brought_s=brought.brought_s if whole.brought_s is None else whole.brought_s,
        )
    return list(found.values())


def _together(shards: Sequence[SavedVersion]) -> SavedVersion:
    """Return the shards of a version as one: they are hashed one after another."""
    first = shards[0]
    return SavedVersion(
        job_of(first.checkpoint),
        first.version,
        max(each.noted_at_s for each in shards),
        first.digest,
        _latest([each.saved_at_s for each in shards]),
        _sum([each.size_bytes for each in shards]),
        _sum([each.changed_bytes for each in shards]),
        _sum([each.hashed_s for each in shards]),
        sum(each.paced_s for each in shards),
        _latest([each.copied_s for each in shards]),
        _latest([each.brought_s for each in shards]),
        len(shards),
    )


def _in_order(versions: Iterable[SavedVersion]) -> list[SavedVersion]:
    """Return versions in the order in which they were saved, as far as that is known."""
    return sorted(
        versions,
        key=lambda each: each.noted_at_s if each.saved_at_s is None else each.saved_at_s,
    )


def _latest(moments: Sequence[float | None]) -> float | None:
    """Return the latest of some moments or durations; ``None`` if one is not known."""
    known = [each for each in moments if each is not None]
    return max(known) if len(known) == len(moments) else None


_Number = TypeVar("_Number", int, float)


def _sum(amounts: Sequence[_Number | None]) -> _Number | None:
    """Return a sum; ``None`` if a part of it is not known."""
    known = [each for each in amounts if each is not None]
    return sum(known) if len(known) == len(amounts) else None


def _middle(durations_s: Iterable[float | None]) -> float | None:
    known = [each for each in durations_s if each is not None]
    return median(known) if known else None


def _typical(durations_s: Sequence[float]) -> float | None:
    """Return the median of some durations; ``None`` if there are too few to say."""
    return median(durations_s) if len(durations_s) >= _SAMPLES_MIN else None
