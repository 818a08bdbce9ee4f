"""Which version of a job a recovery is for: the same on all nodes that reach each other.

A node that recovers a job says so to its peers. Of the versions that live peers recover and that
are whole here the newest is taken; if nobody recovers one, the newest that is whole. So it depends
only on what is known, and who begins later takes what others began with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ckptd.core.jobs.wholeness import look_at, named
from ckptd.core.report.choice import ExplainedChoice, PassedOver
from ckptd.core.report.rivals import Rival
from ckptd.core.stages.version_choice import PASSED_OVER_SHOWN
from ckptd.core.state.job_claims import Layout
from ckptd.core.state.knowledge import State
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.shards import split_shard

_NO_DIGEST: Final = Digest("")
"""A version of a job has none: each of its shards has one."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A version that is whole as is claimed.

    Attributes:
        layout: Which version.
        contents: Of each shard, by number, the contents that are whole.
        why: Why this one, for a person.
        is_reliable: It is so by peers that did not lead the recovery astray.
    """

    layout: Layout
    contents: dict[int, list[Digest]]
    why: str
    is_reliable: bool = True


def announced(state: State, job: CheckpointName, *, now: int) -> dict[Version, list[NodeId]]:
    """Return which versions of a job live peers recover that are not in quarantine, and who."""
    found: dict[Version, list[NodeId]] = {}
    for peer in state.peers.values():
        if peer.recovering and peer.is_live and peer.standing.quarantined_until_ns <= now:
            for name, version in peer.recovering:
                if name == job:
                    found.setdefault(version, []).append(peer.node)
    return found


def eligible(step: Step, recovery: Recovery) -> Iterator[Layout]:
    """Yield the versions that a recovery may be for if they are whole, the newest first."""
    request = recovery.request
    assert request.job is not None, f"{recovery.id} is for no job"
    wanted, not_below = recovery.wanted_version, request.not_below
    shards, count = request.job.shards, request.job.count
    layouts = set(step.state.job_claims.layouts(recovery.checkpoint)) | _own_layouts(recovery)
    for layout in sorted(layouts, key=lambda each: (-each.version, each.shard_count)):
        if wanted not in {None, layout.version}:
            continue
        if count not in {None, layout.shard_count}:
            continue
        if shards and max(shards) >= layout.shard_count:
            continue
        if wanted is None and not_below is not None and layout.version < not_below:
            continue
        yield layout


def choose(step: Step, recovery: Recovery) -> Choice | None:
    """Choose a version by what is claimed; ``None``: none is whole.

    Claims of peers that led this recovery astray count only where nothing else does.

    Cost: O(shards) for each version that is whole, or as far as its first shard that is not.
    """
    others = announced(step.state, recovery.checkpoint, now=step.now)
    layouts = list(eligible(step, recovery))
    if recovery.wanted_version is None and others:
        layouts.sort(key=lambda each: each.version not in others)  # stable: the newest first
    for is_reliable in (True, False) if recovery.search.claimants else (True,):
        for layout in layouts:
            if is_failed(step, recovery, layout):
                continue
            looked = look_at(step, recovery, layout, is_reliable=is_reliable)
            if not looked.lacking:
                why = _why(recovery, layout, others.get(layout.version, []))
                return Choice(layout, looked.contents, why, is_reliable)
    return None


def rivals_of_shard(
    step: Step, recovery: Recovery, contents: Iterable[Digest]
) -> tuple[Rival, ...]:
    """Return the contents of a shard as what a person chooses from."""
    found = []
    for digest in contents:
        holders = [
            peer for peer in step.state.peers.values() if peer.is_live and digest in peer.holdings
        ]
        sizes = (peer.holdings[digest].size_bytes for peer in holders)
        nodes = tuple(sorted({peer.node for peer in holders}))
        is_own = digest in recovery.request.had
        found.append(Rival(digest, max(sizes, default=0), nodes, is_own=is_own))
    return tuple(found)


def is_failed(step: Step, recovery: Recovery, layout: Layout) -> bool:
    """Tell whether a version was not whole when it was tried, just now."""
    failed = recovery.joining.failed.get(layout)
    if failed is None or step.now >= failed.until_ns:
        return False
    return failed.returns == step.state.job_claims.returns


def explain(step: Step, recovery: Recovery, layout: Layout, why: str) -> ExplainedChoice:
    """Say why a version was chosen, and which shard of newer ones is missing.

    Args:
        step: The event being handled.
        recovery: For which recovery.
        layout: Which version was chosen.
        why: Why.
    """
    others = [
        each for each in step.state.job_claims.layouts(recovery.checkpoint) if each != layout
    ][:PASSED_OVER_SHOWN]
    passed_over = tuple(
        PassedOver(other.version, _NO_DIGEST, _why_not(step, recovery, other, layout, why))
        for other in others
    )
    return ExplainedChoice((layout.version, recovery.chosen_digest), why, passed_over)


def why_none(step: Step, recovery: Recovery) -> str:
    """Say what the newest versions lack that could be chosen else; empty: there are none."""
    reasons = (
        f"{layout} lacks one: {_why_lacking(step, recovery, layout)}"
        for layout in list(eligible(step, recovery))[:2]
    )
    return "; ".join(reasons)


def why_with_others(layout: Layout, nodes: Iterable[NodeId]) -> str:
    """Say why a version is chosen that is whole and that some nodes recover already."""
    return f"whole for all {layout.shard_count} shards, and {named(nodes)} recovers it"


def _own_layouts(recovery: Recovery) -> set[Layout]:
    """Return the versions of which this node has any shard."""
    found: set[Layout] = set()
    for holding in recovery.own:
        split = split_shard(holding.checkpoint)
        if split is not None and split[0] == recovery.checkpoint:
            found.add(Layout(holding.version, split[1].count))
    return found


def _why(recovery: Recovery, layout: Layout, nodes: list[NodeId]) -> str:
    if recovery.wanted_version is not None:
        return "named"
    if not nodes:
        return f"newest that is whole for all {layout.shard_count} shards"
    return why_with_others(layout, nodes)


def _why_not(step: Step, recovery: Recovery, other: Layout, chosen: Layout, why: str) -> str:
    """Say why a version was not chosen."""
    if recovery.wanted_version not in {None, other.version}:
        return "not the one that was named"
    if other.version < chosen.version:
        return "older"
    shards = recovery.request.job.shards if recovery.request.job else None
    if shards and max(shards) >= other.shard_count:
        return f"it has only {other.shard_count} shards"
    lacking = _why_lacking(step, recovery, other)
    return lacking or (
        f"chosen was the one that is {why}"
        if other.version > chosen.version
        else "another layout of the same version"
    )


def _why_lacking(step: Step, recovery: Recovery, layout: Layout) -> str:
    failed = recovery.joining.failed.get(layout)
    return look_at(step, recovery, layout).lacking or (failed.why if failed else "")
