"""Of what kind a misbehaving source is: what it does wrong, and how often."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from random import Random
from typing import Final

from tests.fuzz.dialogues.answers import FAULTS

STEPS: Final = ("connection", "holdings", "manifest", "signatures", "range", "question")
"""What a source is asked for, one step of a dialogue each; beside them for ``attributes``."""

TWISTS: Final = {
    "connection": ("close", "mute", "junk", "other certificate"),
    "holdings": (
        *("epoch", "id", "invent", "contradict", "fewer", "none", "mutated"),
        *("delta", "back", "many", "unchanged"),
    ),
    "manifest": ("junk", "sly", "missing", "other", "empty"),
    "signatures": ("missing", "foreign", "junk", "empty"),
    "range": (
        *("one block", "all", "shifted", "other range", "whole", "denied", "busy"),
        *("broken", "other version", "after the first"),
    ),
    "attributes": ("missing", "foreign", "junk", "empty"),
    "question": ("denied", "denied blocks", "no answer", "stands by it", "unknown"),
}
"""What can be wrong with what is said, by step; what can be wrong with how is in ``FAULTS``."""

_OFTEN: Final = {
    "connection": (0.0, 0.0, 0.0, 0.05, 0.3),
    "holdings": (0.0, 0.0, 0.1, 0.2, 0.4),
    "manifest": (0.0, 0.0, 0.3, 1.0),
    "signatures": (0.0, 0.3, 1.0),
    "range": (0.0, 0.1, 0.3, 0.6, 1.0),
    "question": (0.2, 0.5, 1.0),
    "attributes": (0.0, 0.3, 1.0),
}


@dataclass(frozen=True, slots=True)
class Temper:
    """One source's habits.

    Attributes:
        twist: How often it says something wrong, by step.
        fault: How often it says it wrongly, by step.
        twists: What it prefers to say, by step.
        faults: How.
    """

    twist: dict[str, float]
    fault: dict[str, float]
    twists: dict[str, tuple[str, ...]]
    faults: tuple[str, ...]

    @classmethod
    def draw(cls, rng: Random) -> Temper:
        temper = cls(
            twist={step: rng.choice(_OFTEN[step]) for step in STEPS},
            fault={step: rng.choice(_OFTEN[step]) for step in STEPS},
            twists={step: _some(rng, TWISTS[step]) for step in STEPS},
            faults=_some(rng, tuple(FAULTS)),
        )
        # Came later: what was drawn before stays what a seed stands for.
        aside, step = copy.copy(rng), "attributes"
        temper.twist[step], temper.fault[step] = (aside.choice(_OFTEN[step]) for _ in range(2))
        temper.twists[step] = _some(aside, TWISTS[step])
        return temper

    def twist_of(self, rng: Random, step: str) -> str:
        """Draw what is wrong with an answer; empty: nothing."""
        return rng.choice(self.twists[step]) if rng.random() < self.twist[step] else ""

    def fault_of(self, rng: Random, step: str) -> str:
        """Draw what is wrong with its way; empty: nothing."""
        return rng.choice(self.faults) if rng.random() < self.fault[step] else ""


def _some(rng: Random, known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(rng.sample(known, rng.choice((1, 2, 3, len(known)) if len(known) > 3 else (1, 2))))
