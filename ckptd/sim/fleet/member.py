"""A node of a fleet: what lies there, and what it knows of the others.

Who changes it is :mod:`ckptd.sim.fleet.fleet`; what it decides follows from what it knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final, NamedTuple

from ckptd.copies.deciding import Decider
from ckptd.model.ids import CheckpointName, Digest, NodeId, Version
from ckptd.model.words import Criticality
from ckptd.sim.fleet.plan import Lie, MemberPlan

FREE_MIN: Final = 0.10
"""Less of a disk than this is not filled with copies."""


class Saved(NamedTuple):
    """A version.

    Attributes:
        checkpoint: Its name.
        version: Its number.
        digest: Its identity.
        sizes: Bytes by criticality.
    """

    checkpoint: CheckpointName
    version: Version
    digest: Digest
    sizes: Mapping[Criticality, int]

    def up_to(self, least: Criticality | None) -> int:
        """Return the bytes of all classes from the most urgent to this one."""
        if least is None:
            return 0
        return sum(size for each, size in self.sizes.items() if each <= least)

    @property
    def text(self) -> str:
        """The version as a person writes it."""
        return f"{self.checkpoint}@{self.version}"


class Held(NamedTuple):
    """What lies on a node of a version.

    Attributes:
        saved: Of which.
        least: The least urgent class that is here; ``None``: it is on the way.
        is_copy: It was brought here by policy; a job did not save it.
    """

    saved: Saved
    least: Criticality | None
    is_copy: bool


class Said(NamedTuple):
    """What a node says.

    Attributes:
        claims: Which class of which version is the least urgent that it has.
        coming: Bytes that it has by now of what it fetches.
        keeps: Patterns of names of which it keeps copies.
        is_full: It has no room.
    """

    claims: Mapping[Digest, Criticality | None]
    coming: Mapping[Digest, int]
    keeps: tuple[str, ...]
    is_full: bool

    def held_bytes(self, saved: Saved) -> int:
        """Return how many bytes it says that it has of a version."""
        return self.coming.get(saved.digest, saved.up_to(self.claims.get(saved.digest)))


@dataclass(slots=True)
class Heard:
    """What a node heard of another.

    Attributes:
        said: Last.
        lost_since_ns: When it noticed that the other is away.
    """

    said: Said
    lost_since_ns: int | None = None


class Proof(NamedTuple):
    """How an audit ended.

    Attributes:
        at_ns: When it was.
        is_right: The block was.
        held_bytes: So much was claimed; who claims more has shown nothing of that.
    """

    at_ns: int
    is_right: bool
    held_bytes: int


@dataclass(slots=True)
class Pulling:
    """A copy that is on its way.

    Attributes:
        saved: Of what.
        least: Down to which class.
        wanted: Bytes that are to come, by class, the most urgent first.
        life: In which life of the daemon it goes on.
        is_begun: Something of it came.
    """

    saved: Saved
    least: Criticality
    wanted: dict[Criticality, int]
    life: int = 0
    is_begun: bool = False

    @property
    def bytes_left(self) -> int:
        """What is to come."""
        return sum(self.wanted.values())


@dataclass(slots=True)
class Member:
    """A node.

    Attributes:
        plan: What it begins with.
        is_up: Its daemon runs.
        life: Which one.
        shelf: What lies here, by digest.
        off_offer: What it does not offer, because it may be given back.
        pulls: Copies on their way.
        uploads: Transfers that it serves.
        heard: What it heard of others.
        unasked: Whom it did not ask since it started.
        proofs: How its audits ended.
        distrusted: Who sent bad blocks, until when.
        pretended: What it removed and goes on to claim.
        decider: Decides, and remembers since when who was chosen.
        is_full: It says that it takes no more copies.
        is_look_planned: It will decide.
        looks_due: So often it will.
        looked_ns: When it decided last.
    """

    plan: MemberPlan
    is_up: bool = False
    life: int = 0
    shelf: dict[Digest, Held] = field(default_factory=dict)
    off_offer: dict[Digest, None] = field(default_factory=dict)
    pulls: dict[Digest, Pulling] = field(default_factory=dict)
    uploads: int = 0
    heard: dict[NodeId, Heard] = field(default_factory=dict)
    unasked: dict[NodeId, None] = field(default_factory=dict)
    proofs: dict[tuple[NodeId, Digest], Proof] = field(default_factory=dict)
    distrusted: dict[NodeId, int] = field(default_factory=dict)
    pretended: dict[Digest, Criticality] = field(default_factory=dict)
    decider: Decider = field(default_factory=Decider)
    is_full: bool = False
    is_look_planned: bool = False
    looks_due: int = 0
    looked_ns: int = 0

    @property
    def node(self) -> NodeId:
        """Its id."""
        return self.plan.node

    def lists(self, name: str) -> bool:
        """Return whether it keeps copies of a checkpoint."""
        return matches(self.plan.lists, name)

    @property
    def copy_bytes(self) -> int:
        """Bytes of copies, with those that are on their way."""
        here = sum(each.saved.up_to(each.least) for each in self.shelf.values() if each.is_copy)
        return here + sum(pull.bytes_left for pull in self.pulls.values())

    @property
    def free_bytes(self) -> int:
        """What is free on its disk once all that is on its way is here."""
        own = sum(each.saved.up_to(each.least) for each in self.shelf.values() if not each.is_copy)
        return self.plan.disk_bytes - own - self.copy_bytes

    def has(self, digest: Digest, least: Criticality | None) -> bool:
        """Return whether a class of a version, and all before it, really lie here."""
        held = self.shelf.get(digest)
        if held is None or held.least is None or digest in self.off_offer:
            return False
        return least is None or held.least >= least

    def said(self, known: Iterable[Saved]) -> Said:
        """Return what it says, true or not."""
        claims = self.own_claims()
        if self.plan.lie is Lie.CLAIMS:
            listed = (each.digest for each in known if self.lists(each.checkpoint))
            claims |= dict.fromkeys(listed, Criticality.DEFERRED)
        for digest in self.off_offer:
            claims.pop(digest, None)
        return Said(claims, self.coming(), self.plan.lists, self.is_full)

    def own_claims(self) -> dict[Digest, Criticality | None]:
        """Return what is here, on offer or not, and what is being fetched."""
        claims = {digest: held.least for digest, held in self.shelf.items()}
        claims.update((digest, claims.get(digest)) for digest in self.pulls)
        claims.update(self.pretended)
        return claims

    def coming(self) -> dict[Digest, int]:
        """Return how many bytes are here of what is being fetched."""
        return {
            digest: pull.saved.up_to(pull.least) - pull.bytes_left
            for digest, pull in self.pulls.items()
        }


@lru_cache(maxsize=4096)
def matches(patterns: tuple[str, ...], name: str) -> bool:
    """Return whether one of some patterns matches a name; ``*`` matches ``/`` too."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
