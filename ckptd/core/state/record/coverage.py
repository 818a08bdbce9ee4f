"""Which blocks of a recovery are here, durable, on their way, or to be asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.model.blocks import BlockSet


@dataclass(slots=True)
class Coverage:
    """Where each block stands.

    Attributes:
        unclaimed: Blocks to be ordered.
        awaited: Blocks that somebody waits for or did; they may have to come once more.
        prioritized: Those of them that are not verified; ordered before all others.
        needed: Blocks of ranges that somebody waits for and that are not verified; ordered before
            those.
        ahead: Blocks that are fetched ahead of readers, and are neither; after what is critical.
        verified: Blocks that are in staging.
        committed: Blocks that are durable and journaled.
        zeros: Those of them that consist of zeros, and were never to be asked for.
        nearby: Blocks that this node's disks have elsewhere.
        left_to_disks: Those of them that no peer is asked for.
        unchosen: Blocks that nobody asked for, or for which no room is staged yet.
        widened: Those of them that somebody asks for by now: room for them comes next.
    """

    unclaimed: BlockSet = field(default_factory=BlockSet)
    awaited: BlockSet = field(default_factory=BlockSet)
    prioritized: BlockSet = field(default_factory=BlockSet)
    needed: BlockSet = field(default_factory=BlockSet)
    ahead: BlockSet = field(default_factory=BlockSet)
    verified: BlockSet = field(default_factory=BlockSet)
    committed: BlockSet = field(default_factory=BlockSet)
    zeros: BlockSet = field(default_factory=BlockSet)
    nearby: BlockSet = field(default_factory=BlockSet)
    left_to_disks: BlockSet = field(default_factory=BlockSet)
    unchosen: BlockSet = field(default_factory=BlockSet)
    widened: BlockSet = field(default_factory=BlockSet)


@dataclass(slots=True)
class Commit:
    """What is verified and not durable yet.

    Attributes:
        committing: Blocks of the commit that is under way.
        blocks: Blocks that no commit covers yet.
        size_bytes: Length of those; what was copied on this node counts less.
        is_urgent: Somebody waits for some of those, or they make all that is critical complete.
        since_ns: When the oldest of those was verified.
        started_ns: When the commit was ordered that is under way, or was last.
        durable_ns: When its blocks were durable, and only the journal was still to be written.
        is_held_up: The last one was not possible; the next one waits until the recovery tries
            again what this node refused.
    """

    committing: BlockSet = field(default_factory=BlockSet)
    blocks: BlockSet = field(default_factory=BlockSet)
    size_bytes: int = 0
    is_urgent: bool = False
    since_ns: int | None = None
    started_ns: int = 0
    durable_ns: int | None = None
    is_held_up: bool = False
