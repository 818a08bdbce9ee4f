"""Why a recovery went as it did, and which peer had what part in it. Values; they never change."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from ckptd.core.report.story import Entry, Kind
from ckptd.core.stages.version_choice import ExplainedChoice
from ckptd.model.ids import NodeId


class Verdict(enum.Enum):
    """Why a peer is used, or is not. The values are stable: scripts rely on them."""

    USED = "used"
    """It delivers, or did and may be asked again."""
    SLOW = "slow"
    """Its work was taken over by a faster source."""
    DETOUR = "detour"
    """It would hold up the end: others are done with everything sooner."""
    NOT_NEEDED = "not_needed"
    """It could have been asked; others were sooner."""
    OUTRANKED = "outranked"
    """It has more urgent work of another recovery."""
    NO_ROOM = "no_room"
    """It has as much to do as it may be given."""
    BUSY = "busy"
    """It asked to be left alone for a while."""
    RESTING = "resting"
    """It disappointed and is left alone for a while."""
    QUARANTINED = "quarantined"
    """It is not trusted."""
    QUESTIONED = "questioned"
    """It sent bad blocks and is being asked whether it stands by them."""
    REFUSED_BLOCKS = "refused_blocks"
    """All it could bring of what is missing it sent wrongly before."""
    NOTHING_MISSING = "nothing_missing"
    """It holds nothing that is still missing and not asked for."""
    STALE = "stale"
    """It held the version, and does not any more."""
    NOT_HELD = "not_held"
    """It does not hold the version."""
    LOST = "lost"
    """It does not answer."""


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """One peer's part in a recovery.

    Attributes:
        node: Who.
        verdict: Why it is used, or is not, at this moment.
        sentence: The same for a person.
        verified_bytes: What it brought.
        rate_bytes_per_s: How fast it delivers; 0: not known.
    """

    node: NodeId
    verdict: Verdict
    sentence: str
    verified_bytes: int
    rate_bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a recovery went as it did, so far.

    Attributes:
        started_ns: When the recovery began, or this daemon went on with it.
        taken_ns: The moment it was taken.
        choice: Why this version; ``None``: none is chosen, or an earlier life of the daemon did.
        peers: Every known peer, by name.
        entries: What happened, oldest first; the oldest may have fallen out.
        counts: How often each kind of thing happened, those that fell out included.
    """

    started_ns: int
    taken_ns: int
    choice: ExplainedChoice | None
    peers: tuple[PeerVerdict, ...]
    entries: tuple[Entry, ...]
    counts: Mapping[Kind, int]
