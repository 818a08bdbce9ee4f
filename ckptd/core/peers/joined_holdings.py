"""What a peer has of versions that were joined here from shards, by what it says of the shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ckptd.core.state.peer import Peer
from ckptd.model.blocks import BlockSet, union
from ckptd.model.holdings import Holding, JoinedHolding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joint import Joint

_NOTHING: Mapping[Digest, Holding] = {}


def join_holdings(
    peer: Peer, digest: Digest, joint: Joint, before: Mapping[Digest, Holding] = _NOTHING
) -> None:
    """Note what a peer has of a joined version.

    Args:
        peer: The peer; what it says is known.
        digest: The identity of the joined version.
        joint: What that consists of.
        before: What was known of the peer before it said something, this version included.

    Cost: O(members that it has), and O(runs) for those of which it has something else than before.
    """
    holdings, known = peer.holdings, before.get(digest)
    held = joint.shards.keys() & holdings.keys()
    if not held:
        return
    had = joint.shards.keys() & before.keys()
    if known is None or not all(_is_more(before[each], holdings.get(each)) for each in had):
        blocks = union(_mapped(joint, holdings[each], each) for each in held)
    else:
        changed = (each for each in held if before.get(each) is not holdings[each])
        added = union(_added(joint, before.get(each), holdings[each]) for each in changed)
        blocks = known.blocks | added if added else known.blocks
    peer.joined.add(digest)
    is_in_part = _is_in_part(joint, holdings, held)
    holdings[digest] = _holding(digest, joint, blocks, is_in_part=is_in_part)


def joined_holding(
    holdings: Mapping[Digest, Holding], digest: Digest, joint: Joint
) -> Holding | None:
    """Return what some holdings of shards are of the joined version; ``None``: nothing.

    Args:
        holdings: What somebody has, by digest.
        digest: The identity of the joined version.
        joint: What that consists of.
    """
    held = joint.shards.keys() & holdings.keys()
    if not held:
        return None
    blocks = union(_mapped(joint, holdings[each], each) for each in held)
    return _holding(digest, joint, blocks, is_in_part=_is_in_part(joint, holdings, held))


def _is_in_part(joint: Joint, holdings: Mapping[Digest, Holding], held: Iterable[Digest]) -> bool:
    """Return whether some blocks of a shard are there, and not all."""
    return any(len(holdings[each].blocks) < joint.block_counts[each] for each in held)


def _holding(digest: Digest, joint: Joint, blocks: BlockSet, *, is_in_part: bool) -> Holding:
    space = joint.space
    return JoinedHolding(
        CheckpointName(joint.manifest.checkpoint),
        Version(joint.manifest.version),
        digest,
        space.size_bytes,
        space.block_count,
        blocks,
        space.optional_blocks(),
        is_in_part=is_in_part,
    )


def _mapped(joint: Joint, holding: Holding, digest: Digest) -> BlockSet:
    if holding.is_complete and holding.block_count == joint.block_counts[digest]:
        return joint.blocks_of(digest)
    return joint.from_member(digest, holding.blocks)


def _is_more(before: Holding, now: Holding | None) -> bool:
    return now is not None and (now is before or before.blocks.issubset(now.blocks))


def _added(joint: Joint, before: Holding | None, now: Holding) -> BlockSet:
    if before is None or now.is_complete:
        return _mapped(joint, now, now.digest)
    return joint.from_member(now.digest, now.blocks - before.blocks)
