"""What is said of many units in few rows: those of which the same is said are one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import count as numbers
from typing import Final, Generic, NamedTuple, TypeVar

from ckptd.model.policy.assignment import Assignment
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality

FOLDS_MAX: Final = 64
"""Rows; what is said of fewer units than that is left out. More would fit no screen."""

AFTER_SHOWN_MAX: Final = 3
"""Prerequisites that are named of a unit."""

_ALIKE_MIN: Final = 3
"""Letters that paths have in common where a pattern says more than two of them."""

_Kind = TypeVar("_Kind")


class Said(NamedTuple):
    """What is said of units, for people.

    Attributes:
        phase: Index of their phase.
        criticality: How urgent they are within it.
        is_optional: A version is complete without them.
        after: Paths of their prerequisites, the first few.
        after_count: How many these are.
        rule: Who says so; empty if that is not known.
        lifted_before: The unit because of which they are more urgent than was said, or required.
    """

    phase: int
    criticality: Criticality
    is_optional: bool
    after: tuple[str, ...] = ()
    after_count: int = 0
    rule: str = ""
    lifted_before: str = ""


class Fold(NamedTuple):
    """Units of which the same is said.

    Attributes:
        said: What that is.
        paths: Their paths, in short: a pattern, or the first and the last one.
        units: How many they are.
        size_bytes: Their length together.
    """

    said: Said
    paths: str
    units: int
    size_bytes: int


class PhaseSum(NamedTuple):
    """The units of one phase.

    Attributes:
        name: Its name.
        units: How many.
        size_bytes: Their length together.
        critical_bytes: That of the critical ones.
    """

    name: str
    units: int
    size_bytes: int
    critical_bytes: int


class Summary(NamedTuple):
    """What is said of all units of a version.

    Attributes:
        phases: Their sums, in order.
        folds: In urgency order.
        left_out: Units that are in none of the folds.
    """

    phases: tuple[PhaseSum, ...]
    folds: tuple[Fold, ...]
    left_out: int


def summary_of_assignment(
    assignment: Assignment, paths: Sequence[str], sizes: Iterable[int]
) -> Summary:
    """Return what rules say of the units of a version.

    Args:
        assignment: What they say.
        paths: Of the units, by their numbers.
        sizes: Their lengths, likewise.
    """

    def said(kind: int) -> Said:
        words = assignment.kinds[kind]
        return Said(
            words.phase,
            words.criticality,
            words.is_optional,
            tuple(paths[number] for number in words.after[:AFTER_SHOWN_MAX]),
            len(words.after),
            words.origins.rules(),
            words.origins.lifted_before,
        )

    folding = _Folding(assignment.phases, said)
    for kind, path, size_bytes in zip(assignment.kind_of, paths, sizes, strict=True):
        folding.take(kind, path, size_bytes)
    return folding.finish()


def summary_of_manifest(space: AddressSpace) -> Summary:
    """Return what a manifest says of its units.

    Cost: O(units); not for an event loop.
    """
    manifest = space.manifest
    units = manifest.units

    def said(kind: tuple[int, Criticality, bool, tuple[int, ...]]) -> Said:
        phase, criticality, is_optional, after = kind
        paths = tuple(units[index].path for index in after[:AFTER_SHOWN_MAX])
        return Said(phase, criticality, is_optional, paths, len(after))

    folding = _Folding(manifest.phases, said)
    for unit in units:
        kind = (unit.phase, unit.criticality, unit.is_optional, unit.after)
        folding.take(kind, unit.path, unit.size_bytes)
    return folding.finish()


class _Group:
    """Units of which the same is said, as they come."""

    def __init__(self, path: str) -> None:
        self.first = self.last = self.prefix = self.suffix = path
        self.shortest = len(path)
        self.units = self.size_bytes = 0

    def take(self, path: str, size_bytes: int) -> None:
        self.units += 1
        self.size_bytes += size_bytes
        self.first, self.last = min(self.first, path), max(self.last, path)
        self.shortest = min(self.shortest, len(path))
        self.prefix = _common(self.prefix, path)
        self.suffix = _common(self.suffix[::-1], path[::-1])[::-1]

    def paths(self) -> str:
        if self.units == 1:
            return self.first
        prefix, suffix = self.prefix, self.suffix
        over = len(prefix) + len(suffix) - self.shortest
        if over > 0:  # they meet in the shortest path
            suffix = suffix[over:]
        if len(prefix) + len(suffix) >= _ALIKE_MIN:
            return f"{prefix}*{suffix}"
        return f"{self.first} … {self.last}"


class _Folding(Generic[_Kind]):
    """Puts units of which the same is said together.

    Args:
        phases: Names of all phases.
        say: Returns what is said of a kind of units; asked once for each.
    """

    def __init__(self, phases: Sequence[str], say: Callable[[_Kind], Said]) -> None:
        self._say = say
        self._phases = [PhaseSum(name, 0, 0, 0) for name in phases]
        self._groups: dict[Said, _Group] = {}
        self._said: dict[_Kind, Said] = {}
        self._left_out = 0

    def take(self, kind: _Kind, path: str, size_bytes: int) -> None:
        said = self._said.get(kind)
        if said is None:
            said = self._say(kind)
            if len(self._said) < FOLDS_MAX * FOLDS_MAX:
                self._said[kind] = said
        before = self._phases[said.phase]
        is_critical = said.criticality is Criticality.CRITICAL
        self._phases[said.phase] = PhaseSum(
            before.name,
            before.units + 1,
            before.size_bytes + size_bytes,
            before.critical_bytes + size_bytes * is_critical,
        )
        group = self._groups.get(said)
        if group is None:
            if len(self._groups) == FOLDS_MAX:
                self._left_out += 1
                return
            group = self._groups[said] = _Group(path)
        group.take(path, size_bytes)

    def finish(self) -> Summary:
        folds = [
            Fold(said, group.paths(), group.units, group.size_bytes)
            for said, group in self._groups.items()
        ]
        folds.sort(key=lambda fold: (fold.said.phase, fold.said.criticality, fold.paths))
        return Summary(tuple(self._phases), tuple(folds), self._left_out)


def _common(one: str, other: str) -> str:
    """Return what two texts begin with."""
    if other.startswith(one):
        return one
    end = next(at for at in numbers() if one[at : at + 1] != other[at : at + 1])
    return one[:end]
