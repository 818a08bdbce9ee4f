"""Which phase of a recovery is under way, and which milestones it has reached."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ckptd.model.milestones import Milestone
from ckptd.model.words import Criticality

NO_END: Final = 2**32
"""Behind every block."""


@dataclass(slots=True)
class Phasing:
    """The phase that is under way: the first of which something is missing that somebody has.

    Attributes:
        has_several: Units are in several phases.
        position: Which of the phases that have units; 0 where there is one.
        end: The block behind it.
        floor: The least urgent that is missing of it; no block from there on counts as more urgent
            than that, nor as critical.
        looked_ns: When it was looked for among all of them last.
        earlier: Milestones that an earlier life of this node reached, with their moments, which
            are before this life. Each counts if what it is about is still here.
        reached: Those that hold now, with their moments.
    """

    has_several: bool = False
    position: int = 0
    end: int = NO_END
    floor: Criticality = Criticality.NORMAL
    looked_ns: int = 0
    earlier: Mapping[Milestone, int] = field(default_factory=dict)
    reached: dict[Milestone, int] = field(default_factory=dict)

    def forget(self, milestone: Milestone) -> None:
        """Take a milestone back, whichever life reached it."""
        self.reached.pop(milestone, None)
        self.earlier = {each: at for each, at in self.earlier.items() if each != milestone}
