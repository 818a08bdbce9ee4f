"""What is known of another daemon, on one path to it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Final

from ckptd.core.state.link import Link
from ckptd.core.state.standing import Standing
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import (
    OWN_DISKS,
    CheckpointName,
    Digest,
    Epoch,
    NodeId,
    Origin,
    PathId,
    Version,
)

_SORTED_MAX: Final = 4
"""Of so many checkpoints is remembered what a peer has in which order: one for each recovery."""


def of_version(
    newest_first: Sequence[Holding], version: Version, *, behind: int = 0
) -> Sequence[Holding]:
    """Return those of some holdings, of one checkpoint, that are of a version.

    Args:
        newest_first: The holdings.
        version: Which version.
        behind: Not those among so many newest.
    """

    def age(holding: Holding) -> int:
        return -holding.version

    start = bisect_left(newest_first, -version, lo=min(behind, len(newest_first)), key=age)
    return newest_first[start : bisect_right(newest_first, -version, lo=start, key=age)]


@dataclass(slots=True)
class Peer:
    """Another daemon, as it presents itself on one path; each path is a source of its own.

    Attributes:
        node: Who it is. Several paths may lead to it.
        epoch: Which life of it.
        is_live: It answered when it was asked last.
        holdings: What it has, by digest. A version it turned out not to have is taken out.
        claimed_ns: When it said so last.
        link: The path to it.
        standing: What is held against it, and against other paths of one origin.
        path: On which path; empty: the first one, which has the node's name.
        origin: Under what blame is kept; empty: the path.
        recovering: The versions of jobs that it says it recovers.
        placed: Those that it says it placed last.
        joined: Those of its holdings that it did not say: they were put together of shards.
    """

    node: NodeId
    epoch: Epoch
    is_live: bool = True
    holdings: dict[Digest, Holding] = field(default_factory=dict)
    claimed_ns: int = 0
    link: Link = field(default_factory=Link)
    standing: Standing = field(default_factory=Standing)
    path: PathId = PathId("")  # noqa: RUF009 (a string)
    origin: Origin = Origin("")  # noqa: RUF009 (a string)
    recovering: tuple[tuple[CheckpointName, Version], ...] = ()
    placed: tuple[tuple[CheckpointName, Version], ...] = ()
    joined: set[Digest] = field(default_factory=set)
    _sorted: dict[CheckpointName, tuple[Holding, ...]] = field(default_factory=dict, repr=False)
    _sorted_of: dict[Digest, Holding] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Take the node's name where nothing else is said."""
        self.path = self.path or self.node
        self.origin = self.origin or Origin(self.path)

    @property
    def is_own(self) -> bool:
        """It is this node's own disks: what they bring does not travel."""
        return self.path == OWN_DISKS

    @property
    def usable_at_ns(self) -> int:
        """It is not asked for anything before this moment: it rests, or is in quarantine."""
        return max(self.link.usable_at_ns, self.standing.quarantined_until_ns)

    @property
    def said(self) -> Iterable[Holding]:
        """What it said that it has."""
        if not self.joined:
            return self.holdings.values()
        return (each for each in self.holdings.values() if each.digest not in self.joined)

    def holding_of(self, digest: Digest | None) -> Holding | None:
        """Return what it has of a version; ``None`` also while no version is chosen."""
        return None if digest is None else self.holdings.get(digest)

    def newest_first(self, checkpoint: CheckpointName) -> tuple[Holding, ...]:
        """Return what it has of a checkpoint, the newest version first; sorted once."""
        if self._sorted_of is not self.holdings:
            self._sorted, self._sorted_of = {}, self.holdings
        known = self._sorted.get(checkpoint)
        if known is None:
            of_it = [each for each in self.said if each.checkpoint == checkpoint]
            known = tuple(sorted(of_it, key=attrgetter("version"), reverse=True))
            self._sorted[checkpoint] = known
            if len(self._sorted) > _SORTED_MAX:
                del self._sorted[next(iter(self._sorted))]
        return known

    def withdraw(self, digest: Digest, blocks: BlockSet | None = None) -> None:
        """Rely on it no more for some blocks of a version, or for all, until it claims them again.

        Args:
            digest: Which version.
            blocks: Which blocks; ``None``: all.
        """
        holding = self.holdings.pop(digest, None)
        known = () if holding is None else self._sorted.pop(holding.checkpoint, ())
        if holding is not None and known and blocks is None:  # what peers invent, they deny
            self._sorted[holding.checkpoint] = tuple(
                each for each in known if each.digest != digest
            )
        left = BlockSet() if holding is None or blocks is None else holding.blocks - blocks
        if holding is not None and left:
            self.holdings[digest] = replace(holding, blocks=left)


def once_for_each_node(said: Iterable[tuple[Peer, Holding]]) -> list[Holding]:
    """Return what nodes hold, once however many paths lead to each.

    Args:
        said: What each of them said, on each path to it.

    Cost: next to nothing where every node has one path, as nearly always.
    """
    said = list(said)
    several = {peer.node for peer, _ in said if peer.path != peer.node}
    if not several:
        return [holding for _, holding in said]
    held: dict[tuple[NodeId, Digest], Holding] = {}
    for peer, holding in said:
        if peer.node in several:
            known = held.setdefault((peer.node, holding.digest), holding)
            if known.blocks != holding.blocks:
                together = replace(known, blocks=known.blocks | holding.blocks)
                held[peer.node, holding.digest] = together
    alone = [holding for peer, holding in said if peer.node not in several]
    return [*alone, *held.values()]
