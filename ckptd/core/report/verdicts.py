"""Why a recovery went as it did, and which peer had what part in it. Values; they never change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ckptd.core.report.choice import ExplainedChoice
from ckptd.core.report.story import Entry
from ckptd.model.ids import NodeId, PathId
from ckptd.model.words import StoryKind, Verdict


@dataclass(frozen=True, slots=True)
class PeerVerdict:
    """One peer's part in a recovery, on one path to it.

    Attributes:
        node: Who.
        path: On which path.
        verdict: Why it is used, or is not, at this moment.
        sentence: The same for a person.
        verified_bytes: What it brought.
        rate_bytes_per_s: How fast it delivers; 0: not known.
    """

    node: NodeId
    path: PathId
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
        peers: Every known peer, by path.
        entries: What happened, oldest first; the oldest may have fallen out.
        counts: How often each kind of thing happened, those that fell out included.
    """

    started_ns: int
    taken_ns: int
    choice: ExplainedChoice | None
    peers: tuple[PeerVerdict, ...]
    entries: tuple[Entry, ...]
    counts: Mapping[StoryKind, int]
