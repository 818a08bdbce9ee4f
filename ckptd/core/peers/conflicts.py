"""Versions of which nodes hold several contents: somebody will have to choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from ckptd.core.report.rivals import Rival
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version

CONFLICTS_NAMED_MAX: Final = 100
"""So many are named; a person who has more looks for their common cause."""

Said: TypeAlias = Sequence[tuple[NodeId, Sequence[Holding]]]
"""What each node holds."""


@dataclass(frozen=True, slots=True)
class Contested:
    """A version of which there are several contents.

    Attributes:
        checkpoint: Of which checkpoint.
        version: Which version.
        rivals: Its contents, that of most nodes first.
    """

    checkpoint: CheckpointName
    version: Version
    rivals: tuple[Rival, ...]


@dataclass(frozen=True, slots=True)
class Conflicts:
    """All versions of which there are several contents.

    Attributes:
        count: How many.
        named: The first of them, by name.
    """

    count: int = 0
    named: tuple[Contested, ...] = ()


def find_conflicts(said: Said, *, own: NodeId) -> Conflicts:
    """Find the versions of which nodes hold several contents.

    Args:
        said: What each node holds. Nodes in quarantine are not asked for.
        own: Which of them is this node.

    Cost: O(holdings), twice.
    """
    first: dict[tuple[CheckpointName, Version], Digest] = {}
    contested: set[tuple[CheckpointName, Version]] = set()
    for _, holdings in said:
        for holding in holdings:
            key = (holding.checkpoint, holding.version)
            if holding.blocks and first.setdefault(key, holding.digest) != holding.digest:
                contested.add(key)
    named = sorted(contested)[:CONFLICTS_NAMED_MAX]
    found: dict[tuple[CheckpointName, Version], list[tuple[NodeId, Holding]]] = {}
    for key in named:
        found[key] = []
    for node, holdings in said:
        for holding in holdings:
            of_version = found.get((holding.checkpoint, holding.version))
            if of_version is not None and holding.blocks:
                of_version.append((node, holding))
    return Conflicts(
        len(contested), tuple(Contested(*key, _rivals(found[key], own)) for key in named)
    )


def _rivals(held: Iterable[tuple[NodeId, Holding]], own: NodeId) -> tuple[Rival, ...]:
    nodes: dict[Digest, list[NodeId]] = {}
    sizes: dict[Digest, int] = {}
    for node, holding in held:
        nodes.setdefault(holding.digest, []).append(node)
        sizes.setdefault(holding.digest, holding.size_bytes)
    rivals = (
        Rival(digest, sizes[digest], tuple(sorted(names)), is_own=own in names)
        for digest, names in nodes.items()
    )
    return tuple(sorted(rivals, key=lambda rival: (-len(rival.nodes), rival.digest)))
