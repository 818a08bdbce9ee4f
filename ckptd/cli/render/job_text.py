"""A version of a job in one line: how many of its shards are held, and how often."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from ckptd.cli.render.text import printable
from ckptd.control.messages.checkpoints import CheckpointRow
from ckptd.control.messages.jobs import NewestView
from ckptd.control.messages.minimal_sets import MinimalSetView
from ckptd.model.ids import CheckpointName
from ckptd.model.quantities import format_age, format_size
from ckptd.model.shards import WantedShards, split_shard
from ckptd.model.words import Location

_NODES_NAMED_MAX: Final = 3


@dataclass(slots=True)
class JobVersion:
    """What is held of one version of a job, in one layout.

    Attributes:
        job: Name of the job.
        version: Which version.
        count: How many shards it has.
        rows: What is held of each shard, by number; several contents of one are a conflict.
    """

    job: CheckpointName
    version: int
    count: int
    rows: dict[int, list[CheckpointRow]] = field(default_factory=lambda: defaultdict(list))

    def _numbers(self, rows: Iterable[int]) -> str:
        return str(WantedShards(frozenset(rows)))

    @property
    def whole(self) -> set[int]:
        """The shards of which somebody has all that is required."""
        return {
            number for number, rows in self.rows.items() if any(row.is_complete for row in rows)
        }

    @property
    def copies(self) -> int:
        """How many nodes have each shard, at least; 0 if nobody has one."""
        if len(self.whole) < self.count:
            return 0
        return min(max(len(row.nodes) for row in rows) for rows in self.rows.values())

    def cells(self) -> tuple[str, ...]:
        """Return its line in the table of checkpoints."""
        rows = [row for shard in self.rows.values() for row in shard]
        size_bytes = sum(max(row.size_bytes for row in shard) for shard in self.rows.values())
        nodes = sorted({node for row in rows for node in row.nodes})
        ages = [place.age_s for row in rows for place in row.places if place.age_s is not None]
        return (
            self.job,
            str(self.version),
            format_size(size_bytes),
            self._shards(),
            format_age(max(ages)) if ages else "-",
            self._held(),
            f"{len(nodes)} nodes" if len(nodes) > _NODES_NAMED_MAX else ",".join(nodes) or "-",
        )

    def minimal_sets(self) -> tuple[MinimalSetView, ...]:
        """Return what each shard needs first; nothing if that is not known of all of them."""
        found = [self._known(number) for number in range(self.count)]
        sets = [row.minimal_set for row in found if row is not None and row.minimal_set is not None]
        return tuple(sets) if len(sets) == self.count else ()

    def critical_bytes(self) -> int | None:
        """Return how long the critical units are; ``None``: not known.

        Of several shards it is known only if none has any: what they have alike counts once.
        """
        found = [self._known(number) for number in range(self.count)]
        sizes = [row.critical_bytes for row in found if row is not None]
        known = [size for size in sizes if size is not None]
        is_known = len(known) == self.count and (self.count == 1 or not any(known))
        return sum(known) if is_known else None

    def _known(self, number: int) -> CheckpointRow | None:
        """Return what is known of a shard: the first content whose manifest is here."""
        rows = self.rows.get(number, [])
        return next((row for row in rows if row.minimal_set is not None), None)

    def _shards(self) -> str:
        copies = self.copies
        if not copies:
            return f"{len(self.whole)}/{self.count} shards"
        return f"{self.count}/{self.count} shards, {copies} {'copy' if copies == 1 else 'copies'}"

    def _held(self) -> str:
        here = {
            number
            for number, rows in self.rows.items()
            if any(row.held is Location.HERE and not row.is_stale for row in rows)
        }
        if here and self._links():
            return "active"
        if here:
            return "here" if len(here) == self.count else f"{len(here)} here"
        return "peers" if len(self.whole) == self.count else "in part"

    def _links(self) -> set[tuple[str, str]]:
        """Return the links that lead to shards of it, each with the directory it leads to."""
        places = (place for rows in self.rows.values() for row in rows for place in row.places)
        return {(each.active_link, each.directory) for each in places if each.active_link}

    def notes(self) -> list[str]:
        """Return what is to be known besides: what is missing, there twice, or active."""
        missing = set(range(self.count)) - self.whole
        rivals = {number for number, rows in self.rows.items() if len(rows) > 1}
        notes = [
            f"  {printable(directory)}: active as {printable(link)}"
            for link, directory in sorted(self._links())
        ]
        if missing:
            notes.append(f"  shards {self._numbers(missing)}: nobody has all of them")
        if rivals:
            notes.append(f"  shards {self._numbers(rivals)}: several contents; see --shards")
        placed_by = sorted(
            {node for rows in self.rows.values() for row in rows for node in row.placed_by}
        )
        if placed_by:
            notes.append(f"  placed last by {_some(placed_by)}")
        return notes


def _some(nodes: Sequence[str]) -> str:
    """Name the first of some nodes, and say how many others there are."""
    more = len(nodes) - _NODES_NAMED_MAX
    named = ", ".join(nodes[:_NODES_NAMED_MAX])
    return f"{named} and {more} more" if more > 0 else named


def jobs_among(
    rows: Sequence[CheckpointRow],
) -> list[CheckpointRow | JobVersion]:
    """Put the shards of each version of a job together, where the first of them stood."""
    found: dict[tuple[CheckpointName, int, int], JobVersion] = {}
    shown: list[CheckpointRow | JobVersion] = []
    for row in rows:
        split = split_shard(CheckpointName(row.checkpoint))
        if split is None:
            shown.append(row)
            continue
        job, shard = split
        key = (job, row.version, shard.count)
        if key not in found:
            found[key] = JobVersion(*key)
            shown.append(found[key])
        found[key].rows[shard.index].append(row)
    return _newest_first(shown)


def _newest_first(
    shown: list[CheckpointRow | JobVersion],
) -> list[CheckpointRow | JobVersion]:
    """Order versions of one job as those of a checkpoint are ordered."""

    def order(each: CheckpointRow | JobVersion) -> tuple[str, int]:
        name = each.job if isinstance(each, JobVersion) else each.checkpoint
        return name, -each.version

    return sorted(shown, key=order)


def newest_lines(view: NewestView) -> list[str]:
    """Say which version nodes would recover, or who goes another way."""
    if view.version is None:
        return [
            f"no version of {view.job} is whole: {view.why}"
            if view.why
            else f"nobody has shards of {view.job}"
        ]
    lines = [f"{view.job}@{view.version}: {view.why}"]
    lines += [f"  {row.node} recovers {view.job}@{row.version}" for row in view.differing]
    by_version: dict[int, list[str]] = defaultdict(list)
    for row in view.placed:
        by_version[row.version].append(row.node)
    for version, nodes in sorted(by_version.items(), reverse=True):
        lines.append(f"  {_some(nodes)} placed {view.job}@{version}, which stays there")
    if view.silent:
        lines.append(f"  no answer from {', '.join(view.silent)}: not known what they would take")
    return lines
