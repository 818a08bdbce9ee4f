"""What happened to a recovery that was out of the ordinary, so that people can ask why.

Nothing is told of an ordinary range: a story costs nothing while all is well. It is bounded;
what falls out at its far end is still counted.
"""

from __future__ import annotations

import enum
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.core.stages.version_choice import ExplainedChoice
from ckptd.limits import PEERS_MAX, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import NodeId
from ckptd.model.quantities import format_duration, format_rate, format_size

ENTRIES_MAX: Final = 200
"""Entries that a story keeps. A recovery that needs more has a trouble that repeats itself."""


class Kind(enum.Enum):
    """What sort of thing happened. The values are stable: scripts rely on them."""

    VERSION_CHOSEN = "version_chosen"
    HEDGE = "hedge"
    HEDGE_SETTLED = "hedge_settled"
    STEAL = "steal"
    PREEMPTED = "preempted"
    OUTRANKED = "outranked"
    DETOUR = "detour"
    MANIFEST_LATE = "manifest_late"
    LANE_LATE = "lane_late"
    LANES_TRIED = "lanes_tried"
    BACK_OFF = "back_off"
    QUARANTINE = "quarantine"
    BAD_BLOCKS = "bad_blocks"
    WITHDRAWN = "withdrawn"
    EPOCH_CHANGED = "epoch_changed"
    SOURCE_LOST = "source_lost"
    DISK_STUMBLED = "disk_stumbled"
    CRITICAL_COMPLETE = "critical_complete"
    STANDSTILL = "standstill"
    STANDSTILL_ENDED = "standstill_ended"


class Reason(enum.Enum):
    """Why it happened. The values are stable: scripts rely on them."""

    NEWEST = "newest"
    NAMED = "named"
    RESUMED = "resumed"
    SILENT = "silent"
    FIRST_BYTE_LATE = "first_byte_late"
    OVERTAKEN = "overtaken"
    OUTRANKED = "outranked"
    SLOW = "slow"
    BUSY = "busy"
    DISCONNECTED = "disconnected"
    UNREACHABLE = "unreachable"
    MISBEHAVED = "misbehaved"
    NO_MANIFEST = "no_manifest"
    WRONG_MANIFEST = "wrong_manifest"
    WRONG_DIGEST = "wrong_digest"
    NO_ANSWER = "no_answer"
    STALE = "stale"
    REBORN = "reborn"
    LOST = "lost"
    RETRYABLE = "retryable"
    FATAL = "fatal"
    STAGING_LOST = "staging_lost"
    DURABLE = "durable"
    FASTER = "faster"
    NO_FASTER = "no_faster"
    NO_VERSION = "no_version"
    NO_SOURCE = "no_source"
    RESTING = "resting"
    QUARANTINED = "quarantined"
    QUESTIONED = "questioned"
    PAUSED = "paused"
    DISK = "disk"
    MOVING = "moving"


_REPEATED: Final = frozenset({Kind.DETOUR, Kind.OUTRANKED})
"""Decided anew four times a second for as long as it is so."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that happened.

    Attributes:
        at_ns: When.
        kind: What sort of thing.
        reason: Why.
        source: The peer it is about; ``None``: this node.
        other: The other peer in it: who was asked instead, who took over.
        blocks: Which blocks it concerned; ``None``: no particular ones.
        numbers: What decided it, by name; the unit is at the end of the name.
        text: What is known in words only.
    """

    at_ns: int
    kind: Kind
    reason: Reason
    source: NodeId | None = None
    other: NodeId | None = None
    blocks: BlockRun | None = None
    numbers: Mapping[str, int] = field(default_factory=dict)
    text: str = ""


@dataclass(slots=True)
class Story:
    """What happened to one recovery.

    Attributes:
        entries: The last of it, oldest first.
        counts: How often each kind of thing happened, those that fell out included.
        latest: The last thing that happened to each source, whether it fell out or not; the
            source that was told of longest ago comes first.
        choice: Why it is for this version, and not for another; ``None``: not chosen here.
    """

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=ENTRIES_MAX))
    counts: Counter[Kind] = field(default_factory=Counter)
    latest: dict[NodeId, Entry] = field(default_factory=dict)
    choice: ExplainedChoice | None = None

    def add(self, entry: Entry) -> None:
        """Take in what happened.

        A source that is passed over again and again is told of once, until something else
        happens to it.
        """
        self.counts[entry.kind] += 1
        before = None
        if entry.source is not None:
            before = self.latest.pop(entry.source, None)
            self.latest[entry.source] = entry
            if len(self.latest) > PEERS_MAX:
                del self.latest[next(iter(self.latest))]
        if entry.kind in _REPEATED and before is not None and before.kind is entry.kind:
            return
        self.entries.append(entry)


def sentence(entry: Entry) -> str:  # noqa: PLR0911 (one for each kind)
    """Return an entry as a sentence for a person, without a full stop."""
    source, other, why = entry.source, entry.other, _WHY.get(entry.reason, "")

    def span(name: str) -> str:
        return format_span(entry.numbers[name])

    match entry.kind:
        case Kind.VERSION_CHOSEN:
            return f"version {entry.numbers['version']} chosen: {entry.text}"
        case Kind.HEDGE:
            size = format_size(entry.numbers["size_bytes"])
            return (
                f"{source} {why} for {span('silent_ns')}, allowed {span('allowed_ns')}: "
                f"{other} was asked for the same {size}"
            )
        case Kind.HEDGE_SETTLED:
            return f"{other} delivered first what {source} was asked for as well: {source} cut off"
        case Kind.STEAL:
            return (
                f"{source} had {span('needs_ns')} of work left, {other} would need "
                f"{span('other_needs_ns')}: taken over"
            )
        case Kind.PREEMPTED:
            return (
                f"{source} had {span('needs_ns')} of work left, and has more urgent work of "
                "another recovery: cut off"
            )
        case Kind.OUTRANKED:
            return f"{source} has more urgent work of another recovery"
        case Kind.DETOUR:
            return (
                f"{source} would need {span('needs_ns')} for a range, all others "
                f"{span('rest_ns')} for the whole rest: passed over"
            )
        case Kind.LANE_LATE:
            return (
                f"{source} {why} for {span('silent_ns')}, allowed {span('allowed_ns')}: "
                f"cut off, not asked for {span('pause_ns')}"
            )
        case Kind.BACK_OFF:
            return f"{source} {why}: not asked for {span('pause_ns')}"
        case Kind.QUARANTINE:
            return f"{source} {why}: in quarantine for {span('pause_ns')}"
        case Kind.BAD_BLOCKS:
            return f"{source} sent {entry.numbers['blocks']} blocks with a wrong digest"
        case _:
            return _sentence_of_rest(entry, span)


def _sentence_of_rest(  # noqa: PLR0911 (one for each kind)
    entry: Entry, span: Callable[[str], str]
) -> str:
    """Return what is left of :func:`sentence`."""
    match entry.kind:
        case Kind.LANES_TRIED:
            return _sentence_of_trial(entry)
        case Kind.MANIFEST_LATE:
            return f"{entry.source} has not sent the manifest yet: {entry.other} was asked as well"
        case Kind.WITHDRAWN:
            return f"{entry.source} does not hold the version any more"
        case Kind.EPOCH_CHANGED:
            return f"{entry.source} was started anew: nothing old is held to it"
        case Kind.SOURCE_LOST:
            return f"{entry.source} does not answer any more"
        case Kind.DISK_STUMBLED if entry.reason is Reason.RETRYABLE:
            return f"this node's disk: {entry.text}; tried again in {span('pause_ns')}"
        case Kind.DISK_STUMBLED if entry.reason is Reason.STAGING_LOST:
            return f"{entry.text}; what is lost is fetched again"
        case Kind.DISK_STUMBLED:
            return f"this node's disk: {entry.text}"
        case Kind.CRITICAL_COMPLETE:
            return f"every critical unit durable after {span('elapsed_ns')}"
        case Kind.STANDSTILL:
            return f"stands still, waiting for {entry.text}"
        case _:
            assert entry.kind is Kind.STANDSTILL_ENDED, f"{entry.kind} has no sentence"
            return f"goes on after {span('stood_ns')}"


def _sentence_of_trial(entry: Entry) -> str:
    source, numbers = entry.source, entry.numbers
    if entry.reason not in {Reason.FASTER, Reason.NO_FASTER}:
        why, tried = _WHY[entry.reason], numbers["after_lanes"]
        return f"{source} {why} on lane {tried}: {numbers['lanes']} kept"
    before, after = numbers["before_bytes_per_s"], numbers["after_bytes_per_s"]
    return (
        f"{source} gave {format_rate(before)} over {_lanes(numbers['before_lanes'])}, "
        f"{format_rate(after)} over {_lanes(numbers['after_lanes'])}: {numbers['lanes']} kept"
    )


def _lanes(count: int) -> str:
    return "1 lane" if count == 1 else f"{count} lanes"


def format_span(span_ns: int) -> str:
    """Return a span of time as ``620ms`` or ``4.1s``: decisions turn on milliseconds."""
    if span_ns < SECOND:
        return f"{span_ns * 1000 // SECOND}ms"
    return format_duration(span_ns / SECOND)


_WHY: Final = {
    Reason.SILENT: "was silent",
    Reason.FIRST_BYTE_LATE: "sent no first byte",
    Reason.BUSY: "said it is busy",
    Reason.DISCONNECTED: "closed the connection",
    Reason.UNREACHABLE: "could not be reached",
    Reason.MISBEHAVED: "broke the protocol",
    Reason.NO_MANIFEST: "did not deliver the manifest",
    Reason.WRONG_MANIFEST: "sent a wrong manifest",
    Reason.WRONG_DIGEST: "stands by bad blocks",
    Reason.NO_ANSWER: "did not say whether it stands by bad blocks",
}
