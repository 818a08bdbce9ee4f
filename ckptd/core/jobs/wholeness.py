"""Which versions of a job are whole for all shards, by what is known here.

A shard counts as whole if all its required blocks are with live peers that are not in quarantine,
or here. What peers claim is enough to try a version; before it is taken the manifest of every shard
was fetched, and then it counts what that says of its blocks, and not what peers say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from ckptd.core.stages.claims_on_content import counts, is_distrusted
from ckptd.core.stages.discounted import why_claim_discounted, why_discounted
from ckptd.core.state.job_claims import Claims, Layout
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, PathId
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


def look_at(step: Step, recovery: Recovery, layout: Layout, *, is_reliable: bool = True) -> Looked:
    """Look whether every shard of a version is whole; the first one that is not ends it.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        layout: Which version.
        is_reliable: Claims of peers that led this recovery astray do not count.

    Cost: O(shards), and O(runs) of those of which no peer has all; if nobody claims one, next to
    nothing.
    """
    shards = step.state.job_claims.shards(recovery.checkpoint, layout)
    own = own_shards(recovery, layout)
    if len(shards) + len(own) < layout.shard_count:
        numbers = range(layout.shard_count)
        index = next(each for each in numbers if each not in shards and each not in own)
        return Looked({}, _why_lacking(step, recovery, layout, index))
    view = _View(step, recovery, is_reliable=is_reliable)
    contents: dict[int, list[Digest]] = {}
    for index in range(layout.shard_count):
        claims = shards.get(index, _NO_CLAIMS)
        whole = view.only_content(claims) if index not in own else []
        whole = whole or view.whole_contents(claims, own.get(index, ()))
        if not whole:
            return Looked({}, _why_lacking(step, recovery, layout, index))
        contents[index] = whole
    return Looked(contents, "")


def counting_peers(step: Step, recovery: Recovery, *, is_reliable: bool) -> dict[PathId, Peer]:
    """Return the live peers that are not in quarantine, by path.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        is_reliable: Only those that did not lead it astray.
    """
    return {
        peer.path: peer
        for peer in step.state.peers.values()
        if peer.is_live
        and peer.standing.quarantined_until_ns <= step.now
        and not (is_reliable and is_distrusted(step, recovery, peer))
    }


class _View:
    """What counts for a recovery at one moment.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        is_reliable: Claims of peers that led it astray do not count.
    """

    def __init__(self, step: Step, recovery: Recovery, *, is_reliable: bool) -> None:
        self._step = step
        self._recovery = recovery
        self._able = counting_peers(step, recovery, is_reliable=is_reliable)
        self._has_missed = is_reliable and bool(recovery.search.claimants)
        self._refused = step.state.refused_contents
        self._at_most = step.options.rivals.at_once_max

    def only_content(self, claims: Mapping[Digest, dict[PathId, None]]) -> list[Digest]:
        """Return the one content of a shard if a peer has all of it, as nearly always."""
        if len(claims) != 1 or self._has_missed:
            return []
        [(digest, paths)] = claims.items()
        known = self._recovery.joining.known.get(digest)
        for path in paths:
            holding = self._able[path].holdings.get(digest) if path in self._able else None
            if holding is None or not holding.is_complete or digest in self._refused:
                continue
            if known is None or known.block_count == holding.block_count:
                return [digest]
        return []

    def whole_contents(
        self, claims: Mapping[Digest, dict[PathId, None]], own: Sequence[Holding]
    ) -> list[Digest]:
        """Return the contents of a shard that are whole; that of most peers first.

        Args:
            claims: What peers claim of the shard.
            own: What this node has of it; goes before all others, with what peers have of it.
        """
        for holding in own:
            held = [holding, *self._holdings(holding.digest, claims.get(holding.digest, {}))]
            is_usable = holding.digest not in self._refused
            if is_usable and is_covered(self._recovery, holding.digest, held):
                return [holding.digest]
        holders = [(digest, self._holdings(digest, paths)) for digest, paths in claims.items()]
        whole = [
            (-len(held), digest)
            for digest, held in holders
            if held and digest not in self._refused and is_covered(self._recovery, digest, held)
        ]
        if len(whole) > 1:
            had = [each for each in whole if each[1] in self._recovery.request.had]
            whole = had if len(had) == 1 else sorted(whole)
        return [digest for _, digest in whole[: self._at_most]]

    def _holdings(self, digest: Digest, paths: Iterable[PathId]) -> list[Holding]:
        """Return what peers that count have of a content, once for each node."""
        found: list[Holding] = []
        nodes: set[str] = set()
        for path in paths:
            peer = self._able.get(path)
            holding = None if peer is None else peer.holdings.get(digest)
            if peer is None or holding is None:
                continue
            if self._has_missed and not counts(self._step, self._recovery, peer, digest):
                continue
            if peer.node not in nodes or not holding.is_complete:
                found.append(holding)
            nodes.add(peer.node)
        return found


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


def named(nodes: Iterable[NodeId]) -> str:
    """Name the first of some nodes, and say how many others there are."""
    names = sorted(set(nodes))
    some, more = ", ".join(names[:_NODES_NAMED]), len(names) - _NODES_NAMED
    return f"{some} and {more} more" if more > 0 else some


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
        nodes = {peer.node for peer, _ in claimants}
        verb = "does" if len(nodes) == 1 else "do"
        return f"it was last at {named(nodes)}, which {verb} not answer"
    reasons = {
        why_discounted(step, recovery, digest) or why_claim_discounted(step, recovery, peer, digest)
        for peer, digest in live
    } - {""}
    return "; ".join(sorted(reasons)) or "nobody has all of it"
