"""What a fleet begins with and what goes wrong in it, as values.

Coarse on purpose: a version is so many bytes of each criticality, a transfer is bytes over a rate,
and what a node says arrives elsewhere after a while. Which copies are made and given back is
decided by :class:`ckptd.copies.deciding.Decider`, one for each node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Final

from ckptd.copies.counts import CopyCounts
from ckptd.copies.zones import Zone
from ckptd.limits import MS, SECOND
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import Criticality

MINUTE: Final = 60 * SECOND


class Lie(Enum):
    """How a node lies."""

    CLAIMS = auto()
    """It says that it has all that it hears of, and has nothing."""
    DROPS = auto()
    """It fetches and proves its copies, removes them soon, and goes on to claim them."""
    ZONE = auto()
    """It has its copies, and says that it stands in another zone."""


@dataclass(frozen=True, slots=True)
class MemberPlan:
    """A node.

    Attributes:
        node: Its id.
        zone: Where it stands.
        known_zone: Where the others' configuration and its certificate say it stands.
        lists: Patterns of the names of which it keeps copies.
        quota_bytes: Most bytes of copies.
        disk_bytes: Of the disk that they lie on, with what jobs save there.
        rate_bytes_per_s: What it can send, and as much can it receive.
        joins_at_ns: When it is there for the first time.
        lie: How it lies.
    """

    node: NodeId
    zone: Zone
    known_zone: Zone
    lists: tuple[str, ...]
    quota_bytes: int
    disk_bytes: int
    rate_bytes_per_s: int
    joins_at_ns: int = 0
    lie: Lie | None = None


@dataclass(frozen=True, slots=True)
class SavePlan:
    """What saves one checkpoint, on one node or the same on several.

    Attributes:
        checkpoint: Its name; a shard of a job has one of its own.
        writers: Nodes that save the same.
        sizes: Bytes of a version, by criticality.
        first_ns: When the first version is on offer.
        every_ns: How long after that the next one is.
        count: So many versions.
        kept: So many versions the job keeps; it removes older ones itself.
    """

    checkpoint: CheckpointName
    writers: tuple[NodeId, ...]
    sizes: Mapping[Criticality, int]
    first_ns: int
    every_ns: int
    count: int
    kept: int


class MishapKind(Enum):
    """What goes wrong."""

    LOSE = auto()
    """Nodes are away; what they have is there when they return."""
    WIPE = auto()
    """Nodes are away, and return with nothing."""
    DIE = auto()
    """Nodes never return."""
    SPLIT = auto()
    """Nodes reach each other and nobody else."""
    RESTART = auto()
    """Daemons start again and have forgotten what was in memory."""
    ROT = auto()
    """All files of copies are removed while their daemon lives, which notices."""


@dataclass(frozen=True, slots=True)
class Mishap:
    """Something that goes wrong.

    Attributes:
        kind: What.
        nodes: With whom.
        at_ns: When.
        for_ns: How long.
    """

    kind: MishapKind
    nodes: tuple[NodeId, ...]
    at_ns: int
    for_ns: int = 0


@dataclass(frozen=True, slots=True)
class Paces:
    """How fast things are known. Audits and what they prove last minutes here, not hours.

    Attributes:
        look_ns: How often a node decides if something changed.
        look_anyway_ns: … and if nothing did.
        heard_ns: What a node says arrives elsewhere within these two times …
        lost_ns: … and that it is away.
        audit_ns: So often a node may audit.
        audited_again_ns: A claim is audited again after this.
        proven_ns: So long an audit proves a claim.
        asked_ns: How long it takes to ask holders before something is removed.
    """

    look_ns: int = 5 * SECOND
    look_anyway_ns: int = 60 * SECOND
    heard_ns: tuple[int, int] = (50 * MS, 10 * SECOND)
    lost_ns: tuple[int, int] = (1 * SECOND, 25 * SECOND)
    audit_ns: int = 1 * SECOND
    audited_again_ns: int = 12 * MINUTE
    proven_ns: int = 16 * MINUTE
    asked_ns: tuple[int, int] = (200 * MS, 3 * SECOND)


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """A fleet.

    Attributes:
        seed: Decides everything that is left to chance.
        counts: How many copies, by criticality.
        keep: So many newest versions of each name.
        grace_ns: So long a lost holder still counts.
        pair: Which member is to be first: ``+n/2``; empty: whom the order says.
        members: All nodes.
        saves: All that saves.
        mishaps: What goes wrong.
        ends_at_ns: When it is looked at; nothing goes wrong for a while before.
        paces: How fast things are known.
    """

    seed: int
    counts: CopyCounts
    keep: int
    grace_ns: int
    pair: str
    members: tuple[MemberPlan, ...]
    saves: tuple[SavePlan, ...]
    mishaps: tuple[Mishap, ...]
    ends_at_ns: int
    paces: Paces = field(default_factory=Paces)
