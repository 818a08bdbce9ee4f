"""Goals: what somebody waits for of a version, and which of its units that is about.

A goal is written ``phase=NAME``, ``critical``, ``complete`` or ``newest``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from typing import Final

from ckptd.errors import UsageError
from ckptd.model.completeness import is_commit_marker
from ckptd.model.manifest import Manifest, is_phase_name
from ckptd.model.words import Criticality, GoalKind

_SIGN: Final = "="


@dataclass(frozen=True, slots=True)
class Goal:
    """What somebody waits for.

    Attributes:
        kind: What sort of thing.
        phase: Name of the phase, if it is one.
    """

    kind: GoalKind
    phase: str = ""

    def __str__(self) -> str:
        """Write it so that :func:`parse_goal` reads the same."""
        return f"{self.kind}{_SIGN}{self.phase}" if self.phase else str(self.kind)

    @property
    def is_whole(self) -> bool:
        """It is about all required units."""
        return self.kind in {GoalKind.COMPLETE, GoalKind.NEWEST}


def parse_goal(text: str) -> Goal:
    """Read a goal as a person writes it.

    Raises:
        UsageError: It is none.
    """
    kind, sign, phase = text.partition(_SIGN)
    if kind == GoalKind.PHASE and is_phase_name(phase):
        return Goal(GoalKind.PHASE, phase)
    if not sign and kind in set(GoalKind) - {GoalKind.PHASE}:
        return Goal(GoalKind(kind))
    raise UsageError(
        f"goal {text[:64]!r}",
        "is nothing that can be waited for",
        "Write phase=NAME, critical, complete or newest.",
    )


class GoalUnits:
    """The units of a version that a goal is about, in little memory: as runs of indices.

    Commit markers of a format, such as ``.metadata``, are placed last of all, whatever their phase:
    no goal that is reached before the last phase is about them.

    Args:
        goal: About some units, not about all.
        manifest: Of the version.

    Attributes:
        is_whole: All required units count: of a version without critical ones they are waited for.
        lacks_phase: The version has no such phase.
        phases: Which ones it has.
    """

    def __init__(self, goal: Goal, manifest: Manifest) -> None:
        self.phases = manifest.phases
        self.lacks_phase = goal.kind is GoalKind.PHASE and goal.phase not in manifest.phases
        self._starts: list[int] = []
        self._ends: list[int] = []
        if goal.kind is GoalKind.PHASE and not self.lacks_phase:
            last = manifest.phases.index(goal.phase)
            is_end = last == len(manifest.phases) - 1
            units = takewhile(lambda unit: unit.phase <= last, manifest.units)
            self._take(
                index
                for index, unit in enumerate(units)
                if is_end or not is_commit_marker(unit.path)
            )
        elif goal.kind is GoalKind.CRITICAL:
            is_one = len(manifest.phases) == 1
            self._take(
                index
                for index, unit in enumerate(manifest.units)
                if unit.criticality is Criticality.CRITICAL
                and (is_one or not is_commit_marker(unit.path))
            )
        self.is_whole = goal.kind is not GoalKind.PHASE and not self._starts

    def _take(self, indices: Iterable[int]) -> None:
        for index in indices:
            if self._ends and self._ends[-1] == index:
                self._ends[-1] = index + 1
            else:
                self._starts.append(index)
                self._ends.append(index + 1)

    def any_of(self, units: Iterable[int]) -> bool:
        """Return whether the goal is about any of some units. Long for very many."""
        starts, ends = self._starts, self._ends
        if not starts:
            return False
        return any(
            unit < ends[bisect_right(starts, unit) - 1] for unit in units if unit >= starts[0]
        )
