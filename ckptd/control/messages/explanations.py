"""Why a recovery went as it did. The codes are stable; sentences are for people and may change."""

from __future__ import annotations

import msgspec

from ckptd.control.messages.plans import PassedOverRow
from ckptd.model.words import Stage


class PeerPart(msgspec.Struct, frozen=True, kw_only=True):
    """One known peer's part in a recovery.

    Attributes:
        node: Who.
        code: ``used``, or why it is not: ``slow``, ``detour``, ``not_needed``, ``outranked``,
            ``no_room``, ``busy``, ``resting``, ``quarantined``, ``questioned``,
            ``refused_blocks``, ``nothing_missing``, ``stale``, ``not_held``, ``lost``. At the end
            of the recovery, if it has ended.
        sentence: The same for a person.
        bytes: Verified bytes that it gave.
        share: Of all that peers gave, from 0 to 1.
        rate_bytes_per_s: How fast it delivers; 0: not known.
    """

    node: str
    code: str
    sentence: str
    bytes: int
    share: float
    rate_bytes_per_s: int


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened.

    Attributes:
        at_s: When, in Unix time.
        after_s: When, since the recovery began or this daemon went on with it.
        kind: What sort of thing; the values of :class:`ckptd.core.report.story.Kind`.
        reason: Why; the values of :class:`ckptd.core.report.story.Reason`.
        sentence: The same for a person.
        source: The peer it is about; ``None``: this node.
        other: The other peer in it: who was asked instead, who took over.
        blocks: First block it concerned, and the one behind the last; ``None``: no particular ones.
        numbers: What decided it, by name; ``_s`` are seconds, ``_bytes`` bytes,
            ``_bytes_per_s`` rates, others counts.
    """

    at_s: float
    after_s: float
    kind: str
    reason: str
    sentence: str
    source: str | None
    other: str | None
    blocks: tuple[int, int] | None
    numbers: dict[str, float]


class ExplanationView(msgspec.Struct, frozen=True, kw_only=True):
    """Why a recovery goes as it does, or went.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovers.
        version: Which version; ``None`` if none is chosen.
        digest: Identity of that version.
        stage: How far it is, or how it ended.
        why: Why this version; empty if that is not known any more.
        passed_over: The newest other versions when it was chosen.
        bottleneck: What binds it now, as in a ``RecoveryView``.
        waiting_for: Why it stands still; empty if it moves.
        message: Why it failed; empty if it did not.
        peers: Every peer that is known, those that gave most first.
        wasted: Bytes received for nothing, by reason.
        counts: How often each kind of thing happened.
        story: What happened, oldest first, at most the last 200 things.
        is_story_kept: ``False`` for a recovery that ended long ago or before this daemon started:
            ``peers`` has only those that gave something, ``story`` nothing.
    """

    recovery: str
    checkpoint: str
    version: int | None
    digest: str | None
    stage: Stage
    why: str
    passed_over: tuple[PassedOverRow, ...]
    bottleneck: str | None = msgspec.field(name="limiter")
    waiting_for: str
    message: str
    peers: tuple[PeerPart, ...]
    wasted: dict[str, int]
    counts: dict[str, int]
    story: tuple[Happening, ...]
    is_story_kept: bool = True
