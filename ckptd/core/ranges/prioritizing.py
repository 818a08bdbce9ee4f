"""Units, and whole recoveries, that somebody waits for while they are under way.

Raised blocks stay raised until they are verified, so that a source that fails with them does
not send them to the back. Sources are asked for them in the order of their addresses, before
anything else; what was in flight when they were raised is left alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ckptd.core.events import RecoveryPromoted, RestWanted, UnitsPrioritized
from ckptd.core.ranges.lanes import set_lane_alarm
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.blocks import BlockSet
from ckptd.model.words import Criticality


def on_units_prioritized(step: Step, recovery: Recovery, event: UnitsPrioritized) -> None:
    """Let some blocks go first. Ranges under way with any of them count as critical from here on.

    So a source that is late with them is not waited for. What must be visible before their units
    goes first with them.
    """
    recovery.coverage.awaited |= event.blocks
    if recovery.described is not None:
        recovery.coverage.awaited |= recovery.content.space.prerequisites_of(event.blocks)
    recovery.coverage.prioritized = recovery.coverage.awaited - recovery.coverage.verified
    if recovery.request.is_on_demand:
        step.note_room_everywhere()  # else they would have come as well, only later
    if recovery.is_background:
        return
    for lane in recovery.work.lanes.values():
        for known in lane.transfers:
            if BlockSet((known.blocks,)) & recovery.coverage.prioritized:
                known.criticality = Criticality.CRITICAL
        set_lane_alarm(step, lane)


def on_promoted(step: Step, recovery: Recovery, event: RecoveryPromoted) -> None:
    """Let a recovery leave the background. Ranges under way count as urgent as their blocks are.

    Sources go on with them as they were asked; one that is late is not waited for.
    """
    assert event.recovery == recovery.id
    if not recovery.is_background:
        return
    recovery.request = replace(recovery.request, is_background=False)
    for lane in recovery.work.lanes.values():
        for known in lane.transfers:
            known.criticality = recovery.criticality_of(known.blocks.start)
        set_lane_alarm(step, lane)
    step.note_room_everywhere()


def on_rest_wanted(step: Step, recovery: Recovery, event: RestWanted) -> None:
    """Fetch from here on also what nobody waits for."""
    request = recovery.request
    if request.is_on_demand:
        is_background = request.is_background or event.is_background
        recovery.request = replace(request, is_on_demand=False, is_background=is_background)
        step.note_room_everywhere()


HANDLERS: Final = (
    RecoveryHandler(UnitsPrioritized, on_units_prioritized),
    RecoveryHandler(RecoveryPromoted, on_promoted),
    RecoveryHandler(RestWanted, on_rest_wanted),
)
"""What is taken in here."""
