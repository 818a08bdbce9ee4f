"""The newest version of a job that is whole, and who is on the way to another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ckptd.core.events import RecoveryRequested
from ckptd.core.jobs.choosing import (
    Choice,
    announced,
    choose,
    eligible,
    explain,
    rivals_of_shard,
    why_none,
)
from ckptd.core.jobs.wholeness import look_at
from ckptd.core.report.choice import PassedOver
from ckptd.core.report.rivals import Rival
from ckptd.core.stages.version_choice import PASSED_OVER_SHOWN
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import Digest, NodeId, PathId, Version
from ckptd.model.shards import Shard


@dataclass(frozen=True, slots=True)
class DisputedShard:
    """A shard of which there are several contents.

    Attributes:
        shard: Which one.
        contents: Its contents, that of most peers first.
    """

    shard: Shard
    contents: tuple[Rival, ...]


@dataclass(frozen=True, slots=True)
class NewestOfJob:
    """What a recovery of a job would be for if it were requested now.

    Attributes:
        version: Which version; ``None``: none is whole.
        contents: Of each shard the content that it would get, by number, as peers claim.
        why: Why this version; of none what the newest ones lack.
        others: Live nodes that recover another version, by node.
        passed_over: The newest others, with the shard that each lacks.
        disputed: The first shard of which there are several contents that are whole, between which
            a person has to choose; ``None``: none.
    """

    version: Version | None
    contents: tuple[Digest, ...]
    why: str
    others: Mapping[NodeId, Version]
    passed_over: tuple[PassedOver, ...] = ()
    disputed: DisputedShard | None = None


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
    recovery.digest = Digest("")  # of a version of a job there is none
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
        _passed_over(step, recovery, choice),
        None if choice is None else _disputed(step, recovery, choice),
    )


def _passed_over(step: Step, recovery: Recovery, choice: Choice | None) -> tuple[PassedOver, ...]:
    if choice is not None:
        return explain(step, recovery, choice.layout, choice.why).passed_over
    newest = list(eligible(step, recovery))[:PASSED_OVER_SHOWN]
    return tuple(
        PassedOver(layout.version, Digest(""), look_at(step, recovery, layout).lacking)
        for layout in newest
    )


def _disputed(step: Step, recovery: Recovery, choice: Choice) -> DisputedShard | None:
    for index, contents in choice.contents.items():
        if len(contents) > 1:
            shard = Shard(index, choice.layout.shard_count)
            return DisputedShard(shard, rivals_of_shard(step, recovery, contents))
    return None
