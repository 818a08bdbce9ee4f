"""What is decided about copies: what this node fetches, gives back, and what is short."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import CopiedBecause, Criticality, GivenBackBecause, ShortBecause


@dataclass(frozen=True, slots=True)
class Pull:
    """This node is to have a version, or more of it than it has.

    It is decided again and again until its units are claimed by this node; a fetch that is no more
    decided is to be ended.

    Attributes:
        checkpoint: Of what.
        version: Which one.
        digest: Which content.
        least: The least urgent class that is to be here, with all that are more urgent. The last
            class if all required units are.
        why: What it is for.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    least: Criticality
    why: CopiedBecause


@dataclass(frozen=True, slots=True)
class GiveBack:
    """A copy of this node may go, once those that hold others confirm them.

    Attributes:
        checkpoint: Of what.
        version: Which one.
        digest: Which content.
        why: Why it is not needed.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    why: GivenBackBecause


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Of a class of a version there are fewer copies than asked, or in fewer zones than possible.

    Attributes:
        checkpoint: Of what.
        version: Which one.
        digest: Which content.
        criticality: Of which class.
        asked: How many copies there should be.
        proven: How many there are: whole, proven, on nodes that answer.
        claimed: How many are claimed by nodes that answer, with those.
        zones: In how many zones those are that are proven.
        why: What is the matter.
        nodes: Which nodes that concerns: who is lost, not audited, fetches it, is full.
        until_ns: When something else is done about it; ``None``: not by time alone.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    criticality: Criticality
    asked: int
    proven: int
    claimed: int
    zones: int
    why: ShortBecause
    nodes: tuple[NodeId, ...] = ()
    until_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """What this node does about copies now.

    Attributes:
        pulls: What it fetches, the most urgent first.
        give_back: What it gives back.
        short: What is short in the fleet, as this node sees it, whoever is to mend it.
        is_full: It is to say that it takes no more copies.
    """

    pulls: tuple[Pull, ...] = ()
    give_back: tuple[GiveBack, ...] = ()
    short: tuple[Shortfall, ...] = ()
    is_full: bool = False
