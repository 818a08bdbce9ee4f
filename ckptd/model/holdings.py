"""Holdings: what a node says it has, and how that changes.

Somebody who follows a node keeps its :class:`Holdings` and takes in one :class:`HoldingsDelta`
after another. Both ends use the two functions here: ``apply_delta(old, delta_between(old, new))``
has what ``new`` has.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ckptd.errors import ProtocolViolation
from ckptd.limits import HOLDING_RUNS_MAX, HOLDINGS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Epoch, NodeId, Version

JobVersion: TypeAlias = tuple[CheckpointName, Version]
"""A version of a job."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a node has of one manifest.

    Attributes:
        checkpoint: Name of the checkpoint.
        version: Which version of it.
        digest: Identity of the manifest.
        size_bytes: Length of the whole version.
        block_count: Blocks of the whole version.
        blocks: Which of them the node can serve, verified.
        optional: Blocks of optional units, without which the version is whole; those that the
            node named. Whoever does not hold the manifest takes its word for it.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    size_bytes: int
    block_count: int
    blocks: BlockSet
    optional: BlockSet = field(default_factory=BlockSet)

    @property
    def is_complete(self) -> bool:
        """Every block is there."""
        return len(self.blocks) == self.block_count

    @property
    def is_whole(self) -> bool:
        """Every block of a required unit is there."""
        return self.is_complete or len(self.blocks | self.optional) == self.block_count

    @property
    def is_growing(self) -> bool:
        """Its node is on the way to have more of it, as far as is known."""
        return not self.is_complete


@dataclass(frozen=True, slots=True)
class JoinedHolding(Holding):
    """What a node has of a version that is joined of shards.

    Nobody has more than the shards that he has, so what is not complete need not grow.

    Attributes:
        is_in_part: It has some blocks of a shard, and not all.
    """

    is_in_part: bool = False

    @property
    def is_growing(self) -> bool:
        """Its node is on the way to have more of a shard."""
        return self.is_in_part and not self.is_complete


@dataclass(frozen=True, slots=True)
class Holdings:
    """Everything a node says it has, at one moment.

    Attributes:
        node: Who says it.
        epoch: Which life of that node.
        revision: Grows with every change within one epoch.
        holdings: One for each manifest, in no particular order.
        recovering: The versions of jobs that it recovers, so that others take the same.
        placed: The versions of jobs that it placed last, so that others learn if theirs differ.
        keeps: Patterns of the names of which it keeps copies.
        is_full: It takes no more copies than it has.
    """

    node: NodeId
    epoch: Epoch
    revision: int
    holdings: tuple[Holding, ...]
    recovering: tuple[JobVersion, ...] = ()
    placed: tuple[JobVersion, ...] = ()
    keeps: tuple[str, ...] = ()
    is_full: bool = False


@dataclass(frozen=True, slots=True)
class HoldingsDelta:
    """What changed in a node's holdings between two revisions of one epoch.

    Attributes:
        node: Who says it.
        epoch: Which life of that node.
        since: The revision that it changes.
        revision: The revision that it leads to.
        changed: Holdings that are new or are not what they were.
        grown: Holdings that have more than before; ``blocks`` are those that came.
        gone: Manifests of which the node has nothing any more.
        recovering: What it recovers by now, not only what changed of it.
        placed: Likewise, what it placed last.
        keeps: Likewise, of which names it keeps copies.
        is_full: Likewise, whether it takes no more of them.
    """

    node: NodeId
    epoch: Epoch
    since: int
    revision: int
    changed: tuple[Holding, ...]
    grown: tuple[Holding, ...]
    gone: tuple[Digest, ...]
    recovering: tuple[JobVersion, ...] = ()
    placed: tuple[JobVersion, ...] = ()
    keeps: tuple[str, ...] = ()
    is_full: bool = False


def run_count(holdings: Iterable[Holding]) -> int:
    """Return how many runs of blocks must be listed; a complete holding needs none."""
    return sum(
        each.blocks.run_count + each.optional.run_count for each in holdings if not each.is_complete
    )


def delta_between(old: Holdings, new: Holdings) -> HoldingsDelta:
    """Return what changed.

    Args:
        old: What a node said at an earlier moment.
        new: What it says in the same epoch at a later one.

    Cost: O(holdings), and O(runs) for those that changed.
    """
    before = {each.digest: each for each in old.holdings}
    changed: list[Holding] = []
    grown: list[Holding] = []
    for each in new.holdings:
        known = before.pop(each.digest, None)
        if known == each:
            continue
        growth = _growth(known, each) if known else None
        if growth:
            grown.append(growth)
        else:
            changed.append(each)
    return HoldingsDelta(
        node=new.node,
        epoch=new.epoch,
        since=old.revision,
        revision=new.revision,
        changed=tuple(changed),
        grown=tuple(grown),
        gone=tuple(before),
        recovering=new.recovering,
        placed=new.placed,
        keeps=new.keeps,
        is_full=new.is_full,
    )


def _growth(old: Holding, new: Holding) -> Holding | None:
    """Return what came, if nothing went and that is the shorter thing to say."""
    if new.is_complete or not _is_of_one_version(old, new):
        return None
    added = new.blocks - old.blocks
    is_shorter = added.run_count < new.blocks.run_count
    is_growth = len(added) == len(new.blocks) - len(old.blocks)
    return replace(new, blocks=added) if is_shorter and is_growth else None


def _is_of_one_version(one: Holding, other: Holding) -> bool:
    return one == replace(other, blocks=one.blocks)


def apply_delta(holdings: Holdings, delta: HoldingsDelta) -> Holdings:
    """Return what a node has by now.

    Args:
        holdings: What it had, as known here.
        delta: What it says has changed since.

    Raises:
        ProtocolViolation: The delta is about something else than what is known here, or leads
            to more than a node may hold. The whole is to be asked for.

    Cost: as for :func:`delta_between`.
    """
    if (delta.node, delta.epoch, delta.since) != (
        holdings.node,
        holdings.epoch,
        holdings.revision,
    ):
        raise _misfit(f"changes revision {delta.since} of another state")
    after = {each.digest: each for each in holdings.holdings}
    for digest in delta.gone:
        if after.pop(digest, None) is None:
            raise _misfit(f"takes away {digest}, which was not there")
    for each in delta.grown:
        known = after.get(each.digest)
        if known is None or not _is_of_one_version(known, each):
            raise _misfit(f"adds to {each.digest}, which was not there")
        after[each.digest] = replace(known, blocks=known.blocks | each.blocks)
    after.update((each.digest, each) for each in delta.changed)
    if len(after) > HOLDINGS_MAX or run_count(after.values()) > HOLDING_RUNS_MAX:
        raise _misfit("leads to more than a node may hold")
    return replace(
        holdings,
        revision=delta.revision,
        holdings=tuple(after.values()),
        recovering=delta.recovering,
        placed=delta.placed,
        keeps=delta.keeps,
        is_full=delta.is_full,
    )


def _misfit(problem: str) -> ProtocolViolation:
    return ProtocolViolation("holdings delta", problem)
