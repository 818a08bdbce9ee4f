"""Which versions of a job are whole for all shards, by what is known here.

A shard counts as whole if all its required blocks are with live peers that are not in quarantine,
or here. What peers claim is enough to try a version; before it is taken the manifest of every shard
was fetched, and then it counts what that says of its blocks, and not what peers say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ckptd.core.stages.claims_on_content import counts, is_distrusted, unsigned_contents
from ckptd.core.stages.discounted import why_claim_discounted, why_discounted
from ckptd.core.state.job_claims import Claims, Layout
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, PathId
from ckptd.model.shards import Shard, split_shard

_NODES_NAMED: Final = 3
_NO_CLAIMS: Final[Mapping[Digest, dict[PathId, None]]] = {}


class Looked(NamedTuple):
    """What came of looking at a version.

    Attributes:
        contents: Of each shard, by number, the contents that are whole; the best first.
        lacking: Which shard is not, and why; empty: all are.
    """

    contents: dict[int, list[Digest]]
    lacking: str


def look_at(step: Step, recovery: Recovery, layout: Layout) -> Looked:
    """Look whether every shard of a version is whole; the first one that is not ends it.

    Cost: O(shards), and O(runs) of those of which no peer has all; if nobody claims one, next to
    nothing.
    """
    shards = step.state.job_claims.shards(recovery.checkpoint, layout)
    own = own_shards(recovery, layout)
    if len(shards) + len(own) < layout.shard_count:
        numbers = range(layout.shard_count)
        index = next(each for each in numbers if each not in shards and each not in own)
        return Looked({}, _why_lacking(step, recovery, layout, index))
    able = {
        peer.path: peer
        for peer in step.state.peers.values()
        if peer.is_live and not is_distrusted(step, recovery, peer)
    }
    refused = unsigned_contents(step, recovery) | step.state.refused_contents.keys()
    is_plain = not (refused or own or recovery.search.claimants)
    contents: dict[int, list[Digest]] = {}
    for index in range(layout.shard_count):
        claims = shards.get(index, _NO_CLAIMS)
        if is_plain and len(claims) == 1 and (whole := _only_content(recovery, claims, able)):
            contents[index] = whole  # as nearly all are
            continue
        if index in own:
            whole = _whole_here(step, recovery, claims, own[index], able)
        else:
            whole = _whole_at_peers(step, recovery, claims, able)
        if refused:
            whole = [digest for digest in whole if digest not in refused]
        if not whole:
            return Looked({}, _why_lacking(step, recovery, layout, index))
        contents[index] = whole
    return Looked(contents, "")


def _only_content(
    recovery: Recovery,
    claims: Mapping[Digest, dict[PathId, None]],
    able: Mapping[PathId, Peer],
) -> list[Digest]:
    """Return the one content of a shard, if a peer that counts has all of it."""
    [(digest, paths)] = claims.items()
    known = recovery.joining.known.get(digest)
    for path in paths:
        holding = able[path].holdings.get(digest) if path in able else None
        if holding is None or not holding.is_complete:
            continue
        if known is None or known.block_count == holding.block_count:
            return [digest]
    return []


def own_shards(recovery: Recovery, layout: Layout) -> dict[int, list[Holding]]:
    """Return by number which shards of a version this node has, or some blocks of them."""
    found: dict[int, list[Holding]] = {}
    withdrawn = recovery.request.withdrawn
    for holding in recovery.own:
        if holding.version != layout.version or holding.digest in withdrawn:
            continue
        split = split_shard(holding.checkpoint)
        if split is not None and (split[0], split[1].count) == (
            recovery.checkpoint, layout.shard_count,
        ):  # fmt: skip
            found.setdefault(split[1].index, []).append(holding)
    return found


def _whole_at_peers(
    step: Step,
    recovery: Recovery,
    claims: Mapping[Digest, dict[PathId, None]],
    able: Mapping[PathId, Peer],
) -> list[Digest]:
    """Return the contents of a shard that peers have all of; that of most peers first."""
    holders = [
        (digest, _holdings(step, recovery, digest, paths, able)) for digest, paths in claims.items()
    ]
    whole = [
        (-len(holdings), digest)
        for digest, holdings in holders
        if holdings and is_covered(recovery, digest, holdings)
    ]
    if len(whole) > 1:
        had = [each for each in whole if each[1] in recovery.request.had]
        whole = had if len(had) == 1 else sorted(whole)
    return [digest for _, digest in whole[: step.options.rivals.at_once_max]]


def _whole_here(
    step: Step,
    recovery: Recovery,
    claims: Mapping[Digest, dict[PathId, None]],
    own: Sequence[Holding],
    able: Mapping[PathId, Peer],
) -> list[Digest]:
    """Return the contents of a shard that peers and this node have all of together.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        claims: What peers claim of the shard.
        own: What this node has of it.
        able: The peers that count.

    Returns:
        What this node has goes before all others.
    """
    for holding in own:
        paths = claims.get(holding.digest, {})
        holdings = [holding, *_holdings(step, recovery, holding.digest, paths, able)]
        if is_covered(recovery, holding.digest, holdings):
            return [holding.digest]
    return _whole_at_peers(step, recovery, claims, able)


def _holdings(
    step: Step,
    recovery: Recovery,
    digest: Digest,
    paths: Iterable[PathId],
    able: Mapping[PathId, Peer],
) -> list[Holding]:
    """Return what peers that count have of a content, once for each node."""
    found: list[Holding] = []
    nodes: set[str] = set()
    for path in paths:
        peer = able.get(path)
        holding = None if peer is None else peer.holdings.get(digest)
        if peer is None or holding is None:
            continue
        if recovery.search.claimants and not counts(step, recovery, peer, digest):
            continue
        if peer.node not in nodes or not holding.is_complete:
            found.append(holding)
        nodes.add(peer.node)
    return found


def is_covered(recovery: Recovery, digest: Digest, holdings: Sequence[Holding]) -> bool:
    """Tell whether some holdings of a content have all its required blocks together."""
    known = recovery.joining.known.get(digest)
    if known is None:
        first = holdings[0]
        if first.is_whole:
            return True
        block_count, optional = first.block_count, BlockSet()
        for each in holdings:
            optional |= each.optional
    else:
        block_count, optional = known
    reachable = optional
    for each in holdings:
        if each.block_count == block_count and each.is_complete:
            return True
        reachable |= each.blocks
    return reachable.count_within(0, block_count) == block_count


def _why_lacking(step: Step, recovery: Recovery, layout: Layout, index: int) -> str:
    """Say which shard of a version is not whole, why, and how many others nobody claims."""
    shards = step.state.job_claims.shards(recovery.checkpoint, layout)
    shard = Shard(index, layout.shard_count)
    claims = shards.get(index)
    why = "nobody has it" if claims is None else _why_nobody(step, recovery, claims)
    others = layout.shard_count - len(shards) - (claims is None)
    more = f", and of {others} others nobody has any" if others > 0 else ""
    return f"shard {shard} is missing: {why}{more}"


def _why_nobody(step: Step, recovery: Recovery, claims: Claims) -> str:
    """Say where a shard was last, or why what is claimed of it does not count."""
    claimants = [
        (step.state.peers[path], digest)
        for digest, paths in claims.items()
        for path in paths
        if path in step.state.peers
    ]
    live = [(peer, digest) for peer, digest in claimants if peer.is_live]
    if not live:
        nodes = sorted({peer.node for peer, _ in claimants})
        named = ", ".join(nodes[:_NODES_NAMED])
        more = f" and {len(nodes) - _NODES_NAMED} more" if len(nodes) > _NODES_NAMED else ""
        verb = "does" if len(nodes) == 1 else "do"
        return f"it was last at {named}{more}, which {verb} not answer"
    reasons = {
        why_discounted(step, recovery, digest) or why_claim_discounted(step, recovery, peer, digest)
        for peer, digest in live
    } - {""}
    return "; ".join(sorted(reasons)) or "nobody has all of it"
