"""A lane to a node's own disks: copies what lies there already, one group after another."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from ckptd.core.effects import FetchRange
from ckptd.core.events import RangeEnded, RangeProgressed, Refusal, Reporting
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS, LaneId, PathId
from ckptd.model.words import RangeOutcome
from ckptd.sim.node.shelf import Shelf
from ckptd.sim.node.simulated_lane import Delivered
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.world.disk import FULL
from ckptd.sim.world.mishaps import Mishaps
from ckptd.sim.world.virtual_time import World

HANG_NS: Final = 3 * SECOND
"""How long a disk does not answer now and then when things go wrong: longer than patience."""

_CLOSE_NS: Final = MS
"""How long its thread takes to notice that it was closed."""

_GROUP_BYTES: Final = MIB
"""What is copied before it is verified and reported."""


@dataclass(slots=True, eq=False)
class _Copying:
    """A range that was ordered, and the first block that is not copied yet."""

    order: FetchRange
    staging: SimulatedStaging
    next_block: int
    received_bytes: int = 0

    def group(self) -> BlockRun:
        """Return the blocks that are copied next together."""
        version = self.staging.known_version()
        end = version.block_after(self.next_block, _GROUP_BYTES)
        return BlockRun(self.next_block, min(max(end, self.next_block + 1), self.order.blocks.end))


class SimulatedDiskLane:
    """Copies what is ordered. What it has begun it ends, also after it was closed.

    Args:
        name: Its name.
        world: Time.
        shelf: What lies on the disks.
        report: Takes the events.
        delivered: Called with blocks that were copied, and which of them were wrong.
        mishaps: What goes wrong at the node.

    Attributes:
        name: Its name.
        heard_ns: When blocks came last; ``None`` before the first.
        held_up_ns: Since when staging takes nothing; ``None`` while it does.
    """

    source: Final = PathId(OWN_DISKS)

    def __init__(
        self,
        name: LaneId,
        world: World,
        shelf: Shelf,
        report: Reporting,
        delivered: Delivered,
        mishaps: Mishaps,
    ) -> None:
        self.name = name
        self.heard_ns: int | None = None
        self.held_up_ns: int | None = None
        self._world = world
        self._shelf = shelf
        self._report = report
        self._delivered = delivered
        self._mishaps = mishaps
        self._orders: deque[_Copying] = deque()
        self._idle_since_ns = world.now
        self._is_copying = False
        self._is_closed = False
        self._is_dropped = False

    @property
    def idle_ns(self) -> int:
        """How long it has had nothing to do."""
        return 0 if self._orders else self._world.now - self._idle_since_ns

    def request(self, order: FetchRange, staging: SimulatedStaging) -> None:
        """Have a range copied."""
        self._orders.append(_Copying(order, staging, order.blocks.start))
        if len(self._orders) == 1:
            self._world.after(0, self._go_on)

    def close(self) -> None:
        """Close. The group that is being copied counts; the rest ends as ``CLOSED``."""
        self._is_closed = True
        if not self._is_copying:
            self._world.after(_CLOSE_NS, self._end_all)

    def drop(self) -> None:
        """Drop everything without a report: the node is gone."""
        self._is_dropped = True
        self._orders.clear()

    def fail(self, outcome: RangeOutcome, refusal: Refusal | None = None) -> None:
        """Break: there is no connection that could."""

    def progress(self) -> None:
        """Report what came since the last time: each group is reported at once."""

    def look_at_staging(self) -> None:
        """Go on if staging takes something again."""
        if self.held_up_ns is not None and self._orders and not self._orders[0].staging.is_full:
            self.held_up_ns = None
            self._world.after(0, self._go_on)

    def _go_on(self) -> None:
        """Begin with the next group, unless one is being copied."""
        if self._is_copying or self._is_dropped or self._is_closed or not self._orders:
            return
        current = self._orders[0]
        if current.staging.is_full:
            self.held_up_ns = self._world.now
            return
        group = current.group()
        size_bytes = current.staging.known_version().run_bytes(*group)
        self._is_copying = True
        hang_ns = HANG_NS if self._mishaps.goes_wrong(often=0.5) else 0
        self._shelf.copy(size_bytes, lambda: self._world.after(hang_ns, self._copied, group))

    def _copied(self, group: BlockRun) -> None:
        if self._is_dropped:
            return
        self._is_copying = False
        outcome, refusal = self._take(self._orders[0], group)
        if outcome is not None:
            ended = self._orders.popleft().order.transfer
            self._idle_since_ns = self._world.now
            self._report(RangeEnded(ended, outcome, refusal=refusal))
        if self._is_closed:
            self._end_all()
        else:
            self._go_on()

    def _take(
        self, current: _Copying, group: BlockRun
    ) -> tuple[RangeOutcome | None, Refusal | None]:
        """Verify a group where it landed; return how the range ends, if it does."""
        order, staging = current.order, current.staging
        refusal = staging.refusal or (FULL if self._mishaps.goes_wrong(often=0.5) else None)
        if refusal is not None:
            return RangeOutcome.STORE_FAILED, refusal
        blocks = BlockSet.of_run(group)
        if self._shelf.are_gone(order.digest, blocks):
            self._shelf.note_wrong(order.digest, blocks)
            return RangeOutcome.NOT_HELD, None
        wrong = blocks - self._shelf.right(order.digest)
        if wrong:
            self._shelf.note_wrong(order.digest, wrong)
        staging.take(group, tuple(wrong), is_copied=True)
        current.next_block, self.heard_ns = group.end, self._world.now
        current.received_bytes += staging.known_version().run_bytes(*group)
        self._delivered(order, group, tuple(wrong))
        self._report(
            RangeProgressed(order.transfer, current.received_bytes, group.end, tuple(wrong))
        )
        return (RangeOutcome.DELIVERED if group.end == order.blocks.end else None), None

    def _end_all(self) -> None:
        while self._orders:
            self._report(RangeEnded(self._orders.popleft().order.transfer, RangeOutcome.CLOSED))
