"""How urgent the units of joined shards are: phases and prerequisites of several manifests as one.

Shards of a job are published by themselves, so what they say may differ. A unit that several have
is as urgent as in any, comes after what it comes after in any, and what it comes after is at least
as urgent as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import msgspec

from ckptd.limits import MANIFEST_PHASES_MAX
from ckptd.model.manifest import ONE_PHASE, Unit, urgency

Owners: TypeAlias = tuple[tuple[int, int], ...]
"""Members that have a unit, and which of their units it is."""


class JoinedPhases:
    """The phases of several shards as one order.

    If one shard names all phases that others name, in the same order, they are joined by their
    names; else by their places. A shard whose publisher named none has all in the first one.

    Args:
        phases: Of each member, the names of its phases.

    Attributes:
        names: Of the joined phases.
    """

    def __init__(self, phases: Sequence[tuple[str, ...]]) -> None:
        named = [each for each in phases if each != ONE_PHASE] or [ONE_PHASE]
        longest = max(named, key=len)
        is_by_name = all(_is_within(each, longest) for each in named)
        self.names = longest if is_by_name else _by_place(named)
        self._places = [
            tuple(map(longest.index, each)) if is_by_name and each in named else None
            for each in phases
        ]

    def place(self, member: int, phase: int) -> int:
        """Return which of the joined phases a phase of a member is."""
        places = self._places[member]
        return phase if places is None else places[phase]


def _is_within(phases: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether some names are among others, in the same order."""
    left = iter(others)
    return all(name in left for name in phases)


def _by_place(phases: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Return for each place the first name that a shard gives it and that no place has."""
    names: list[str] = []
    for place in range(max(map(len, phases))):
        given = [each[place] for each in phases if place < len(each)]
        spare = (f"phase-{number}" for number in range(place + 1, place + 2 + len(names)))
        names.append(next(name for name in (*given, *spare) if name not in names))
    return tuple(names)


class JoinedUnits:
    """The units of several shards, each once.

    Args:
        phases: Of each member, the names of its phases.

    Attributes:
        phases: Of the joined manifest.
    """

    def __init__(self, phases: Sequence[tuple[str, ...]]) -> None:
        self.phases = JoinedPhases(phases)
        self._units: list[tuple[Unit, Owners]] = []
        self._after: dict[int, list[tuple[int, int]]] = {}

    def take(self, units: Sequence[Unit], owners: Owners) -> None:
        """Take what some members have alike.

        Args:
            units: The unit as each of them describes it.
            owners: Who they are.
        """
        after: list[tuple[int, int]] = []
        phase = MANIFEST_PHASES_MAX
        for (member, _), unit in zip(owners, units, strict=True):
            phase = min(phase, self.phases.place(member, unit.phase))
            after.extend((member, needed) for needed in unit.after)
        if after:
            self._after[len(self._units)] = after
        self._units.append((_as_urgent_as_any(units, phase), owners))

    def in_order(self) -> list[tuple[Unit, Owners]]:
        """Return all in urgency order, with their prerequisites. To be called once.

        Cost: memory for the prerequisites alone.
        """
        units = self._units
        if not self._after:
            units.sort(key=_urgency)
            return units
        needed = {each for some in self._after.values() for each in some}
        places = {
            owner: place
            for place, (_, owners) in enumerate(units)
            for owner in owners
            if owner in needed
        }
        after = {place: {places[each] for each in some} for place, some in self._after.items()}
        _lift(units, after)
        order = sorted(range(len(units)), key=lambda place: _urgency(units[place]))
        first = set(places.values())
        now_at = {place: index for index, place in enumerate(order) if place in first}
        for place, some in after.items():
            unit, owners = units[place]
            ascending = tuple(sorted(now_at[each] for each in some))
            units[place] = msgspec.structs.replace(unit, after=ascending), owners
        return [units[place] for place in order]


def _urgency(unit: tuple[Unit, Owners]) -> tuple[int, int, str]:
    return urgency(unit[0])


def _lift(units: list[tuple[Unit, Owners]], after: Mapping[int, Iterable[int]]) -> None:
    """Make prerequisites at least as urgent as what comes after them, however far away that is."""
    waiting = list(after)
    while waiting:
        place = waiting.pop()
        unit, _ = units[place]
        for needed in after.get(place, ()):
            other, owners = units[needed]
            if (other.phase, other.criticality) > (unit.phase, unit.criticality):
                lifted = msgspec.structs.replace(
                    other, phase=unit.phase, criticality=unit.criticality
                )
                units[needed] = lifted, owners
                waiting.append(needed)


def _as_urgent_as_any(units: Sequence[Unit], phase: int) -> Unit:
    """Return a unit that several members have: as urgent, and as much required, as in any.

    Its prerequisites are not those of the joined manifest, and are left out.
    """
    first = units[0]
    if len(units) == 1:
        if first.phase == phase and not first.after:
            return first
        return msgspec.structs.replace(first, phase=phase, after=())
    return msgspec.structs.replace(
        first,
        phase=phase,
        after=(),
        criticality=min(unit.criticality for unit in units),
        is_executable=any(unit.is_executable for unit in units),
        flags=tuple(flag for flag in first.flags if all(flag in unit.flags for unit in units)),
        facts={},
    )
