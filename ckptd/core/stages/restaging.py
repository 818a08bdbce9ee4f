"""Prepares the staging of a recovery again after somebody removed what was in it.

Cleaners of temporary files do such things, and people. What is still there and right counts; the
rest is fetched again, by the same recovery, so that its clients keep waiting for it.
"""

from __future__ import annotations

from ckptd.core.effects import PrepareStaging
from ckptd.core.events import StagingPrepared
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.words import LocalOrder, Stage, WasteReason


def restage_when_quiet(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared again, once nothing writes there."""
    if recovery.local.pending_order is None and not recovery.work.lanes:
        recovery.local.is_staging_lost = False
        recovery.move(Stage.PREPARING)
        prepare_again(step, recovery)


def prepare_again(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared, unless it was ordered or is to be tried again later."""
    if recovery.local.pending_order is None and recovery.local.retry_at_ns is None:
        recovery.local.pending_order = LocalOrder.STAGING
        step.order(PrepareStaging(recovery.id, recovery.content.digest, recovery.content.space))


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
    recovery.coverage.unclaimed = BlockSet.full(space.block_count) - found
    recovery.coverage.prioritized = recovery.coverage.awaited - found
    if recovery.content.critical - found:
        recovery.tally.critical_at_ns = None
