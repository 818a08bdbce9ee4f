"""What sources and this node's disk do for a recovery at this moment."""

from __future__ import annotations

from dataclasses import dataclass, field

from ckptd.core.events import Refusal
from ckptd.core.state.lane import Bundle, Lane
from ckptd.model.ids import LaneId, PathId
from ckptd.model.words import LocalOrder


@dataclass(slots=True)
class SourceWork:
    """What sources were asked for.

    Attributes:
        lanes: The recovery's lanes, by name.
        bundles: The same lanes, by source.
        transfer_count: How many transfers the lanes have.
        owed_bytes: What those still owe.
        is_held_up: A lane is due that the disk may hold up; it is looked at again when another
            one delivers or the commit ends.
    """

    lanes: dict[LaneId, Lane] = field(default_factory=dict)
    bundles: dict[PathId, Bundle] = field(default_factory=dict)
    transfer_count: int = 0
    owed_bytes: int = 0
    is_held_up: bool = False

    @property
    def delivered_ns(self) -> int:
        """When one of the lanes brought something last; 0 if none did."""
        return max((lane.heard_ns for lane in self.lanes.values() if lane.has_body), default=0)

    def rate_of(self, lane: Lane) -> float:
        """Return how fast one of several lanes to a source delivers; 0 while that is not known."""
        return lane.link.rate.bytes_per_s / max(self.bundles[lane.source].active_count, 1)


@dataclass(slots=True)
class LocalWork:
    """What this node was asked for, and what its disk refused.

    Attributes:
        pending_order: The order to this node that has not ended.
        refusals: What the disk refused since the recovery was advanced last.
        retry_at_ns: A local order is tried again at this moment.
        trouble: Why the last local order failed; empty once it worked.
        is_short: It failed because this node is short of descriptors, memory or threads.
        staging_losses: How often what was staged was lost.
        is_staging_lost: It is, and will be prepared again once nothing writes there any more.
    """

    pending_order: LocalOrder | None = None
    refusals: list[Refusal] = field(default_factory=list)
    retry_at_ns: int | None = None
    trouble: str = ""
    is_short: bool = False
    staging_losses: int = 0
    is_staging_lost: bool = False

    def hold_up(self, refusal: Refusal, *, until_ns: int | None) -> None:
        """Note what this node refused, and when it is asked again.

        Args:
            refusal: What and why.
            until_ns: When; ``None``: as soon as nothing is under way.
        """
        self.trouble, self.is_short = refusal.message, refusal.is_shortage
        if until_ns is not None:
            self.retry_at_ns = until_ns

    def worked(self) -> None:
        """Note that a local order worked."""
        self.trouble, self.is_short = "", False
