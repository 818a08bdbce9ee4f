"""Why a recovery went as it did. The codes are stable; sentences are for people and may change."""

from __future__ import annotations

import msgspec

from ckptd.control.messages.plans import PassedOverRow
from ckptd.model.words import Stage


class PeerPart(msgspec.Struct, frozen=True, kw_only=True):
    """What one known peer contributes to a recovery, on one of the paths to it.

    Attributes:
        node: Its node id.
        path: The node id for the first path to it, ``NODE via ADDRESS`` for each further one. Of
            a recovery whose story is not kept any more the node id, for all paths together.
        code: ``used``, or why it is not: ``slow``, ``detour``, ``not_needed``, ``outranked``,
            ``no_room``, ``busy``, ``resting``, ``quarantined``, ``questioned``,
            ``refused_blocks``, ``nothing_missing``, ``stale``, ``not_held``,
            ``not_chosen``, ``lost``. At the end of the recovery, if it has ended.
        sentence: The code as a sentence for a person.
        bytes: Verified bytes that it delivered.
        share: Its share of the bytes from all peers, from 0 to 1.
        rate_bytes_per_s: How fast it delivers; 0: not known.
        coding: ``coded: …`` or ``not coded: …``: whether its blocks are asked for in fewer bytes,
            and why; empty if none were asked for, or it is not known any more.
    """

    node: str
    path: str
    code: str
    sentence: str
    bytes: int
    share: float
    rate_bytes_per_s: int
    coding: str = ""


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a recovery.

    Attributes:
        at_s: When, in Unix time.
        after_s: Seconds since the recovery began, or since this daemon resumed it.
        kind: What happened; one of :class:`ckptd.model.words.StoryKind`.
        reason: Why; one of :class:`ckptd.model.words.StoryReason`.
        sentence: Both as a sentence for a person.
        source: The peer that it is about; ``None``: this node.
        other: The other peer that it is about, e.g. the one that was asked instead.
        blocks: The first block that it is about, and the one after the last; ``None``: it is not
            about blocks.
        numbers: The measurements behind it, by name; names end with the unit: ``_s`` seconds,
            ``_bytes`` bytes, ``_bytes_per_s`` rates; others are counts.
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
    """Why a recovery is as fast as it is, or was.

    Attributes:
        recovery: Its id.
        checkpoint: What it recovers.
        version: Which version; ``None`` if none is chosen.
        digest: Identity of that version.
        stage: How far it is, or how it ended.
        why: Why this version was chosen; empty if that is not known any more.
        passed_over: The newest other versions at the time of the choice.
        bottleneck: What limits its speed now, as in a ``RecoveryView``.
        waiting_for: Why it makes no progress; empty if it does.
        message: Why it failed; empty if it did not.
        peers: Every known peer, by the bytes that it delivered, most first.
        wasted: Bytes received but not used, by reason.
        counts: How many events of each kind happened.
        story: The last 200 events, oldest first.
        missing_units: Paths of the first units of which nobody has all, at the end or now.
        is_story_kept: ``False`` for a recovery that ended long ago or before this daemon started:
            ``peers`` has only those that delivered something, and ``story`` is empty.
        is_paused: An operator paused it.
        is_background: It uses a source only while no other recovery here could use it.
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
    missing_units: tuple[str, ...] = ()
    is_paused: bool = False
    is_background: bool = False
