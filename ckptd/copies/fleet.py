"""What a node knows of the fleet when it decides about copies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from ckptd.copies.counts import CopyRule
from ckptd.copies.zones import Zone
from ckptd.limits import SECOND
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Criticality

GRACE_NS: Final = 600 * SECOND
"""A restart of a machine is over by then."""
FREE_SHARE: Final = 10
"""One part of so many of the disk stays free of copies."""


@dataclass(frozen=True, slots=True)
class FleetNode:
    """A node as this one sees it.

    Attributes:
        node: Which one.
        zone: Where it is, by this node's configuration or by its certificate; never by its word.
        is_live: It answers.
        lost_since_ns: Since when it does not; ``None``: it does, or never did.
        is_full: It says that it takes no more copies.
        is_blamed: It failed an audit or is not trusted, so it is not asked for copies.
    """

    node: NodeId
    zone: Zone = ()
    is_live: bool = True
    lost_since_ns: int | None = None
    is_full: bool = False
    is_blamed: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """What a node says it has of a version, whether its job placed it or it is a copy.

    Attributes:
        node: Who says so; this node's own holdings are claims, too, and proven.
        least: The least urgent class that it has: all required units of it, and of those that are
            more urgent. ``None``: not even the critical ones.
        is_proven: It is this node, or a block of it was verified within the last day.
        held_bytes: How much of it is there; while that grows, more is coming.
    """

    node: NodeId
    least: Criticality | None
    is_proven: bool
    held_bytes: int = 0


class BaseVersion(NamedTuple):
    """What a delta version stands on: an earlier version of the same name.

    Attributes:
        version: Which one.
        digest: Which content; ``None``: nobody said.
    """

    version: Version
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class FleetVersion:
    """A version that somebody has, or a rival of one.

    Attributes:
        checkpoint: Of what.
        version: Which one.
        digest: Which content.
        sizes_bytes: The bytes of the required units of each class, without those of others; a
            class that is missing here has none, and is asked for by nobody.
        claims: Who says that it has some of it; at most one claim of each node.
        base: What it is a delta on; ``None``: it is a full version.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    sizes_bytes: Mapping[Criticality, int]
    claims: tuple[Claim, ...]
    base: BaseVersion | None = None

    def size_down_to(self, least: Criticality) -> int:
        """Return how many bytes those units have that are as urgent as a class, or more."""
        return sum(size for each, size in self.sizes_bytes.items() if each <= least)

    def held_bytes(self, node: NodeId) -> int:
        """Return how much of it is on a node, by what that claims."""
        return next((each.held_bytes for each in self.claims if each.node == node), 0)


@dataclass(frozen=True, slots=True)
class OwnCopy:
    """What this node holds of a version in the root for copies.

    Attributes:
        digest: Which content.
        checkpoint: Of what.
        version: Which one.
        size_bytes: What it takes of the quota.
        is_copy: It was made because so many are asked for; what is not is never given back.
    """

    digest: Digest
    checkpoint: CheckpointName
    version: Version
    size_bytes: int
    is_copy: bool = True


@dataclass(frozen=True, slots=True)
class Room:
    """What this node has for copies.

    Attributes:
        quota_bytes: How much all of them may take.
        used_bytes: What they take now, with what was fetched of those that are not complete.
        disk_bytes: How large the disk is; 0: nothing is known of it.
        free_bytes: How much of it is free.
    """

    quota_bytes: int
    used_bytes: int = 0
    disk_bytes: int = 0
    free_bytes: int = 0

    @property
    def left_bytes(self) -> int:
        """How many bytes more may come; below 0 if there are too many already."""
        left = self.quota_bytes - self.used_bytes
        if not self.disk_bytes:
            return left
        return min(left, self.free_bytes - -(-self.disk_bytes // FREE_SHARE))


RuleOf: TypeAlias = Callable[[CheckpointName], CopyRule | None]
"""Returns what is asked for of a checkpoint; ``None``: this node does not list it."""


@dataclass(frozen=True, slots=True)
class FleetView:
    """Everything that a node decides on about copies, at one moment.

    Attributes:
        own: This node.
        rule_of: What this node asks for.
        nodes: All nodes that it knows, itself among them.
        members: Who keeps copies of a name, by each node's own word, with this node if it lists it.
        versions: All versions of listed names that anybody claims.
        room: What this node has for copies.
        own_copies: What it made.
        grace_ns: So long a lost holder counts, and a chosen one may do nothing.
        pair: How the first holder is found, see :func:`ckptd.copies.ordering.partner`; ``None``:
            as the others.
        all_asked: Every configured peer was asked once since the start; before that nothing is
            decided, because what looks missing may only not be known yet.
    """

    own: NodeId
    rule_of: RuleOf
    nodes: Mapping[NodeId, FleetNode]
    members: Mapping[CheckpointName, tuple[NodeId, ...]]
    versions: Sequence[FleetVersion]
    room: Room
    own_copies: Sequence[OwnCopy] = ()
    grace_ns: int = GRACE_NS
    pair: str | None = None
    all_asked: bool = True
