"""What the units of a version are, by the rules of several policies.

Of each thing that can be said of a unit the first rule counts that matches it and says so, the
policy of higher precedence first. Prerequisites are at least as urgent as what needs them.

Half a million units are of a few kinds only: each is a number, the kind that it is of.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ckptd.errors import UsageError
from ckptd.limits import (
    MANIFEST_PHASES_MAX,
    MANIFEST_PREREQUISITES_MAX,
    UNIT_PREREQUISITES_MAX,
)
from ckptd.model.manifest import ONE_PHASE
from ckptd.model.patterns import compile_pattern
from ckptd.model.policy.glob_index import GlobIndex
from ckptd.model.policy.lifting import Class, Dependent, lift
from ckptd.model.policy.rules import DEFAULT, REST, Policy, Rule, merged_phases
from ckptd.model.prerequisites import find_cycle, way_round
from ckptd.model.words import Criticality

_NOTHING: Final = -1
"""The number of a rule where none says something."""


class Origins(NamedTuple):
    """Who says what of a unit, for people.

    Attributes:
        phase: Who put it into its phase.
        criticality: Who said how urgent it is.
        after: Who named its prerequisites.
        is_optional: Who said whether a version is complete without it.
        lifted_before: The unit that needs it and is more urgent, or required; empty if none.
    """

    phase: str = DEFAULT
    criticality: str = DEFAULT
    after: str = DEFAULT
    is_optional: str = DEFAULT
    lifted_before: str = ""

    def rules(self) -> str:
        """Return all of them that are no default, each once; or the default."""
        said = dict.fromkeys((self.phase, self.criticality, self.is_optional, self.after))
        said.pop(DEFAULT, None)
        return "; ".join(said) or DEFAULT


class UnitWords(NamedTuple):
    """What is said of a unit.

    Attributes:
        phase: Index into the phases of the assignment.
        criticality: How urgent it is within that.
        is_optional: A version is complete without it.
        after: Numbers of its prerequisites, ascending.
        origins: Who says so.
    """

    phase: int = 0
    criticality: Criticality = Criticality.NORMAL
    is_optional: bool = False
    after: tuple[int, ...] = ()
    origins: Origins = Origins()


@dataclass(frozen=True, slots=True)
class Assignment:
    """What all units of a version are.

    Attributes:
        phases: In order; each has a unit.
        kinds: What units can be.
        kind_of: Of each unit, by its number, which of the kinds it is.
        idle_rules: Origins of rules that count for no unit: they match none, or others before them
            say the same things.
        unresolved: Patterns of prerequisites that match nothing, each with the origin of its rule
            behind it.
    """

    phases: tuple[str, ...]
    kinds: tuple[UnitWords, ...]
    kind_of: Sequence[int]
    idle_rules: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()

    def of(self, number: int) -> UnitWords:
        """Return what a unit is."""
        return self.kinds[self.kind_of[number]]


def assign(
    paths: Sequence[str],
    policies: Iterable[Policy],
    *,
    also_called: Mapping[str, Sequence[str]] | None = None,
    is_part: bool = False,
) -> Assignment:
    """Say what each unit of a version is.

    Args:
        paths: Of its units; the place of one is its number.
        policies: In order of precedence.
        also_called: Other names of units, by path: a pattern that matches one matches the unit.
        is_part: Of a version that has more: prerequisites that are not among these may be there.

    Raises:
        UsageError: A pattern that has to match matches nothing; phases or prerequisites are too
            many; these go round, or are not there; one policy calls a unit critical and optional.

    Cost: O(units times those patterns that begin as their paths do); half a million units and ten
        rules take three seconds, and a thousand rules for other directories no more.
    """
    policies = tuple(policies)
    if not paths or not any(policy.rules for policy in policies):
        return Assignment(ONE_PHASE, (UnitWords(),), array("I", bytes(4 * len(paths))))
    assigning = _Assigning(policies)
    for number, path in enumerate(paths):
        names = also_called.get(path, ()) if also_called else ()
        assigning.take(number, (path, *names))
    unresolved = assigning.check(is_part=is_part)
    return assigning.finish(paths, merged_phases(policies), unresolved)


class _Said(NamedTuple):
    """Numbers of the rules that say something of a unit; :data:`_NOTHING` where none does."""

    phase: int = _NOTHING
    criticality: int = _NOTHING
    after: int = _NOTHING
    is_optional: int = _NOTHING
    waits: bool = False


@dataclass(slots=True)
class _Numbered:
    """A rule with what is known of it so far.

    Attributes:
        rule: The rule.
        source: Number of the policy that it is of.
        unmatched: Patterns that have to match and have not yet.
        unresolved: Patterns of prerequisites that have matched nothing yet.
        found: The first of the prerequisites.
        found_count: How many there are.
    """

    rule: Rule
    source: int
    unmatched: set[str]
    unresolved: set[str]
    found: list[int] = field(default_factory=list)
    found_count: int = 0

    def needs(self, number: int) -> None:
        """Take a unit as a prerequisite."""
        self.found_count += 1
        if len(self.found) < UNIT_PREREQUISITES_MAX:
            self.found.append(number)


class _Assigning:
    """Goes through the units of a version once."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._rules = [
            _Numbered(
                rule, source, set(rule.paths) if rule.must_match else set(), set(rule.after or ())
            )
            for source, policy in enumerate(policies)
            for rule in policy.rules
        ]
        rules = [(number, each.rule) for number, each in enumerate(self._rules)]
        self._paths = GlobIndex((number, glob) for number, rule in rules for glob in rule.paths)
        self._after = GlobIndex(
            (number, glob) for number, rule in rules for glob in rule.after or ()
        )
        self._kinds: dict[_Said, int] = {}
        self._examples: list[int] = []
        self._kind_of = array("I")

    def take(self, number: int, names: Sequence[str]) -> None:
        """Take the next unit; its path is the first of its names."""
        needed_by: set[int] = set()
        for at, glob in self._after.matching(names):
            self._rules[at].unresolved.discard(glob)
            needed_by.add(at)
        for at in needed_by:
            self._rules[at].needs(number)
        matching: set[int] = set()
        for at, glob in self._paths.matching(names):
            self._rules[at].unmatched.discard(glob)
            matching.add(at)
        phase = criticality = after = is_optional = _NOTHING
        for at in sorted(matching):
            rule = self._rules[at].rule
            if phase == _NOTHING and rule.phase is not None:
                phase = at
            if criticality == _NOTHING and rule.criticality is not None:
                criticality = at
            if after == _NOTHING and rule.after is not None:
                after = at
            if is_optional == _NOTHING and rule.is_optional is not None:
                is_optional = at
        waits = after != _NOTHING and bool(self._rules[after].rule.after) and after not in needed_by
        said = _Said(phase, criticality, after, is_optional, waits)
        kind = self._kinds.get(said)
        if kind is None:
            self._check_optional(said, names)
            kind = self._kinds[said] = len(self._kinds)
            self._examples.append(number)
        self._kind_of.append(kind)

    def _check_optional(self, said: _Said, names: Sequence[str]) -> None:
        """Refuse a unit that one policy calls critical and optional."""
        if _NOTHING in (said.criticality, said.is_optional):
            return
        urgent, optional = self._rules[said.criticality], self._rules[said.is_optional]
        if urgent.rule.criticality is not Criticality.CRITICAL or not optional.rule.is_optional:
            return
        if urgent.source == optional.source:
            one, other = _first_match(urgent.rule, names), _first_match(optional.rule, names)
            raise UsageError(
                f"file {names[0]!r}",
                f"matches {one!r} and is critical, and {other!r} and is optional",
                "A critical unit cannot be optional: make one of the patterns narrower.",
            )

    def check(self, *, is_part: bool) -> tuple[str, ...]:
        """Check that patterns have matched what they have to.

        Returns:
            Prerequisites that are not there, of a part.
        """
        missed = [glob for each in self._rules if each.rule.must_match for glob in each.unmatched]
        if missed:
            raise UsageError(
                f"pattern {min(missed)!r}",
                "matches no file",
                "Patterns are compared with paths relative to the directory.",
            )
        unresolved: list[tuple[str, str]] = []
        for number in sorted({said.after for said in self._kinds if said.after != _NOTHING}):
            each = self._rules[number]
            unresolved += ((glob, each.rule.origin) for glob in sorted(each.unresolved))
            is_used = any(said.after == number and said.waits for said in self._kinds)
            if is_used and each.found_count > UNIT_PREREQUISITES_MAX:
                raise UsageError(
                    each.rule.origin,
                    f"puts units after {each.found_count} others, more than "
                    f"{UNIT_PREREQUISITES_MAX}",
                    "Put those into an earlier phase, or name fewer.",
                )
        if unresolved and not is_part:
            glob, origin = unresolved[0]
            raise UsageError(
                origin,
                f"puts units after {glob!r}, which matches no unit",
                "Name what is there: patterns are compared with paths relative to the directory.",
            )
        return tuple(f"{glob} ({origin})" for glob, origin in unresolved)

    def finish(
        self, paths: Sequence[str], phases: Sequence[str], unresolved: tuple[str, ...]
    ) -> Assignment:
        """Put prerequisites in their place, and return what all units are."""
        has_phases = any(said.phase != _NOTHING for said in self._kinds)
        order = tuple(dict.fromkeys((*phases, REST))) if has_phases else ONE_PHASE
        kinds = [self._words(said, order) for said in self._kinds]
        lifted = self._lift(paths, kinds)
        for unit, words in lifted.items():
            self._kind_of[unit] = len(kinds)
            kinds.append(words)
        used = Counter(self._kind_of)
        named = sorted({kinds[kind].phase for kind in used})
        _check_amounts(len(named), sum(len(kinds[kind].after) * used[kind] for kind in used))
        places = {phase: place for place, phase in enumerate(named)}
        return Assignment(
            tuple(order[phase] for phase in named),
            tuple(each._replace(phase=places.get(each.phase, 0)) for each in kinds),
            self._kind_of,
            self._idle(),
            unresolved,
        )

    def _idle(self) -> tuple[str, ...]:
        """Return the rules that count for no unit."""
        counting = {number for said in self._kinds for number in said[:4]}
        return tuple(
            each.rule.origin for number, each in enumerate(self._rules) if number not in counting
        )

    def _words(self, said: _Said, order: Sequence[str]) -> UnitWords:
        """Return what the rules make of a unit, before anything is lifted."""
        phase, criticality, after, is_optional = (
            None if number == _NOTHING else self._rules[number] for number in said[:4]
        )
        urgent = Criticality.NORMAL
        if criticality and criticality.rule.criticality is not None:
            urgent = criticality.rule.criticality
        place = 0
        if len(order) > 1:  # else nobody names a phase
            place = order.index((phase and phase.rule.phase) or REST)
        words = UnitWords(
            place,
            urgent,
            bool(is_optional and is_optional.rule.is_optional),
            tuple(self._rules[said.after].found) if said.waits else (),
            Origins(*map(_origin, (phase, criticality, after, is_optional))),
        )
        if not (criticality and is_optional and words.is_optional):
            return words
        if urgent is not Criticality.CRITICAL:
            return words
        if criticality.source < is_optional.source:
            origins = words.origins._replace(is_optional=criticality.rule.origin)
            return words._replace(is_optional=False, origins=origins)
        origins = words.origins._replace(criticality=is_optional.rule.origin)
        return words._replace(criticality=Criticality.NORMAL, origins=origins)

    def _lift(self, paths: Sequence[str], kinds: Sequence[UnitWords]) -> dict[int, UnitWords]:
        """Return what those prerequisites are that would be less urgent than what needs them."""
        waiting = [kind for kind in kinds if kind.after]
        if not waiting:
            return {}
        needed = {unit for kind in waiting for unit in kind.after}
        after = {unit: kinds[self._kind_of[unit]].after for unit in needed}
        if cycle := find_cycle(after):
            raise UsageError(
                kinds[self._kind_of[cycle[0]]].origins.after,
                "puts units after themselves: "
                + way_round((paths[unit] for unit in cycle), len(cycle)),
                "Remove one of these steps.",
            )
        dependents = [
            _dependent(kind, example)
            for kind, example in zip(kinds, self._examples, strict=True)
            if kind.after
        ]
        units = {unit: _dependent(kinds[self._kind_of[unit]], unit) for unit in needed}
        lifted: dict[int, UnitWords] = {}
        for unit, (place, is_required, because) in lift(units, dependents).items():
            kind = kinds[self._kind_of[unit]]
            lifted[unit] = kind._replace(
                phase=place.phase,
                criticality=place.criticality,
                is_optional=not is_required,
                origins=kind.origins._replace(lifted_before=paths[because]),
            )
        return lifted


def _check_amounts(phases: int, prerequisites: int) -> None:
    """Refuse what no manifest may have, before anything is hashed for it.

    Raises:
        UsageError: There is too much.
    """
    if phases > MANIFEST_PHASES_MAX:
        raise UsageError("policies", f"name {phases} phases, more than {MANIFEST_PHASES_MAX}")
    if prerequisites > MANIFEST_PREREQUISITES_MAX:
        raise UsageError(
            "policies",
            f"put units after {prerequisites} others in all, more than "
            f"{MANIFEST_PREREQUISITES_MAX}",
            "Put what many units wait for into an earlier phase.",
        )


def _dependent(words: UnitWords, unit: int) -> Dependent:
    place = Class(words.phase, words.criticality)
    return Dependent(place, not words.is_optional, unit, words.after)


def _origin(numbered: _Numbered | None) -> str:
    return DEFAULT if numbered is None else numbered.rule.origin


def _first_match(rule: Rule, names: Sequence[str]) -> str:
    patterns = ((glob, compile_pattern(glob)) for glob in rule.paths)
    return next(glob for glob, each in patterns if any(map(each.match, names)))
