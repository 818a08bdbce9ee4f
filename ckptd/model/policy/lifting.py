"""Prerequisites are lifted: each is at least as urgent as what needs it, and required with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ckptd.model.words import Criticality


class Class(NamedTuple):
    """Where units come: a lower one first."""

    phase: int
    criticality: Criticality


class Dependent(NamedTuple):
    """A unit that has prerequisites, or a kind of units that have the same.

    Attributes:
        place: How urgent it is.
        is_required: A version is not complete without it.
        unit: Its number, or that of one of them.
        after: Numbers of the prerequisites.
    """

    place: Class
    is_required: bool
    unit: int
    after: Sequence[int]


class Lifted(NamedTuple):
    """What a prerequisite becomes.

    Attributes:
        place: How urgent it is now.
        is_required: Whether a version is complete without it now.
        because: The unit that needs it so.
    """

    place: Class
    is_required: bool
    because: int


def lift(units: Mapping[int, Dependent], kinds: Iterable[Dependent]) -> dict[int, Lifted]:
    """Return those prerequisites that have to be more urgent than it was said, or required.

    Args:
        units: Each unit that is a prerequisite; they do not go round.
        kinds: Everything that has prerequisites.

    Cost: O(prerequisites of both).
    """
    needs: dict[int, list[Dependent]] = {unit: [] for unit in units}
    for kind in kinds:
        _note(needs, kind)
    lifted: dict[int, Lifted] = {}
    for unit in _dependents_first(units):
        own = units[unit]
        better = _lifted(own, needs.pop(unit))
        if better is not None:
            lifted[unit] = better
            own = own._replace(place=better.place, is_required=better.is_required)
            _note(needs, own)
    return lifted


def _note(needs: dict[int, list[Dependent]], dependent: Dependent) -> None:
    """Keep what counts of one that needs others: the most urgent, and any that is required."""
    for unit in dependent.after:
        known = needs[unit]
        known.append(dependent)
        if len(known) > 2:  # noqa: PLR2004 (one for each question)
            urgent = min(known, key=lambda each: (each.place, each.unit))
            required = min(known, key=lambda each: (not each.is_required, each.place, each.unit))
            known[:] = [urgent, required]


def _lifted(own: Dependent, needs: Sequence[Dependent]) -> Lifted | None:
    """Return what a unit becomes by what needs it; ``None`` if it is all that already."""
    urgent = min(needs, key=lambda each: (each.place, each.unit))
    required = next((each for each in needs if each.is_required), None)
    place, because = own.place, None
    if urgent.place < own.place:
        criticality = min(own.place.criticality, urgent.place.criticality)
        place, because = Class(urgent.place.phase, criticality), urgent.unit
    is_required = own.is_required or required is not None
    if because is None and required is not None and not own.is_required:
        because = required.unit
    return None if because is None else Lifted(place, is_required, because)


def _dependents_first(units: Mapping[int, Dependent]) -> list[int]:
    """Return all units, each behind everything that needs it."""
    left = dict.fromkeys(units, 0)
    for each in units.values():
        for unit in each.after:
            left[unit] += 1
    order = sorted(unit for unit, count in left.items() if not count)
    for unit in order:
        for needed in units[unit].after:
            left[needed] -= 1
            if not left[needed]:
                order.append(needed)
    return order
