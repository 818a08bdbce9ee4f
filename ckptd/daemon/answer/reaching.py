"""Decides whether what somebody waits for is there, what has to happen next, or why it won't.

Pure: what is seen at one moment goes in. It is the cautious word that counts: what was not looked
at yet, looks different or is withdrawn is not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from ckptd.model.goals import Goal, GoalUnits
from ckptd.model.ids import Version
from ckptd.model.words import GoalKind, Result, Stage
from ckptd.store.published.places import Place

_PHASES_NAMED_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class PlaceSeen:
    """A place of the version that is waited for.

    Attributes:
        directory: Where that is; empty: at several places together.
        digest: Identity of what stands there; empty: several shards do.
        obstacle: Why the goal is not reached there; empty: it is.
        is_lacking: That is because units never came there, and for no other reason.
    """

    directory: str
    digest: str = ""
    obstacle: str = ""
    is_lacking: bool = False


@dataclass(frozen=True, slots=True)
class RecoverySeen:
    """A recovery here that has not ended and may bring it.

    Attributes:
        recovery: Its id.
        version: Of which version; ``None``: none is chosen.
        stage: How far it is.
        is_paused: An operator paused it.
        is_repair: It puts right what was here.
        phases: Which ones that version has; ``None``: not known.
    """

    recovery: str
    version: Version | None
    stage: Stage
    is_paused: bool = False
    is_repair: bool = False
    phases: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class EndSeen:
    """How the last recovery ended that could have brought it, since it was waited for.

    Attributes:
        recovery: Its id.
        version: Of which version; ``None``: none was chosen.
        result: How it ended.
        message: Why it failed.
        follower: Which recovery brings the rest; ``None``: none does.
    """

    recovery: str
    version: Version | None
    result: Result
    message: str = ""
    follower: str | None = None


@dataclass(frozen=True, slots=True)
class NewestSeen:
    """What is known of the newest version that can be had.

    Attributes:
        version: Which one; ``None``: there is none.
        why: Why not, then.
        is_settled: Every peer was asked.
    """

    version: Version | None
    why: str = ""
    is_settled: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """What is seen at one moment.

    Attributes:
        name: Name of the checkpoint or job.
        goal: What is waited for.
        asked: The version that was named.
        newest: What is known of the newest; ``None`` unless that is waited for.
        recoveries: Those under way that may bring it, newest first.
        ended: The last that ended.
        standing: Which versions stand here, at any place that is not withdrawn.
        withdrawn: Which stand here at others.
    """

    name: str
    goal: Goal
    asked: Version | None = None
    newest: NewestSeen | None = None
    recoveries: Sequence[RecoverySeen] = ()
    ended: EndSeen | None = None
    standing: frozenset[Version] = frozenset()
    withdrawn: frozenset[Version] = frozenset()

    @property
    def bringing(self) -> tuple[RecoverySeen, ...]:
        """Recoveries that do not only put right what was here."""
        return tuple(each for each in self.recoveries if not each.is_repair)

    @property
    def is_open(self) -> bool:
        """What stands here decides which version is waited for."""
        return self.asked is None and self.newest is None and not self.bringing and not self.ended

    def with_standing(self, standing: frozenset[Version], withdrawn: frozenset[Version]) -> Sight:
        """Return the same with what stands here."""
        return replace(self, standing=standing, withdrawn=withdrawn)

    def version(self) -> Version | None:
        """Return which version is waited for; ``None``: that is open.

        What is being recovered goes before what stands here: nobody who asks for more wants to be
        given the old one. So does what failed, for whoever saw that.
        """
        if self.asked is not None:
            return self.asked
        if self.newest is not None:
            return self.newest.version if self.newest.is_settled else None
        if self.bringing:
            known = [each.version for each in self.bringing if each.version is not None]
            return max(known) if len(known) == len(self.bringing) else None
        if self.ended is not None:
            return self.ended.version
        return max(self.standing, default=max(self.withdrawn, default=None))


@dataclass(frozen=True, slots=True)
class Reaching:
    """What comes of looking.

    Attributes:
        version: The version that is waited for.
        place: Where it is there; ``None``: it is not.
        waiting_for: What has to happen next; empty if it is there or does not come.
        recovery: Who brings it.
        why_not: Why it does not come; empty if it may.
        ended: It does not because this one ended.
    """

    version: Version | None
    place: PlaceSeen | None = None
    waiting_for: str = ""
    recovery: str | None = None
    why_not: str = ""
    ended: EndSeen | None = None


@dataclass(frozen=True, slots=True)
class VersionSeen:
    """What is here of the version that is waited for.

    Attributes:
        places: Where it stands, at least in part.
        phases: Which phases it has; ``None``: not known.
    """

    places: Sequence[PlaceSeen] = ()
    phases: Sequence[str] | None = None


def look_at(place: Place, directory: str, digest: str, units: GoalUnits | None) -> PlaceSeen:
    """Return what a place has of a goal.

    Args:
        place: As the catalog has it at this moment.
        directory: What it is called.
        digest: Of its version.
        units: Which units the goal is about; ``None``: all required ones.
    """
    is_whole = units is None or units.is_whole

    def concerns(some: frozenset[int]) -> bool:
        return bool(some) if units is None or is_whole else units.any_of(some)

    obstacle = _doubt(place, units, concerns)
    if not obstacle and concerns(place.lacking):
        part = "" if is_whole else " of what is waited for"
        obstacle = f"of which required units{part} are not here"
        return PlaceSeen(directory, digest, obstacle, is_lacking=True)
    return PlaceSeen(directory, digest, obstacle)


def _doubt(
    place: Place, units: GoalUnits | None, concerns: Callable[[frozenset[int]], bool]
) -> str:
    """Say why a place does not count, whatever of the version came there; empty: it does.

    Args:
        place: Which one.
        units: Which units the goal is about.
        concerns: Returns whether any of some units is among them.
    """
    if place.is_withdrawn:
        return f"it is withdrawn: {place.reason}" if place.reason else "it is withdrawn"
    if place.is_unseen:
        return "it was not looked at yet since ckptd started"
    is_unreadable = bool(place.reason) and not (place.suspect or place.changed)
    if place.wrong_names or is_unreadable or concerns(place.changed):
        return f"it is stale: {place.reason}"
    if concerns(place.suspect):
        return "it looks different from what was hashed, and is hashed again"
    if units is not None and units.lacks_phase:
        return f"it has no such phase; it has {', '.join(units.phases[:_PHASES_NAMED_MAX])}"
    return ""


def judge(sight: Sight, seen: VersionSeen, *, through_failures: bool = False) -> Reaching:
    """Say whether it is there, what has to happen next, or why it does not come.

    Args:
        sight: What is seen.
        seen: What is here of ``sight.version()``.
        through_failures: Another recovery is waited for after one that failed.
    """
    version = sight.version()
    here = next((place for place in seen.places if not place.obstacle), None)
    if version is not None and here is not None:
        return Reaching(version, here)
    if why_not := _lacks_phase(sight, version, seen.phases, through_failures=through_failures):
        return Reaching(version, why_not=why_not)
    found = sight.recoveries if version is None else _of(version, sight.recoveries)
    if found:
        return Reaching(
            version,
            waiting_for=_under_way(sight, found[0], version),
            recovery=found[0].recovery,
        )
    ended = None if through_failures else _end_without_it(sight, seen.places)
    if ended is not None:
        return Reaching(version, why_not=_how_ended(sight, ended), ended=ended)
    return Reaching(version, waiting_for=_nobody_brings_it(sight, version, seen.places))


def _of(version: Version, recoveries: Sequence[RecoverySeen]) -> list[RecoverySeen]:
    """Return the recoveries that bring a version, and behind them those that may."""
    exactly = [each for each in recoveries if each.version == version]
    return exactly + [each for each in recoveries if each.version is None]


def _lacks_phase(
    sight: Sight,
    version: Version | None,
    phases: Sequence[str] | None,
    *,
    through_failures: bool,
) -> str:
    """Say that a version has no such phase, if it is the one that has to have it.

    Args:
        sight: What is seen.
        version: Which version.
        phases: Which phases stand here of it.
        through_failures: Another one may come.
    """
    is_meant = sight.asked is not None or bool(sight.bringing)
    is_meant = is_meant or (sight.ended is not None and not through_failures)
    if sight.goal.kind is not GoalKind.PHASE or version is None or not is_meant:
        return ""
    known = [phases, *(each.phases for each in sight.bringing if each.version == version)]
    found = next((each for each in known if each is not None), None)
    if found is None or sight.goal.phase in found:
        return ""
    some = ", ".join(found[:_PHASES_NAMED_MAX])
    return f"{sight.name}@{version} has no phase {sight.goal.phase!r}; it has {some}"


def _end_without_it(sight: Sight, places: Sequence[PlaceSeen]) -> EndSeen | None:
    """Return the recovery that ended without bringing it; ``None``: it may still come."""
    ended = sight.ended
    if ended is None or ended.follower is not None:
        return None
    if not ended.result.is_success:
        return ended
    is_in_part = ended.result is not Result.COMPLETE
    return ended if is_in_part and all(place.is_lacking for place in places) else None


def _nobody_brings_it(sight: Sight, version: Version | None, places: Sequence[PlaceSeen]) -> str:
    newest, ended, name = sight.newest, sight.ended, _named(sight, version)
    if newest is not None and not newest.is_settled:
        return "this node and its peers to say what they hold"
    if newest is not None and newest.version is None:
        return f"a version of {sight.name} that can be had: {newest.why or 'there is none'}"
    if ended is not None and ended.follower is not None:
        return f"recovery {ended.follower}, which brings the rest of {name}"
    doubt = next((place for place in places if not place.is_lacking), None)
    if doubt is not None:
        return f"{name}{_where(doubt)}: {doubt.obstacle}"
    what = f"{name}, {places[0].obstacle if places else 'which is not here'}"
    if ended is not None and not ended.result.is_success:
        return f"another recovery of {what}; {_how_ended(sight, ended)}"
    return f"somebody to recover {what}"


def _named(sight: Sight, version: Version | None) -> str:
    return sight.name if version is None else f"{sight.name}@{version}"


def _where(place: PlaceSeen) -> str:
    return f" in {place.directory}" if place.directory else ""


def _under_way(sight: Sight, found: RecoverySeen, version: Version | None) -> str:
    how = "paused" if found.is_paused else str(found.stage)
    return f"recovery {found.recovery} of {_named(sight, found.version or version)}, {how}"


def _how_ended(sight: Sight, ended: EndSeen) -> str:
    """Say how a recovery ended."""
    what = f"recovery {ended.recovery} of {_named(sight, ended.version)}"
    match ended.result:
        case Result.FAILED:
            return f"{what} failed: {ended.message}" if ended.message else f"{what} failed"
        case Result.CANCELLED:
            return f"{what} was cancelled"
        case _:
            return f"{what} brought a part of it"
