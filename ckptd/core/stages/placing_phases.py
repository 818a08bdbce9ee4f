"""Placing by phases: when the units of a phase become visible while later ones still travel.

A phase is placed when all that is wanted of it is durable, and when those before it were placed.
Ranges go on arriving meanwhile, and commits go on; only one phase at a time is placed. The last one
is placed with the version. Until then what stands in the way of a phase holds it, and nothing else.
"""

from __future__ import annotations

from typing import Final

from ckptd.core.effects import PlacePhase
from ckptd.core.events import PhaseHeld, PhasePlaced
from ckptd.core.explain.narration import report_refusal
from ckptd.core.stages.ending import retry_or_fail
from ckptd.core.stages.milestones import note_milestones, note_phase_placed
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import Milestone
from ckptd.model.space import PhaseExtent
from ckptd.model.words import LocalOrder, MilestoneKind

_NOT_BESIDE: Final = frozenset({LocalOrder.STAGING, LocalOrder.WIDENING, LocalOrder.PLACEMENT})


def due_phase(recovery: Recovery) -> PhaseExtent | None:
    """Return the phase that is to be placed next, before the others are here; ``None``: none is."""
    placing, phases = recovery.placing, recovery.content.space.phases
    if not recovery.request.is_progressive or placing.is_given_up or recovery.coverage.widened:
        return None
    while placing.position < len(phases) and not recovery.wanted_units(phases[placing.position]):
        placing.position += 1
    if not any(map(recovery.wanted_units, phases[placing.position + 1 :])):
        return None  # the last one
    phase = phases[placing.position]
    is_here = Milestone(MilestoneKind.PHASE, phase.phase) in recovery.phasing.reached
    return phase if is_here else None


def place_phase(step: Step, recovery: Recovery) -> None:
    """Order that the next phase is placed, if it is time for that."""
    placing, local = recovery.placing, recovery.local
    if placing.is_pending or placing.retry_at_ns is not None or local.retry_at_ns is not None:
        return
    if local.pending_order in _NOT_BESIDE or not recovery.joining.is_settled_at(step.now):
        return
    phase = due_phase(recovery)
    if phase is not None:
        placing.is_pending = placing.has_begun = True
        full = BlockSet.full(recovery.content.space.block_count)
        missing = full - recovery.coverage.committed
        step.order(PlacePhase(recovery.id, phase.phase, phase.name, missing))


def are_phases_left(step: Step, recovery: Recovery) -> bool:
    """Return whether phases are to be placed before the version is; order the next one of them.

    Called when nothing more is to come: what is optional and nobody has is waited for no longer.
    """
    if recovery.request.is_progressive:
        note_milestones(step, recovery, BlockSet())
        place_phase(step, recovery)
    return recovery.placing.is_pending or due_phase(recovery) is not None


def on_phase_placed(step: Step, recovery: Recovery, event: PhasePlaced) -> None:
    """Take note that the units of a phase can be seen, and those of phases before it."""
    placing = recovery.placing
    placing.is_pending = False
    placing.obstacle = ""
    if recovery.ending is not None or recovery.local.is_staging_lost:
        return
    phases, position = recovery.content.space.phases, placing.position
    if position < len(phases) and phases[position].phase == event.phase:
        placing.position += 1
        note_phase_placed(step, recovery, phases[position])


def on_phase_held(step: Step, recovery: Recovery, event: PhaseHeld) -> None:
    """Try again later: the phase waits until what is in its way is gone, the others go on.

    What is wrong with staging or with the disk concerns all of the recovery.
    """
    placing, refusal = recovery.placing, event.refusal
    placing.is_pending = False
    if recovery.ending is not None:
        return
    if refusal.is_contradiction:
        placing.is_given_up = True  # the end says so, and may choose another content
        return
    placing.retry_at_ns = step.now + step.options.commits.retry_ns
    if not event.is_in_the_way:
        retry_or_fail(step, recovery, refusal)
    elif placing.obstacle != refusal.message:
        placing.obstacle = refusal.message
        report_refusal(step, recovery, refusal)


HANDLERS: Final = (
    RecoveryHandler(PhasePlaced, on_phase_placed),
    RecoveryHandler(PhaseHeld, on_phase_held),
)
"""What is taken in here."""
