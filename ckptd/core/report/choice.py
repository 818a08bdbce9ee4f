"""Which version a recovery is for, and why not another. Values; they never change."""

from __future__ import annotations

from dataclasses import dataclass

from ckptd.model.ids import Digest, Version


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A version that was not chosen.

    Attributes:
        version: Which one.
        digest: Its identity.
        why: Why not, for a person.
    """

    version: Version
    digest: Digest
    why: str


@dataclass(frozen=True, slots=True)
class ExplainedChoice:
    """What :func:`choose_version` chooses, and why.

    Attributes:
        chosen: Version and digest; ``None``: nothing to choose yet.
        why: Why this one, or why none.
        passed_over: The newest others.
    """

    chosen: tuple[Version, Digest] | None
    why: str
    passed_over: tuple[PassedOver, ...]
