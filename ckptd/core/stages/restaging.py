"""Begins anew with the staging of a recovery after somebody removed what was in it.

Cleaners of temporary files do such things, and people. What is still there and right counts; the
rest is fetched again, by the same recovery, so that whoever waits for it goes on waiting.
"""

from __future__ import annotations

from ckptd.core.effects import PrepareStaging
from ckptd.core.state.recovery import Recovery
from ckptd.core.state.step import Step
from ckptd.model.blocks import BlockSet
from ckptd.model.words import LocalOrder, Stage, WasteReason


def restage_when_quiet(step: Step, recovery: Recovery) -> None:
    """Order the staging to be prepared anew, once nothing writes there any more."""
    if recovery.pending_order is None and not recovery.lanes:
        assert recovery.digest is not None
        recovery.is_staging_lost = False
        recovery.move(Stage.PREPARING)
        recovery.pending_order = LocalOrder.STAGING
        step.order(PrepareStaging(recovery.id, recovery.digest, recovery.known_space()))


def take_stock(recovery: Recovery, found: BlockSet) -> None:
    """Take over what is in a staging that was prepared: nothing else is verified.

    Args:
        recovery: Whose.
        found: Blocks that are there and right.
    """
    space = recovery.known_space()
    if recovery.staging_losses:
        recovery.waste.add(WasteReason.LOST, space.set_bytes(recovery.verified - found))
    else:
        recovery.resumed_bytes = space.set_bytes(found)
    recovery.verified = recovery.committed = found
    recovery.committing = recovery.uncommitted = BlockSet()
    recovery.uncommitted_bytes = 0
    recovery.uncommitted_since_ns = None
    recovery.unclaimed = BlockSet.full(space.block_count) - found
    recovery.prioritized -= found
    if recovery.critical - found:
        recovery.critical_at_ns = None
