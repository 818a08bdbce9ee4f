"""Which version a recovery is for, judged by what peers say they hold."""

from __future__ import annotations

from collections.abc import Iterable

from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version


def choose_version(
    holdings: Iterable[Holding], checkpoint: CheckpointName, wanted: Version | None
) -> tuple[Version, Digest] | None:
    """Choose a version and its identity.

    Args:
        holdings: What all live peers hold.
        checkpoint: Of which checkpoint.
        wanted: A version somebody named; ``None`` for the newest of which every block is
            reachable.

    Returns:
        Version and digest, or ``None``: nothing to choose yet. A named version is taken even
        if blocks are missing, since their holders may come back. Where peers disagree about
        what a version is, one that can be completed goes first, then the one with more
        holders, then the lower digest, so that all nodes choose alike.
    """
    reachable: dict[tuple[Version, Digest], BlockSet] = {}
    holders: dict[tuple[Version, Digest], int] = {}
    block_counts: dict[tuple[Version, Digest], int] = {}
    for holding in holdings:
        if holding.checkpoint != checkpoint or wanted not in {None, holding.version}:
            continue
        key = (holding.version, holding.digest)
        reachable[key] = reachable.get(key, BlockSet()) | holding.blocks
        holders[key] = holders.get(key, 0) + 1
        block_counts[key] = holding.block_count
    complete = {key for key, blocks in reachable.items() if len(blocks) >= block_counts[key]}
    candidates = complete or (set(reachable) if wanted is not None else set())
    return min(candidates, key=lambda key: (-key[0], -holders[key], key[1]), default=None)
