"""A fleet with all that watches it, as ``make sim PROFILE=copies`` runs it."""

from __future__ import annotations

from ckptd.sim.fleet.books import Books
from ckptd.sim.fleet.ending import Ending, check_bytes
from ckptd.sim.fleet.fleet import Fleet
from ckptd.sim.fleet.plan import FleetPlan
from ckptd.sim.fleet.planner import Planner


class WatchedFleet:
    """A fleet with all that watches it.

    Args:
        plan: What happens; a seed draws it.
    """

    def __init__(self, plan: FleetPlan) -> None:
        self._books, self._planner = Books(), Planner()
        self._fleet = Fleet(plan, (self._books, self._planner, Ending()))

    def run(self) -> None:
        """Run it.

        Raises:
            FleetCheckFailed: Something that must hold did not.
        """
        self._fleet.run()
        check_bytes(self._books, self._planner)

    @property
    def event_count(self) -> int:
        """How much happened."""
        return self._fleet.ground.world.step_count

    @property
    def lines(self) -> list[str]:
        """The story, for people."""
        return self._fleet.ground.lines

    @property
    def moved_bytes(self) -> int:
        """What was moved."""
        return self._books.moved_bytes

    @property
    def planned_bytes(self) -> int:
        """What a planner with full knowledge would have moved."""
        return self._planner.moved_bytes

    def digest(self) -> str:
        """Return the digest of the story."""
        return self._fleet.digest()
