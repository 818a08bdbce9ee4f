"""Competitors take turns, so that a slow minute of the machine hits all of them."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ckptd.cli.demo.demo_checkpoint import PlannedFile, compare, write_checkpoint
from tests.benchmarks.competitors import Competitor, Fetched, Place
from tests.benchmarks.memory import kept_warm, touch_memory
from tests.benchmarks.needs import missing

_WARM_TIMES = 4
"""How often the version fits the memory that is kept warm: what was touched, what is received,
and what else the competitors take of it, with as much again to spare."""


@dataclass(frozen=True)
class Case:
    """What is fetched, by whom.

    Attributes:
        name: Of the case.
        files: What the source consists of.
        competitors: Who fetches it.
        disk: Where they fetch to; ``None``: memory.
        rounds_max: How many turns tell enough.
    """

    name: str
    files: Sequence[PlannedFile]
    competitors: Sequence[Competitor]
    disk: Path | None = None
    rounds_max: int | None = None

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


@dataclass(frozen=True)
class Measured:
    """What one competitor needed, turn after turn."""

    competitor: Competitor
    size_bytes: int
    turns: Sequence[Fetched]

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(turn.seconds for turn in self.turns)

    @property
    def rate_bytes_per_s(self) -> float:
        """That of the median."""
        return self.size_bytes / self.seconds

    def fact(self, name: str) -> float:
        """Return the median of what was measured besides."""
        return statistics.median(turn.facts[name] for turn in self.turns)


def measure(
    case: Case, place: str, rounds: int, tell: Callable[[str], None]
) -> dict[str, Measured]:
    """Let everybody who is installed fetch in turns.

    What the first round brought is compared with the source, byte by byte.

    Args:
        case: What and by whom.
        place: A directory in memory.
        rounds: How many turns each.
        tell: Told about who is missing.

    Returns:
        By the names of those who took part.
    """
    taking_part: list[Competitor] = []
    for competitor in case.competitors:
        lacking = missing(competitor.programs)
        if lacking:
            tell(f"without {competitor.name}: {' and '.join(lacking)} not installed")
        else:
            taking_part.append(competitor)
    turns: dict[str, list[Fetched]] = {competitor.name: [] for competitor in taking_part}
    with contextlib.ExitStack() as running:
        directory = Path(running.enter_context(tempfile.TemporaryDirectory("-bench", dir=place)))
        outer = directory / "received"
        if case.disk is None:
            outer.mkdir()
        else:
            outer = Path(running.enter_context(tempfile.TemporaryDirectory("-b", dir=case.disk)))
        source = directory / "source"
        write_checkpoint(str(source), case.files, seed=1)
        places: dict[str, Place] = {}
        for number, competitor in enumerate(taking_part):
            mine = Place(source, directory / f"c{number}", outer / f"c{number}")
            mine.own.mkdir()
            mine.received.mkdir()
            places[competitor.name] = mine
            running.enter_context(competitor.serve(mine))
        running.enter_context(kept_warm(_WARM_TIMES * case.size_bytes))
        for number in range(min(rounds, case.rounds_max or rounds)):
            first = number % len(taking_part)
            for competitor in (*taking_part[first:], *taking_part[:first]):
                target = places[competitor.name].received / f"turn-{number}"
                touch_memory(directory, case.size_bytes)
                fetched = competitor.fetch(target)
                turns[competitor.name].append(fetched)
                if number == 0 and competitor.makes_files:
                    seen = compare(str(source), str(target))
                    assert not seen.differences, f"{competitor.name}: {seen.differences[:3]}"
                shutil.rmtree(target)
    return {
        competitor.name: Measured(competitor, case.size_bytes, turns[competitor.name])
        for competitor in taking_part
    }
