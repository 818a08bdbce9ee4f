"""How far a recovery is that is placed phase by phase."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class PhasePlacing:
    """Which phases stand under their final names, and what holds the next one up.

    Attributes:
        is_pending: A phase is being placed.
        position: So many of the phases that have units were placed from what is staged now, or
            are not wanted.
        has_begun: Something stands there, or may: no other content is chosen any more.
        obstacle: What is in the way of the next phase; empty: nothing is.
        retry_at_ns: It is tried again at this moment.
        is_given_up: It is placed with the rest, when that is here.
    """

    is_pending: bool = False
    position: int = 0
    has_begun: bool = False
    obstacle: str = ""
    retry_at_ns: int | None = None
    is_given_up: bool = False

    def start_over(self) -> None:
        """Place phases again from the first one: of those that stand nothing is left to do."""
        self.position = 0
        self.retry_at_ns = None
