"""The newest version of a job that is whole, and who is on the way to another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ckptd.core.events import RecoveryRequested
from ckptd.core.jobs.choosing import announced, choose, why_none
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest, NodeId, PathId, Version


@dataclass(frozen=True, slots=True)
class NewestOfJob:
    """What a recovery of a job would be for if it were requested now.

    Attributes:
        version: Which version; ``None``: none is whole.
        contents: Of each shard the content that it would get, by number, as peers claim.
        why: Why this version; of none what the newest ones lack.
        others: Live nodes that recover another version, by node.
    """

    version: Version | None
    contents: tuple[Digest, ...]
    why: str
    others: Mapping[NodeId, Version]


def newest_of(
    step: Step, request: RecoveryRequested, refused: Collection[tuple[PathId, Digest]]
) -> NewestOfJob:
    """Choose a version of a job, and order nothing.

    Args:
        step: What is known, and the moment.
        request: What would be requested.
        refused: Claims that count for nothing: who made them did not deliver the manifest.
    """
    recovery = Recovery(request, sequence=0, started_ns=step.now)
    for path, digest in refused:
        peer = step.state.peers.get(path)
        if peer is not None:
            recovery.search.claimant(peer.origin).unsuited.add(digest)
    choice = choose(step, recovery)
    version = None if choice is None else choice.layout.version
    here = {
        each.version
        for each in step.state.recoveries.values()
        if each.checkpoint == request.checkpoint and each.version is not None
    }
    under_way = announced(step.state, request.checkpoint, now=step.now)
    return NewestOfJob(
        version,
        () if choice is None else tuple(whole[0] for _, whole in sorted(choice.contents.items())),
        why_none(step, recovery) if choice is None else choice.why,
        {node: other for other, nodes in under_way.items() if other != version for node in nodes}
        | {NodeId("this node"): other for other in here if other != version},
    )
