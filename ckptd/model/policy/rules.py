"""A policy: the phases of a version in order, and rules that say what its units are.

Publishers write them into the configuration or a file, or recognisers propose them.
:mod:`ckptd.model.policy.assignment` applies them to the files of a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ckptd.errors import UsageError
from ckptd.limits import PHASE_NAME_CHARACTERS_MAX
from ckptd.model.manifest import is_phase_name
from ckptd.model.words import Criticality

DEFAULT: Final = "default"
"""The origin of what no rule says."""

REST: Final = "rest"
"""The phase of units that no rule puts into another one, where rules name phases. It comes last
unless a policy puts it elsewhere."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is said of units by their paths. ``None`` says nothing: then a later rule may.

    Attributes:
        paths: Patterns as of :func:`ckptd.model.patterns.compile_pattern`; one match is enough.
        phase: The phase that they are useful in.
        criticality: How urgent they are within it.
        after: Patterns of their prerequisites. A unit that matches one itself has none by this
            rule. Empty: they have none.
        is_optional: The version is complete without them.
        origin: Who says so, for people: ``ckptd.policy.toml rule[2]``.
        must_match: It is an error if a pattern of ``paths`` matches nothing.
    """

    paths: tuple[str, ...]
    phase: str | None = None
    criticality: Criticality | None = None
    after: tuple[str, ...] | None = None
    is_optional: bool | None = None
    origin: str = ""
    must_match: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules from one place. Of those that match a unit, the first that says something counts.

    Attributes:
        phases: Names in the order in which they are wanted; what rules name beside them follows.
        rules: In order of precedence.
    """

    phases: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def named_phases(self) -> tuple[str, ...]:
        """All phases that it names, in order."""
        of_rules = (rule.phase for rule in self.rules if rule.phase is not None)
        return tuple(dict.fromkeys((*self.phases, *of_rules)))


def parse_phase_name(name: str) -> str:
    """Check the name of a phase.

    Raises:
        UsageError: It is none.
    """
    if not is_phase_name(name):
        raise UsageError(
            f"phase {name[:40]!r}",
            "is no name of a phase",
            f"Use at most {PHASE_NAME_CHARACTERS_MAX} small letters, digits, '-' and '_', a letter "
            "or digit first.",
        )
    return name


def merged_phases(policies: Sequence[Policy]) -> tuple[str, ...]:
    """Return the phases of several policies in one order.

    Lists count before what only rules name, and the first of each kind before the others. What a
    later one adds comes right behind what it puts before it; what it puts before all others, right
    before what follows there.

    Args:
        policies: In order of precedence.
    """
    merged: list[str] = []
    for names in (
        *(policy.phases for policy in policies),
        *(policy.named_phases for policy in policies),
    ):
        place = 0
        for index, name in enumerate(names):
            if name not in merged:
                if not index:
                    known = [merged.index(each) for each in names if each in merged]
                    place = known[0] if known else len(merged)
                merged.insert(place, name)
            place = merged.index(name) + 1
    return tuple(merged)
