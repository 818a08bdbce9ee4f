"""What a peer sent wrongly: which block, when, and what it said when it was asked."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.words import Confirmation

EVIDENCE_MAX: Final = 50
"""How many of a peer's bad blocks are kept in full; the rest is counted."""


@dataclass(frozen=True, slots=True)
class BadBlock:
    """One block whose digest was wrong. It came from one peer only, which is to blame.

    Attributes:
        at_ns: When it came.
        checkpoint: What it is part of.
        version: Which version of that.
        digest: The version's identity.
        unit: Path of its unit.
        block: Which block of the unit, from 0.
        recovery: What it was fetched for.
        answer: What the peer said when asked whether it stands by its holding. One that was
            restarted before it could say anything gave no answer.
    """

    at_ns: int
    checkpoint: CheckpointName
    version: Version
    digest: Digest
    unit: str
    block: int
    recovery: RecoveryId
    answer: Confirmation = Confirmation.PENDING


@dataclass(slots=True)
class Evidence:
    """A peer's bad blocks, over all its lives.

    Attributes:
        bad_block_count: How many there were.
        last: The last of them, oldest first.
    """

    bad_block_count: int = 0
    last: deque[BadBlock] = field(default_factory=lambda: deque(maxlen=EVIDENCE_MAX))

    def note(self, bad: BadBlock) -> None:
        """Take in another one."""
        self.bad_block_count += 1
        self.last.append(bad)

    def settle(self, answer: Confirmation, digest: Digest | None = None) -> None:
        """Note what the peer said of the blocks of a version, or of all, it was asked about."""
        for index, bad in enumerate(self.last):
            if bad.answer is Confirmation.PENDING and digest in {None, bad.digest}:
                self.last[index] = replace(bad, answer=answer)
