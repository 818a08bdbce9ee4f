"""What becomes of the saves in a watched directory, decided from one look at it. Pure.

Whoever looks gives names, what stands where in the catalog, and when something changed last; the
answer says of each save what is to be done, or why nothing is. When in doubt nothing is.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ckptd.model.ids import CheckpointName, Version
from ckptd.model.quantities import format_duration
from ckptd.model.watched_names import WatchRule
from ckptd.model.words import NotTaken, PlaceState, SavedState

SCAN_S: Final = 15.0
"""How often a directory is looked into about which the kernel reports what happens: so late is what
it missed."""
UNREPORTED_S: Final = 1.0
"""How often where it does not."""
_WAITING_MIN_S: Final = 0.5
_CALM_SHARE: Final = 0.1
"""A save that is not complete is looked into so often, and less often the longer nothing changes in
it: a job that died while it saved is no reason to look twice a second for ever."""


@dataclass(frozen=True, slots=True)
class SeenName:
    """A name in a watched directory.

    Attributes:
        name: The name.
        is_directory: It is a directory itself, and not a link to one.
    """

    name: str
    is_directory: bool


@dataclass(frozen=True, slots=True)
class LastChange:
    """When something changed last in a save.

    Attributes:
        changed_at_s: By its file system, in Unix time.
        seen_s: For how long it has been seen like this, by this node's clock: that of the file
            system may be another one.
    """

    changed_at_s: float
    seen_s: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What the catalog knows to stand in a directory.

    Attributes:
        number: Of the place.
        checkpoint: As what it was recorded.
        version: As which version.
        state: How it stands there.
        added_at_s: When it was recorded, in Unix time.
    """

    number: int
    checkpoint: CheckpointName
    version: Version
    state: PlaceState
    added_at_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a save could not be published when that was tried.

    Attributes:
        why: For people.
        changed_at_s: What its last change was then.
        left_s: It is not tried again for so long, unless it changes.
        is_passing: It was not complete or not quiet, which passes.
    """

    why: str
    changed_at_s: float
    left_s: float
    is_passing: bool


class WatchLook(NamedTuple):
    """What one look at a watched directory has found.

    Attributes:
        there: All names in the directory.
        names: Those of them that were looked at; what goes by no name of a save is passed over.
        changes: Of saves that are looked into: when something changed last.
        standing: What the catalog has in the directory, by name.
        refusals: By name.
        pointer: What is in the pointer; ``None``: it is not there.
    """

    there: frozenset[str]
    names: tuple[SeenName, ...]
    changes: Mapping[str, LastChange]
    standing: Mapping[str, Standing]
    refusals: Mapping[str, Refusal]
    pointer: str | None = None


class SavedVerdict(NamedTuple):
    """What becomes of a save.

    Attributes:
        name: Its name.
        version: Which version it is.
        state: What becomes of it.
        why: For people; empty if there is nothing to say.
        wait_s: When to look again; 0: that is not known.
        replaces: It is published in place of what was published before.
        reason: Why it is not taken; ``None``: it is, or will be.
    """

    name: str
    version: Version
    state: SavedState
    why: str = ""
    wait_s: float = 0.0
    replaces: bool = False
    reason: NotTaken | None = None


def newest_names(rule: WatchRule, names: Iterable[str], count_max: int) -> list[str]:
    """Return the names of the newest saves, newest version first."""
    found = ((version, name) for name in names if (version := rule.version_of(name)) is not None)
    newest = heapq.nsmallest(count_max, ((-version, name) for version, name in found))
    return [name for _, name in newest]


def saves_in(rule: WatchRule, names: Iterable[SeenName]) -> list[tuple[Version, SeenName]]:
    """Return what goes by the name of a save, newest version first."""
    found = [
        (version, seen) for seen in names if (version := rule.version_of(seen.name)) is not None
    ]
    return sorted(found, key=lambda each: (-each[0], each[1].name))


def to_look_into(
    rule: WatchRule, names: Iterable[SeenName], standing: Mapping[str, Standing]
) -> list[str]:
    """Return the saves of which the last change matters: new ones, and those that changed."""
    found = [seen.name for _, seen in saves_in(rule, names) if seen.is_directory]
    return [
        name
        for number, name in enumerate(found)
        if (number < rule.newest and name not in standing)
        or (name in standing and standing[name].state is PlaceState.STALE)
    ]


def decide(rule: WatchRule, look: WatchLook) -> list[SavedVerdict]:
    """Return what becomes of each save, newest version first."""
    verdicts: list[SavedVerdict] = []
    by_version: dict[Version, str] = {}
    for version, seen in saves_in(rule, look.names):
        if not seen.is_directory:
            why = "is a link or a file; only directories are taken"
            verdicts.append(_not_taken(seen.name, version, NotTaken.NO_DIRECTORY, why))
            continue
        other = by_version.setdefault(version, seen.name)
        if other != seen.name:
            why = f"{other!r} is the same version"
            verdicts.append(_not_taken(seen.name, version, NotTaken.TWICE, why))
            continue
        known = look.standing.get(seen.name)
        if known is None:
            is_newest = len(by_version) <= rule.newest
            verdicts.append(_of_new(rule, look, seen.name, version, is_newest=is_newest))
        else:
            verdicts.append(_of_known(rule, look, seen.name, version, known))
    return verdicts


def next_look_s(
    verdicts: Iterable[SavedVerdict], changes: Mapping[str, LastChange], *, is_reported: bool
) -> float:
    """Return when to look into a directory again, unless something is reported before.

    Args:
        verdicts: What becomes of the saves in it.
        changes: When something changed last in those that were looked into.
        is_reported: The kernel reports what happens there.
    """
    next_s = SCAN_S if is_reported else UNREPORTED_S
    for each in verdicts:
        if each.wait_s > 0:
            next_s = min(next_s, each.wait_s)
        if each.state is SavedState.WAITS and each.name in changes:
            calm_s = _CALM_SHARE * changes[each.name].seen_s
            next_s = min(next_s, max(calm_s, _WAITING_MIN_S))
    return next_s


def behind_s(verdicts: Iterable[SavedVerdict], changes: Mapping[str, LastChange]) -> float:
    """Return since when the newest save has been the same, and not on offer; 0: it is, or rests.

    Args:
        verdicts: What becomes of the saves in a directory, newest version first.
        changes: When something changed last in those that were looked into.
    """
    for each in verdicts:
        if each.state is SavedState.TAKEN or each.reason is NotTaken.WITHDRAWN:
            return 0.0
        if each.name in changes:
            return changes[each.name].seen_s
    return 0.0


def rotated_away(rule: WatchRule, look: WatchLook) -> list[Standing]:
    """Return what was taken here and is not there any more."""
    return [
        known
        for name, known in look.standing.items()
        if name not in look.there
        and known.checkpoint == rule.checkpoint
        and rule.version_of(name) == known.version
    ]


def _of_known(
    rule: WatchRule, look: WatchLook, name: str, version: Version, known: Standing
) -> SavedVerdict:
    """Decide about a save of which the catalog knows that something stands there."""
    if (known.checkpoint, known.version) != (rule.checkpoint, version):
        why = f"stands in the catalog as {known.checkpoint}@{known.version}"
        return _not_taken(name, version, NotTaken.OTHERWISE, why)
    match known.state:
        case PlaceState.WITHDRAWN:
            why = "was taken off offer by an operator"
            return _not_taken(name, version, NotTaken.WITHDRAWN, why)
        case PlaceState.SUSPECT | PlaceState.UNSEEN:
            why = "what stands there is being looked at"
            return SavedVerdict(name, version, SavedState.WAITS, why)
        case PlaceState.STALE:
            change = look.changes.get(name)
            if change is not None and change.changed_at_s <= known.added_at_s:
                # Rot, which must not be published as if somebody had saved it.
                why = "is not what was published, though nothing was written since"
                return _not_taken(name, version, NotTaken.ROTTEN, why)
            return _when_quiet(rule, look, name, version, replaces=True)
        case PlaceState.HERE | PlaceState.CHOSEN | PlaceState.PARTIAL:
            return SavedVerdict(name, version, SavedState.TAKEN)


def _of_new(
    rule: WatchRule, look: WatchLook, name: str, version: Version, *, is_newest: bool
) -> SavedVerdict:
    """Decide about a save that was not published."""
    if not is_newest:
        why = f"is not one of the newest {rule.newest}"
        return _not_taken(name, version, NotTaken.OLD, why)
    return _when_quiet(rule, look, name, version, replaces=False)


def _when_quiet(
    rule: WatchRule, look: WatchLook, name: str, version: Version, *, replaces: bool
) -> SavedVerdict:
    """Decide about a save that is to be published once it is complete."""
    unpointed = _not_pointed_to(rule, look, version)
    if unpointed:
        return SavedVerdict(name, version, SavedState.WAITS, unpointed)
    change = look.changes.get(name)
    if change is None:
        why = "could not be looked into, or is gone again"
        return SavedVerdict(name, version, SavedState.WAITS, why)
    left_s = rule.quiet_s - change.seen_s
    if left_s > 0:
        why = f"changed within the last {format_duration(rule.quiet_s)}"
        return SavedVerdict(name, version, SavedState.WAITS, why, left_s)
    refusal = look.refusals.get(name)
    if refusal is not None and refusal.changed_at_s == change.changed_at_s and refusal.left_s > 0:
        if refusal.is_passing:
            return SavedVerdict(name, version, SavedState.WAITS, refusal.why, refusal.left_s)
        refused = _not_taken(name, version, NotTaken.REFUSED, refusal.why)
        return refused._replace(wait_s=refusal.left_s)
    return SavedVerdict(name, version, SavedState.DUE, replaces=replaces)


def _not_taken(name: str, version: Version, reason: NotTaken, why: str) -> SavedVerdict:
    return SavedVerdict(name, version, SavedState.NOT_TAKEN, why, reason=reason)


def _not_pointed_to(rule: WatchRule, look: WatchLook, version: Version) -> str:
    """Say why a save is not one that the pointer calls complete; empty if it is."""
    if not rule.pointer:
        return ""
    if look.pointer is None:
        return f"{rule.pointer!r} is not there, and is written last"
    complete = rule.version_in(look.pointer)
    if complete is None:
        return f"{rule.pointer!r} names no save"
    return f"{rule.pointer!r} names an older one" if version > complete else ""
