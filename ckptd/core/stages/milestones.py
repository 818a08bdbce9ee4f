"""Milestones: when something of a recovery is durable, so that a crash does not take it away.

They are announced once. What is lost from staging, or is wanted in addition, takes back those that
it concerns, and they are announced again.
"""

from __future__ import annotations

from ckptd.core.effects import AnnounceMilestone
from ckptd.core.explain.narration import report_critical
from ckptd.core.state.eligibility import holders
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.milestones import CRITICAL, FIRST_UNIT, Milestone
from ckptd.model.space import PhaseExtent
from ckptd.model.words import MilestoneKind


def note_milestones(step: Step, recovery: Recovery, new: BlockSet | None = None) -> None:
    """Take note of the milestones that were reached.

    Args:
        step: The event being handled.
        recovery: Which recovery.
        new: What became durable; ``None``: all that is here was taken stock of.
    """
    reached = recovery.phasing.reached
    if recovery.ending is not None:
        return
    if new is None:
        _take_back(step, recovery)
    if FIRST_UNIT not in reached and _has_whole_unit(recovery, new):
        _reach(step, recovery, FIRST_UNIT)
    for phase in recovery.content.space.phases:
        milestone = Milestone(MilestoneKind.PHASE, phase.phase)
        if milestone not in reached and _is_durable(step, recovery, phase):
            _reach(step, recovery, milestone, phase.name)
    if CRITICAL not in reached and _is_critical_durable(recovery):
        _reach(step, recovery, CRITICAL)


def note_placed(step: Step, recovery: Recovery) -> None:
    """Take note that what is here of the version stands under its final name."""
    lacking = recovery.coverage.unclaimed - recovery.content.optional
    for phase in recovery.content.space.phases:
        if _is_wanted(recovery, phase) and not _meets(lacking, phase):
            milestone = Milestone(MilestoneKind.PHASE, phase.phase)
            if milestone not in recovery.phasing.reached:  # without what is optional
                _reach(step, recovery, milestone, phase.name)
            note_phase_placed(step, recovery, phase)


def note_phase_placed(step: Step, recovery: Recovery, phase: PhaseExtent) -> None:
    """Take note that the units of a phase stand under their final names, unless that is known."""
    milestone = Milestone(MilestoneKind.PLACED, phase.phase)
    if milestone not in recovery.phasing.reached:
        _reach(step, recovery, milestone, phase.name)


def _reach(step: Step, recovery: Recovery, milestone: Milestone, name: str = "") -> None:
    """Note that a milestone is reached: now, or by an earlier life of this node."""
    phasing = recovery.phasing
    earlier_ns = phasing.earlier.get(milestone)
    phasing.reached[milestone] = step.now if earlier_ns is None else earlier_ns
    if earlier_ns is None:
        step.order(AnnounceMilestone(recovery.id, milestone, name))
    if milestone == CRITICAL:
        report_critical(step, recovery)


def _take_back(step: Step, recovery: Recovery) -> None:
    """Forget milestones that do not hold any more."""
    phasing = recovery.phasing
    for phase in recovery.content.space.phases:
        if not _is_durable(step, recovery, phase):
            phasing.forget(Milestone(MilestoneKind.PHASE, phase.phase))
    if not _is_critical_durable(recovery):
        phasing.forget(CRITICAL)
    if not _has_whole_unit(recovery, None):
        phasing.forget(FIRST_UNIT)


def _is_critical_durable(recovery: Recovery) -> bool:
    critical = recovery.critical
    return bool(critical) and critical.issubset(recovery.coverage.committed)


def _is_durable(step: Step, recovery: Recovery, phase: PhaseExtent) -> bool:
    """Return whether all that is wanted of a phase is durable, but for optional units nobody has.

    A phase of which nothing is wanted never is.
    """
    coverage, (start, end) = recovery.coverage, phase.blocks
    if coverage.unclaimed.count_within(start, end) > len(recovery.content.optional):
        return False  # as nearly always, and cheap
    if not _is_wanted(recovery, phase):
        return False
    missing = recovery.wanted_of_phase(phase) - coverage.committed
    return not missing or (
        step.state.is_settled
        and missing.issubset(recovery.content.optional)
        and missing.issubset(coverage.unclaimed)
        and not any(holders(recovery, step.state.sources(), missing))
    )


def _is_wanted(recovery: Recovery, phase: PhaseExtent) -> bool:
    return recovery.wanted_units(phase) > 0


def _meets(blocks: BlockSet, phase: PhaseExtent) -> bool:
    return blocks.count_within(*phase.blocks) > 0


def _has_whole_unit(recovery: Recovery, new: BlockSet | None) -> bool:
    """Return whether a unit that is wanted is durable that has blocks.

    Args:
        recovery: Which recovery.
        new: Only those count of which some of these blocks are; ``None``: all.
    """
    space, committed = recovery.content.space, recovery.coverage.committed
    if new is None:
        return space.whole_units(committed - recovery.coverage.unchosen) > 0
    looked_at = 0  # blocks below that are of units that were looked at
    for start, end in new.runs():
        block = max(start, looked_at)
        while block < end:
            unit = space.unit_run(space.unit_of(block))
            if committed.has_run(unit):
                return True
            block = looked_at = unit[1]
    return False
