"""What happened to a recovery that was out of the ordinary, so that people can ask why.

An ordinary range leaves no entry: a story costs nothing while all is well. It is bounded;
what falls out at its far end is still counted.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.core.report.choice import ExplainedChoice
from ckptd.limits import PEERS_MAX, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import OWN_DISKS, PathId
from ckptd.model.quantities import format_duration, format_rate, format_size
from ckptd.model.words import StoryKind, StoryReason

ENTRIES_MAX: Final = 200
"""Entries that a story keeps. A recovery that needs more has a trouble that repeats itself."""


_REPEATED: Final = frozenset({StoryKind.DETOUR, StoryKind.OUTRANKED})
"""Decided again four times a second for as long as it is so."""


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
    kind: StoryKind
    reason: StoryReason
    source: PathId | None = None
    other: PathId | None = None
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
            source whose last entry is oldest comes first.
        choice: Why it is for this version, and not for another; ``None``: not chosen here.
    """

    entries: deque[Entry] = field(default_factory=lambda: deque(maxlen=ENTRIES_MAX))
    counts: Counter[StoryKind] = field(default_factory=Counter)
    latest: dict[PathId, Entry] = field(default_factory=dict)
    choice: ExplainedChoice | None = None

    def add(self, entry: Entry) -> None:
        """Take in what happened.

        A source that is passed over again and again gets one entry, until something else
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
        case StoryKind.VERSION_CHOSEN:
            return f"version {entry.numbers['version']} chosen: {entry.text}"
        case StoryKind.HEDGE:
            size = format_size(entry.numbers["size_bytes"])
            return (
                f"{source} {why} for {span('silent_ns')}, allowed {span('allowed_ns')}: "
                f"{other} was asked for the same {size}"
            )
        case StoryKind.HEDGE_SETTLED:
            return f"{other} delivered first what {source} was asked for as well: {source} cut off"
        case StoryKind.STEAL:
            return (
                f"{source} had {span('needs_ns')} of work left, {other} would need "
                f"{span('other_needs_ns')}: taken over"
            )
        case StoryKind.PREEMPTED:
            return (
                f"{source} had {span('needs_ns')} of work left, and has more urgent work of "
                "another recovery: cut off"
            )
        case StoryKind.OUTRANKED:
            return f"{source} has more urgent work of another recovery"
        case StoryKind.DETOUR:
            return (
                f"{source} would need {span('needs_ns')} for a range, all others "
                f"{span('rest_ns')} for the whole rest: passed over"
            )
        case StoryKind.LANE_LATE:
            return (
                f"{source} {why} for {span('silent_ns')}, allowed {span('allowed_ns')}: "
                f"cut off, not asked for {span('pause_ns')}"
            )
        case StoryKind.BACK_OFF:
            return f"{source} {why}: not asked for {span('pause_ns')}"
        case StoryKind.QUARANTINE:
            return f"{source} {why}: in quarantine for {span('pause_ns')}"
        case StoryKind.BAD_BLOCKS:
            how = "had" if entry.source == OWN_DISKS else "sent"
            size = format_size(entry.numbers["size_bytes"])
            return f"{source} {how} {size} with a wrong digest"
        case _:
            return _sentence_of_rest(entry, span)


def _sentence_of_rest(  # noqa: PLR0911, PLR0912 (one for each kind)
    entry: Entry, span: Callable[[str], str]
) -> str:
    """Return what is left of :func:`sentence`."""
    match entry.kind:
        case StoryKind.LANES_TRIED:
            return _sentence_of_trial(entry)
        case StoryKind.MANIFEST_LATE:
            return f"{entry.source} has not sent the manifest yet: {entry.other} was asked as well"
        case StoryKind.RIVAL_EXAMINED:
            return f"{entry.source} was asked for one block of what it says it has: {entry.text}"
        case StoryKind.GIVEN_UP:
            why = entry.text or "nobody has all of it"
            return f"version {entry.numbers['version']} given up for another: {why}"
        case StoryKind.WITHDRAWN:
            return f"{entry.source} {entry.text or 'does not hold the version any more'}"
        case StoryKind.EPOCH_CHANGED:
            return f"{entry.source} was started again: nothing old is held to it"
        case StoryKind.SOURCE_LOST:
            return f"{entry.source} does not answer any more"
        case StoryKind.DISK_REFUSED if entry.reason is StoryReason.RETRYABLE:
            return f"this node's disk: {entry.text}; tried again in {span('pause_ns')}"
        case StoryKind.DISK_REFUSED if entry.reason is StoryReason.SHORTAGE:
            return f"held up: {entry.text}; tried again in {span('pause_ns')}"
        case StoryKind.DISK_REFUSED if entry.reason is StoryReason.STAGING_LOST:
            return f"{entry.text}; what is lost is fetched again"
        case StoryKind.DISK_REFUSED:
            return f"this node's disk: {entry.text}"
        case StoryKind.CRITICAL_COMPLETE:
            return f"every critical unit durable after {span('elapsed_ns')}"
        case StoryKind.STANDSTILL:
            return f"stands still, waiting for {entry.text}"
        case _:
            assert entry.kind is StoryKind.STANDSTILL_ENDED, f"{entry.kind} has no sentence"
            return f"goes on after {span('stood_ns')}"


def _sentence_of_trial(entry: Entry) -> str:
    source, numbers = entry.source, entry.numbers
    if entry.reason not in {StoryReason.FASTER, StoryReason.NO_FASTER}:
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
    StoryReason.SILENT: "was silent",
    StoryReason.FIRST_BYTE_LATE: "sent no first byte",
    StoryReason.BUSY: "said it is busy",
    StoryReason.TURNED_AWAY: "had no place for another connection",
    StoryReason.DISCONNECTED: "closed the connection",
    StoryReason.UNREACHABLE: "could not be reached",
    StoryReason.MISBEHAVED: "broke the protocol",
    StoryReason.NO_MANIFEST: "did not deliver the manifest",
    StoryReason.WRONG_MANIFEST: "sent a wrong manifest",
    StoryReason.WRONG_DIGEST: "stands by bad blocks",
    StoryReason.NO_ANSWER: "did not say whether it stands by bad blocks",
}
