"""What became of the claims to other contents of the version that a recovery is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ckptd.core.report.rivals import Rival
from ckptd.model.ids import Digest, Epoch, PathId

Claim: TypeAlias = tuple[PathId, Epoch, Digest]
"""That a node, in one life of it, has a digest."""


@dataclass(frozen=True, slots=True)
class Examined:
    """A content that a holder was seen to have.

    Attributes:
        size_bytes: Length of the version.
        signers: Trusted keys that signed it.
        is_trusted: One of them may sign this checkpoint.
    """

    size_bytes: int
    signers: tuple[str, ...] = ()
    is_trusted: bool = False


@dataclass(slots=True)
class Rivalry:
    """The contents that go by one version, and the claims to them; each is examined once.

    Attributes:
        asked: Claims that are being examined, by source and content: in which life of it.
        genuine: Contents that somebody was seen to have.
        rejected: Claims that do not count: what came was wrong.
        unanswered: Claims that could not be examined, and how often that was tried.
        unusable: Contents that nobody could recover.
        late_at_ns: What could not be seen by this moment of the version does not count any more.
        listed: The contents among which nobody has chosen yet.
    """

    asked: dict[tuple[PathId, Digest], Epoch] = field(default_factory=dict)
    genuine: dict[Digest, Examined] = field(default_factory=dict)
    rejected: set[Claim] = field(default_factory=set)
    unanswered: dict[Claim, int] = field(default_factory=dict)
    unusable: set[Digest] = field(default_factory=set)
    late_at_ns: int | None = None
    listed: tuple[Rival, ...] = ()
