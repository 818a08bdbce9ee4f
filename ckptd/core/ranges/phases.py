"""The phase under way: what of a recovery is urgent now, and what only later.

Units stand in the order of their phases, so a source that has everything brings them in this
order. What is left is how urgent a request says it is, to the source and to hedges: nothing of a
later phase is asked for as more urgent than anything that is missing of the phase under way. Else a
source that queues by class would send the first bytes of a later phase before the last ones of this
one, and they would be hedged at its cost.
"""

from __future__ import annotations

from typing import Final

from ckptd.core.ranges.lanes import set_lane_alarm
from ckptd.core.state.eligibility import holds_any
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.limits import MS

_LOOK_EVERY_NS: Final = 100 * MS
"""Who has what is looked at this often, as rates are added up; nobody's answer takes less."""


def settle_phase(step: Step, recovery: Recovery) -> None:
    """Find out which of several phases of a recovery is under way, and what of it is missing."""
    phasing, before = recovery.phasing, recovery.phasing.end
    is_looked_at = step.now - phasing.looked_ns < _LOOK_EVERY_NS and phasing.looked_ns
    missing = recovery.missing_of_phase(phasing.position)
    if not (is_looked_at and missing):
        phasing.looked_ns = step.now
        phasing.position = _under_way(step, recovery)
        phasing.end = recovery.content.space.phases[phasing.position].blocks[1]
        missing = recovery.missing_of_phase(phasing.position)
    space = recovery.content.space
    if missing:  # the last block is the least urgent: units stand in urgency order
        phasing.floor = space.manifest.units[space.unit_of(missing.last_block)].criticality
    if before < phasing.end and not recovery.is_background:
        _hasten(step, recovery)


def _under_way(step: Step, recovery: Recovery) -> int:
    """Return the first phase of which something comes or can; if there is none, the first left."""
    first: int | None = None
    for position in range(len(recovery.content.space.phases)):
        missing = recovery.missing_of_phase(position)
        if not missing:
            continue
        is_coming = not missing.issubset(recovery.coverage.unclaimed)
        if is_coming or any(holds_any(recovery, peer, missing) for peer in step.state.sources()):
            return position
        first = position if first is None else first
    return len(recovery.content.space.phases) - 1 if first is None else first


def _hasten(step: Step, recovery: Recovery) -> None:
    """Let ranges that are under way count as urgent as they are from now on.

    Sources go on with them as they were asked; one that is late is not waited for.
    """
    for lane in recovery.work.lanes.values():
        for known in lane.transfers:
            if known.next_block < known.blocks.end:
                urgent = recovery.criticality_of(known.blocks.start)
                known.criticality = min(known.criticality, urgent)
        set_lane_alarm(step, lane)


def bytes_left(recovery: Recovery, block: int) -> tuple[int, int]:
    """Return how much is left of the phase of a block and of earlier ones.

    Returns:
        What is to be ordered, about, and what sources owe.
    """
    space, unclaimed = recovery.content.space, recovery.coverage.unclaimed
    end = space.phases[space.phase_at(block)].blocks[1]
    left_bytes = space.size_bytes * unclaimed.count_within(0, end) // space.block_count
    owed_bytes = sum(
        known.size_bytes - known.received_bytes
        for lane in recovery.work.lanes.values()
        for known in lane.transfers
        if known.blocks.start < end
    )
    return left_bytes, owed_bytes


def is_phase_verified(recovery: Recovery, block: int) -> bool:
    """Return whether nothing is missing any more of the phase of a block."""
    return not recovery.missing_of_phase(recovery.content.space.phase_at(block))
