"""Prepares the staging of a recovery: again after somebody removed what was in it, and for more.

Cleaners of temporary files do such things, and people. What is still there and right counts; the
rest is fetched again, by the same recovery, so that its clients keep waiting for it.

What nobody asked for of a version is not staged. If somebody does while the recovery is under way,
room is made for it beside what is there, and the ranges of that go on arriving.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from ckptd.core.effects import PrepareStaging, WidenStaging
from ckptd.core.events import ChoiceWidened, StagingPrepared, StagingWidened, WideningRefused
from ckptd.core.ranges.needing import wake_all
from ckptd.core.stages.ending import retry_or_fail
from ckptd.core.stages.milestones import note_milestones
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import RecoveryHandler, Step
from ckptd.model.blocks import BlockSet
from ckptd.model.words import LocalOrder, Stage, WasteReason


def restage_when_quiet(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared again, once nothing writes there."""
    if recovery.is_quiet:
        recovery.local.is_staging_lost = False
        recovery.move(Stage.PREPARING)
        prepare_again(step, recovery)


def prepare_again(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared, unless it was ordered or is to be tried again later."""
    if recovery.local.pending_order is None and recovery.local.retry_at_ns is None:
        order_staging(step, recovery)


def order_staging(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared for all that is wanted by now."""
    coverage, content = recovery.coverage, recovery.content
    coverage.unchosen -= coverage.widened
    coverage.widened = BlockSet()
    recovery.local.pending_order = LocalOrder.STAGING
    step.order(PrepareStaging(recovery.id, content.digest, content.space, coverage.unchosen))


def take_stock(recovery: Recovery, event: StagingPrepared) -> None:
    """Take over what is here once a staging was prepared: nothing else is verified."""
    space, found = recovery.content.space, event.verified
    if recovery.local.staging_losses:
        recovery.tally.waste.add(
            WasteReason.LOST, space.set_bytes(recovery.coverage.verified - found)
        )
    else:
        recovery.tally.local_bytes = space.set_bytes(event.local)
        recovery.tally.resumed_bytes = space.set_bytes(found) - recovery.tally.local_bytes
    recovery.coverage.verified = recovery.coverage.committed = found
    recovery.coverage.zeros = event.zeros
    recovery.commit.committing = recovery.commit.blocks = BlockSet()
    recovery.commit.size_bytes = 0
    recovery.commit.since_ns = None
    full = BlockSet.full(space.block_count)
    recovery.coverage.unclaimed = full - found - recovery.coverage.unchosen
    recovery.coverage.prioritized = recovery.coverage.awaited - found
    recovery.placing.start_over()
    recovery.phasing.has_several = len(space.phases) > 1
    recovery.phasing.looked_ns = 0


def on_choice_widened(step: Step, recovery: Recovery, event: ChoiceWidened) -> None:
    """Take note that more is wanted; it is asked for once there is room for it.

    What is being placed already is not changed any more.
    """
    is_all = event.chosen is None
    if is_all:
        recovery.request = replace(recovery.request, is_by_choice=False)
    if recovery.described is None:
        recovery.search.unchosen.clear()  # what was wanted then
        return
    unchosen = recovery.coverage.unchosen
    recovery.coverage.widened |= unchosen if event.chosen is None else event.chosen & unchosen


def widen(step: Step, recovery: Recovery) -> None:
    """Order room for what is wanted by now and was not before, as soon as the disk is free."""
    local = recovery.local
    if recovery.coverage.widened and recovery.is_disk_free and local.retry_at_ns is None:
        local.pending_order = LocalOrder.WIDENING
        step.order(WidenStaging(recovery.id, recovery.coverage.widened))


def on_staging_widened(step: Step, recovery: Recovery, event: StagingWidened) -> None:
    """Ask for what there is room for now."""
    recovery.local.pending_order = None
    if recovery.stage is not Stage.TRANSFERRING:
        return
    recovery.local.worked()
    coverage, space = recovery.coverage, recovery.content.space
    found = event.zeros - coverage.verified
    recovery.placing.start_over()  # more may be wanted of a phase that was placed
    coverage.unchosen -= event.blocks
    coverage.widened -= event.blocks
    coverage.zeros |= found
    coverage.verified |= found
    coverage.committed |= found
    coverage.unclaimed |= event.blocks - coverage.verified
    coverage.prioritized = coverage.awaited - coverage.verified
    recovery.tally.local_bytes += space.set_bytes(found)
    wake_all(step, recovery)
    recovery.phasing.looked_ns = 0
    note_milestones(step, recovery)
    step.note_room_everywhere()


def on_widening_refused(step: Step, recovery: Recovery, event: WideningRefused) -> None:
    """Try again later, or fail: what was asked for cannot be had in part without saying so."""
    recovery.local.pending_order = None
    if recovery.stage is Stage.TRANSFERRING:
        retry_or_fail(step, recovery, event.refusal)


HANDLERS: Final = (
    RecoveryHandler(ChoiceWidened, on_choice_widened),
    RecoveryHandler(StagingWidened, on_staging_widened),
    RecoveryHandler(WideningRefused, on_widening_refused),
)
"""What is taken in here."""
