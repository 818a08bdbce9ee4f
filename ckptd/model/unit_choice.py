"""A choice: which units of a version somebody wants, of which nothing may be known yet.

By patterns of their paths, by how urgent they are, or whatever a place has of the version. The
journal has it as text, so that an interrupted recovery goes on with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import Final

from ckptd.errors import NotFound, UsageError
from ckptd.limits import CHOICE_PATTERNS_MAX
from ckptd.model.blocks import BlockSet
from ckptd.model.nearest import nearest_names
from ckptd.model.patterns import check_pattern, compile_pattern
from ckptd.model.space import AddressSpace
from ckptd.model.words import Criticality

_COMPARED_MAX: Final = 20_000
"""Paths among which those are looked for that are spelled most like a pattern."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which units are wanted: those that any of these names. None at all: nothing.

    Attributes:
        patterns: Their paths match one of these.
        min_criticality: They are at least so urgent; ``None``: none is wanted for that.
        is_what_stands: They are recorded as standing at the target.
    """

    patterns: tuple[str, ...] = ()
    min_criticality: Criticality | None = None
    is_what_stands: bool = False

    @classmethod
    def parse(cls, patterns: tuple[str, ...], min_criticality: str | None) -> Choice | None:
        """Check what somebody asks for.

        Args:
            patterns: Of paths; each counts once.
            min_criticality: The word for it.

        Returns:
            ``None`` if that is everything.

        Raises:
            UsageError: There is no such criticality; a pattern is too long, or there are too many.
        """
        for pattern in patterns:
            check_pattern(pattern)
        known = {each.label: each for each in Criticality}
        if min_criticality is not None and min_criticality not in known:
            raise UsageError(
                f"criticality {min_criticality[:40]!r}", f"is none of {', '.join(known)}"
            )
        if not patterns and min_criticality is None:
            return None
        chosen = cls((), known.get(min_criticality or ""))
        return chosen.widened(cls(tuple(dict.fromkeys(patterns))))

    def widened(self, other: Choice) -> Choice:
        """Return what either names.

        Raises:
            UsageError: Those are too many patterns.
        """
        patterns = tuple(dict.fromkeys((*self.patterns, *other.patterns)))
        if len(patterns) > CHOICE_PATTERNS_MAX:
            raise UsageError(
                "choice of units",
                f"has {len(patterns)} patterns, more than {CHOICE_PATTERNS_MAX}",
                "Use fewer and wider ones, or recover all of the version.",
            )
        levels = [self.min_criticality, other.min_criticality]
        level = max((each for each in levels if each is not None), default=None)
        return Choice(patterns, level, self.is_what_stands or other.is_what_stands)

    def blocks_in(self, space: AddressSpace, *, standing: BlockSet | None = None) -> BlockSet:
        """Return the blocks of the units that are wanted of a version.

        Args:
            space: What it consists of.
            standing: Blocks that are recorded as standing at the target; ``None``: nothing is.

        Raises:
            NotFound: Something of the choice names no unit of it.

        Cost: O(units times patterns); not for an event loop.
        """
        if self.is_what_stands and standing is None:
            raise NotFound("target", "has nothing of the version any more")
        blocks = self._of_patterns(space) | (standing or BlockSet())
        if self.min_criticality is None:
            return blocks
        found = BlockSet()
        for criticality in Criticality:
            if criticality <= self.min_criticality:
                found |= space.of_criticality(criticality)
        if not found:
            label = self.min_criticality.label
            raise NotFound(
                _named(space),
                f"has no unit that is at least {label}",
                "Recover it without --min, or publish it with criticalities.",
            )
        return blocks | found

    def blocks_outside(self, space: AddressSpace) -> BlockSet:
        """Return the blocks that are not wanted, where nothing stands yet.

        Raises:
            NotFound: As for :meth:`blocks_in`.
        """
        return BlockSet.full(space.block_count) - self.blocks_in(space)

    def _of_patterns(self, space: AddressSpace) -> BlockSet:
        matching = [(pattern, compile_pattern(pattern).match) for pattern in self.patterns]
        matched: set[str] = set()
        runs: list[tuple[int, int]] = []
        for index, unit in enumerate(space.manifest.units if matching else ()):
            is_wanted = False
            for pattern, match in matching:
                if match(unit.path):
                    matched.add(pattern)
                    is_wanted = True
            if is_wanted and unit.block_count:
                runs.append(space.unit_run(index))
        for pattern in self.patterns:
            if pattern not in matched:
                raise NotFound(
                    f"pattern {pattern!r}",
                    f"matches no unit of {_named(space)}",
                    _near_ones(space, pattern),
                )
        return BlockSet(runs)


def widened(one: Choice | None, other: Choice | None) -> Choice | None:
    """Return what either of two choices names; ``None`` is everything.

    Raises:
        UsageError: Those are too many patterns.
    """
    return None if one is None or other is None else one.widened(other)


def format_choice(choice: Choice | None) -> str:
    """Return a choice as the journal has it; empty: everything is wanted."""
    if choice is None:
        return ""
    level = choice.min_criticality
    said = {
        "patterns": choice.patterns,
        "min_criticality": None if level is None else level.label,
        "is_what_stands": choice.is_what_stands,
    }
    return json.dumps(said, separators=(",", ":"))


def read_choice(text: str) -> Choice | None:
    """Return the choice that :func:`format_choice` wrote."""
    if not text:
        return None
    said = json.loads(text)
    level = said["min_criticality"]
    return Choice(
        tuple(said["patterns"]),
        None if level is None else Criticality[level.upper()],
        said["is_what_stands"],
    )


def _named(space: AddressSpace) -> str:
    return f"{space.manifest.checkpoint}@{space.manifest.version}"


def _near_ones(space: AddressSpace, pattern: str) -> str:
    paths = (unit.path for unit in islice(space.manifest.units, _COMPARED_MAX))
    near = nearest_names(pattern.replace("*", ""), paths)
    return f"It has, among others: {', '.join(near)}." if near else "It has no unit."
