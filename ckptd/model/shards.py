"""Shards: what each rank of a job saves, as a checkpoint of its own below the job's name.

Shard 3 of the 8 shards of ``llama`` is the checkpoint ``llama/shard-3-of-8``. How many there are
is part of the name: 8 and 16 shards of one version are two layouts, and never mistaken for each
other. Peers need not know of jobs: to them a shard is a checkpoint as any other.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import SHARDS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, parse_checkpoint_name

_NUMBER: Final = r"(0|[1-9][0-9]{0,4})"
_NUMBERS: Final = re.compile(rf"{_NUMBER}(?:-{_NUMBER})?", re.ASCII)
_COUNT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_ALL: Final = "all"
_SHARD: Final = re.compile(rf"{_NUMBER}/([1-9][0-9]{{0,4}})", re.ASCII)
_LAST_COMPONENT: Final = re.compile(rf"(.+)/shard-{_NUMBER}-of-([1-9][0-9]{{0,4}})", re.ASCII)
_LIKE_A_SHARD: Final = re.compile(r"shard-[0-9]+-of-[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Shard:
    """One of the parts in which a job saves a version.

    Attributes:
        index: Which one, from 0, as ranks are counted.
        count: How many there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Check ``INDEX/COUNT``, as a person writes it.

    Raises:
        UsageError: Not of that form, or there is no such shard.
    """
    found = _SHARD.fullmatch(text)
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or not _exists(shard):
        raise UsageError(
            f"shard {text[:64]!r}",
            "is not the number of a shard and how many there are",
            f"Count from 0, as ranks do: 0/8 … 7/8; at most {SHARDS_MAX} shards.",
        )
    return shard


@dataclass(frozen=True, slots=True)
class WantedShards:
    """Which shards of a job somebody wants.

    Attributes:
        numbers: Which ones; ``None``: all.
        count: Of a layout of so many; ``None``: of any that has them.
    """

    numbers: frozenset[int] | None = None
    count: int | None = None

    def __str__(self) -> str:
        """Write it so that :func:`parse_shards` reads the same."""
        if self.numbers is None:
            text = _ALL
        else:
            runs = BlockSet((number, number + 1) for number in self.numbers).runs()
            text = ",".join(
                str(first) if end - first == 1 else f"{first}-{end - 1}" for first, end in runs
            )
        return text if self.count is None else f"{text}/{self.count}"


def parse_shards(text: str) -> WantedShards:
    """Read which shards are wanted, as a person writes it.

    ``all``, or numbers and ``FIRST-LAST`` with commas between; with ``/COUNT`` behind it of a
    layout of so many.

    Raises:
        UsageError: Not of that form, or no job has as many.
    """
    chosen, slash, total = text.partition("/")
    count = int(total) if slash and _COUNT.fullmatch(total) else None
    last_max = min(count or SHARDS_MAX, SHARDS_MAX) - 1
    numbers = None if chosen == _ALL else _numbers(chosen, last_max)
    if numbers == set() or (slash and not 0 < (count or 0) <= SHARDS_MAX):
        raise UsageError(
            f"shards {text[:64]!r}",
            "are not 'all' or numbers of shards with commas between",
            f"Count from 0: 3,7 or 0-3,7/8; numbers are below {SHARDS_MAX}.",
        )
    return WantedShards(None if numbers is None else frozenset(numbers), count)


def _numbers(text: str, last_max: int) -> set[int]:
    """Return the numbers that are named; none if it is not readable."""
    found: set[int] = set()
    for part in text.split(","):
        numbers = _NUMBERS.fullmatch(part)
        if numbers is None:
            return set()
        first, last = int(numbers[1]), int(numbers[2] or numbers[1])
        if not first <= last <= last_max:
            return set()
        found.update(range(first, last + 1))
    return found


def shard_name(job: CheckpointName, shard: Shard) -> CheckpointName:
    """Return the checkpoint that a shard of a job is.

    Raises:
        UsageError: The job's name is too long for that, or is that of a shard itself.
    """
    if split_shard(job) is not None:
        raise UsageError(
            f"checkpoint name {job[:64]!r}",
            "is that of a shard already, so it has no shards",
            "Name the job, e.g. llama.",
        )
    return parse_checkpoint_name(f"{job}/shard-{shard.index}-of-{shard.count}")


def split_shard(name: CheckpointName) -> tuple[CheckpointName, Shard] | None:
    """Return the job and the shard that a checkpoint is; ``None``: it is no shard."""
    found = _LAST_COMPONENT.fullmatch(name)
    if found is None:
        return None
    job, shard = CheckpointName(found[1]), Shard(int(found[2]), int(found[3]))
    if not _exists(shard) or _LIKE_A_SHARD.fullmatch(job.rpartition("/")[2]):
        return None
    return job, shard


def job_of(name: CheckpointName) -> CheckpointName:
    """Return the job that a shard is of; any other checkpoint stands for itself."""
    split = split_shard(name)
    return name if split is None else split[0]


def is_shard_of(name: CheckpointName, job: CheckpointName) -> bool:
    """Return whether a checkpoint is one of the shards of a job."""
    split = split_shard(name)
    return split is not None and split[0] == job


def rival_names(name: CheckpointName, known: Collection[CheckpointName]) -> list[CheckpointName]:
    """Return which checkpoints may not stand beside one: it would not be clear what a job is.

    Below the name of a job there are its shards and nothing else, and the job's own name is not
    that of a checkpoint.

    Args:
        name: The checkpoint, or the shard, that is to be published.
        known: Checkpoints that there are.
    """
    split = split_shard(name)
    if split is not None:
        job = split[0]
        below = f"{job}/"
        return sorted(
            other
            for other in known
            if other == job or (other.startswith(below) and not is_shard_of(other, job))
        )
    jobs = {other_split[0] for other in known if (other_split := split_shard(other)) is not None}
    return sorted(job for job in jobs if name == job or name.startswith(f"{job}/"))


def _exists(shard: Shard) -> bool:
    return 0 <= shard.index < shard.count <= SHARDS_MAX
