"""One event being handled: what is known, the moment, and the orders so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from ckptd.core.effects import CloseLane, CloseReason, Effect
from ckptd.core.options import Options
from ckptd.core.state import Lane, State


@dataclass(slots=True)
class Turn:
    """What every handler is given.

    Attributes:
        state: What is known.
        options: The numbers.
        rng: The only randomness.
        now: The moment, in nanoseconds of a clock that never goes back.
        effects: The orders, in the order in which they were given.
    """

    state: State
    options: Options
    rng: Random
    now: int
    effects: list[Effect] = field(default_factory=list)

    def order(self, effect: Effect) -> None:
        """Give an order."""
        self.effects.append(effect)

    def close_lane(self, lane: Lane, reason: CloseReason) -> None:
        """Close a lane; its transfers will end. Forget it at once if it has none."""
        if lane.is_closing:
            return
        lane.is_closing = True
        self.order(CloseLane(lane.id, lane.source, reason))
        self.forget_if_done(lane)

    def forget_if_done(self, lane: Lane) -> None:
        """Forget a lane that is closing and has no transfers left."""
        if lane.is_closing and not lane.transfers and lane.id in self.state.lanes:
            del self.state.lanes[lane.id]
            del self.state.recoveries[lane.recovery].lanes[lane.source]
