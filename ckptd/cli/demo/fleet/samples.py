"""What a fleet holds at one moment, and what follows from that. Pure.

An onlooker records samples while the demonstration goes on. What is said of it in the end, the
picture too, is made of them and of nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

JOB: Final = "llama"


class Origin(enum.Enum):
    """How a node came to what it holds."""

    SAVED = "saved"
    """The job saved it there."""
    COPIED = "copied"
    """It is a copy that the node made by itself."""
    RECOVERED = "recovered"
    """A recovery brought it for the job."""


class Held(NamedTuple):
    """A shard of a version that stands at a node, all of it.

    Attributes:
        shard: Number of the shard, which is that of the rank that saved it.
        version: Which version.
        origin: How the node came to it.
        directory: Where it stands.
        added_at_s: Since when, in Unix time.
    """

    shard: int
    version: int
    origin: Origin
    directory: str = ""
    added_at_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What the fleet held at one moment.

    Attributes:
        at_s: When, in seconds since the beginning.
        nodes: What each node that answers holds; one that is dead is not among them.
    """

    at_s: float
    nodes: Mapping[str, tuple[Held, ...]]

    def versions(self) -> list[int]:
        """Return all versions of which somebody holds something, oldest first."""
        return sorted({held.version for holds in self.nodes.values() for held in holds})

    def holders(self, version: int, shard: int) -> list[str]:
        """Return which nodes hold a shard of a version, in order."""
        return [
            node
            for node, holds in self.nodes.items()
            if any((held.version, held.shard) == (version, shard) for held in holds)
        ]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Which nodes there are. A rank of the job begins on each, and saves a shard there.

    Attributes:
        zones: The nodes of each zone, by its name.
        copies: So many nodes are asked to have each shard, the one that saved it included.
    """

    zones: Mapping[str, tuple[str, ...]]
    copies: int = 2

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes; the place of one is the number of its rank."""
        return tuple(node for nodes in self.zones.values() for node in nodes)

    @property
    def ranks(self) -> int:
        """How many ranks the job has."""
        return len(self.nodes)

    def zones_of(self, nodes: Collection[str]) -> list[str]:
        """Return the zones that nodes are in, each once."""
        return [zone for zone, members in self.zones.items() if not set(members).isdisjoint(nodes)]

    def is_whole(self, sample: Sample, version: int) -> bool:
        """Tell whether every shard of a version is with somebody."""
        return all(sample.holders(version, shard) for shard in range(self.ranks))

    def lacking_copies(self, sample: Sample, version: int) -> list[int]:
        """Return of which shards there are too few copies, or too many in one zone."""
        return [
            shard
            for shard in range(self.ranks)
            if len(self.zones_of(sample.holders(version, shard))) < self.copies
        ]

    def newest_whole(self, sample: Sample) -> int | None:
        """Return the newest version of which every shard is with somebody."""
        versions = reversed(sample.versions())
        return next((each for each in versions if self.is_whole(sample, each)), None)

    def newest_copied(self, sample: Sample) -> int | None:
        """Return the newest version of which every shard has its copies, in as many zones."""
        versions = reversed(sample.versions())
        return next((each for each in versions if not self.lacking_copies(sample, each)), None)


EIGHT: Final = Fleet(
    {f"zone-{zone}": (f"node-{2 * zone}", f"node-{2 * zone + 1}") for zone in range(4)}
)


class Span(NamedTuple):
    """From when to when something was so, in seconds since the beginning."""

    begin_s: float
    end_s: float


def spans(samples: Sequence[Sample], states: Sequence[object]) -> list[tuple[Span, object]]:
    """Join neighbouring samples in which something was the same.

    Args:
        samples: All of them, in order.
        states: What it was in each; ``None``: nothing that is shown.

    Returns:
        Each span with what it was. One ends where the next sample begins, the last one at its own.
    """
    found: list[tuple[Span, object]] = []
    begin = 0
    for index in range(1, len(samples) + 1):
        if index < len(samples) and states[index] == states[begin]:
            continue
        end_s = samples[min(index, len(samples) - 1)].at_s
        if states[begin] is not None:
            found.append((Span(samples[begin].at_s, end_s), states[begin]))
        begin = index
    return found
