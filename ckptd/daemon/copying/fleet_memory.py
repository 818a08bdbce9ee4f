"""What nodes said last, also those that do not answer any more: a lost holder counts for a while.

It is in memory alone. After a restart nothing is known of who did not come back yet; so nothing is
decided until everybody was heard, or a time of grace is over.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from ckptd.limits import PEERS_MAX
from ckptd.model.holdings import Holding, Holdings
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version

PER_NODE_MAX: Final = 4
"""So many versions of a name beyond those that are kept are looked at of each node, the newest:
what a node invents costs no more than what one has."""
CONTENTS_MAX: Final = 4
"""Who has more contents of one version than that invents them, or cannot say which is meant."""


@dataclass(slots=True)
class KnownNode:
    """A node, as it was when it answered last.

    Attributes:
        revision: What it said, by its life and number.
        keeps: Patterns of the names of which it keeps copies.
        is_full: It takes no more.
        held: What it has of listed names, the newest few versions of each.
        proven: What of it was proven.
        lost_since_ns: Since when it does not answer; ``None``: it does.
        is_trusted: What it says counts at present.
    """

    revision: tuple[int, int] = (0, 0)
    keeps: tuple[str, ...] = ()
    is_full: bool = False
    held: tuple[Holding, ...] = ()
    proven: frozenset[Digest] = frozenset()
    lost_since_ns: int | None = None
    is_trusted: bool = True


class FleetMemory:
    """All nodes but this one.

    Args:
        kept_of: How many versions of a name are kept; ``None``: it is not listed.
        grace_ns: For how long a lost node is remembered, twice.
    """

    def __init__(self, kept_of: Callable[[CheckpointName], int | None], grace_ns: int) -> None:
        self._kept_of = kept_of
        self._forget_ns = 2 * grace_ns
        self.nodes: dict[NodeId, KnownNode] = {}

    def note(
        self,
        said: Mapping[NodeId, Holdings],
        trusted: Mapping[NodeId, tuple[Holding, ...]],
        *,
        now: int,
    ) -> None:
        """Take in what live nodes say.

        Args:
            said: What each of them says, whether or not it counts.
            trusted: What counts of it: nothing of who is in quarantine.
            now: The moment, in nanoseconds.
        """
        for node, holdings in said.items():
            known = self.nodes.setdefault(node, KnownNode())
            known.lost_since_ns = None
            known.is_trusted = node in trusted
            revision = (holdings.epoch, holdings.revision)
            if known.revision != revision:
                known.revision = revision
                known.keeps, known.is_full = holdings.keeps, holdings.is_full
                known.held = self.newest(holdings.holdings)
        for node, known in list(self.nodes.items()):
            if node in said:
                continue
            if known.lost_since_ns is None:
                known.lost_since_ns = now
            if now - known.lost_since_ns > self._forget_ns or len(self.nodes) > PEERS_MAX:
                del self.nodes[node]

    def newest(self, holdings: Iterable[Holding]) -> tuple[Holding, ...]:
        """Return the newest few versions of each listed name among what a node has."""
        by_name: dict[CheckpointName, list[Holding]] = {}
        for holding in holdings:
            by_name.setdefault(holding.checkpoint, []).append(holding)
        found: list[Holding] = []
        for name, listed in by_name.items():
            keep = self._kept_of(name)
            if keep is None:
                continue
            versions = sorted({each.version for each in listed}, reverse=True)
            contents = Counter(each.version for each in listed)
            counting: set[Version] = set(versions[: keep + PER_NODE_MAX])
            found += (
                each
                for each in listed
                if each.version in counting and contents[each.version] <= CONTENTS_MAX
            )
        return tuple(found)


class Keepers:
    """Who keeps copies of which names; names with the same members share a tuple.

    Args:
        by_patterns: Nodes, by the patterns of the names that they list.
    """

    def __init__(self, by_patterns: Mapping[tuple[str, ...], Sequence[NodeId]]) -> None:
        self._by_patterns = by_patterns
        self._shared: dict[tuple[bool, ...], tuple[NodeId, ...]] = {}

    def of(self, name: CheckpointName) -> tuple[NodeId, ...]:
        """Return who keeps copies of a name, in the order of their ids."""
        lists = tuple(
            any(fnmatchcase(name, each) for each in patterns) for patterns in self._by_patterns
        )
        if lists not in self._shared:
            listing = [
                nodes for nodes, does in zip(self._by_patterns.values(), lists, strict=True) if does
            ]
            self._shared[lists] = tuple(sorted(node for nodes in listing for node in nodes))
        return self._shared[lists]
