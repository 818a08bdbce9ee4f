"""What somebody waits for comes before what is less urgent, and is asked for at once."""

from __future__ import annotations

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import Event, NeedEnded, RangeNeeded
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS
from ckptd.sim.check.accounts import NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed

ASKED_BYTES_MAX = 16 << 20
"""So much of a range goes before everything."""


class NeededFirst(Check):
    """A source is asked for nothing while it could serve what somebody waits for.

    And of what somebody begins to wait for something is asked for in that moment, whatever the
    sources do, unless they rest, failed last, or are at something that is waited for.
    """

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look for a block that is waited for, and that nobody was asked for."""
        if not isinstance(effect, FetchRange):
            return
        recovery = book.recoveries[effect.recovery]
        blocks = BlockSet.of_run(effect.blocks)
        if recovery.request.is_on_demand and not blocks.issubset(recovery.read):
            raise CheckFailed(book, f"{effect.recovery} is on demand: nobody reads {effect.blocks}")
        if not recovery.needed or blocks.issubset(recovery.needed):
            return
        if blocks.issubset(recovery.unclaimed()):  # else a second source is asked for it
            left = _left(book, recovery, effect)
            if left:
                problem = f"{effect.recovery} asks {effect.source} for {effect.blocks}"
                raise CheckFailed(book, f"{problem} while {left} is waited for")

    def after_orders(self, book: NodeBook, event: Event) -> None:
        """Look whether what was just asked for is on its way."""
        if not isinstance(event, RangeNeeded):
            return
        recovery = book.recoveries[event.recovery]
        state = book.node.scheduler.inspect()
        known = state.recoveries.get(event.recovery)
        if known is None or not known.is_fetching or recovery.request.is_background:
            return
        wanted = recovery.needed & recovery.unclaimed()
        if not wanted or any(
            transfer.is_needed for lane in known.work.lanes.values() for transfer in lane.transfers
        ):
            return
        for peer in state.peers.values():
            is_resting = peer.usable_at_ns > book.node.now or bool(peer.link.failures)
            is_doubted = known.digest in peer.standing.questioned or bool(
                book.proofs_due(recovery, peer.path)
            )
            left = wanted & book.askable(recovery, peer.path)
            is_busy = peer.path in known.work.bundles
            if left and is_busy and peer.is_live and not is_resting and not is_doubted:
                raise CheckFailed(book, f"{left} is waited for behind what {peer.path} does")


def _left(book: NodeBook, recovery: RecoveryAccount, order: FetchRange) -> BlockSet:
    """Return what is waited for and could be asked of a source instead."""
    if order.source == OWN_DISKS:
        return BlockSet()  # each has its own way to the blocks
    return recovery.needed & recovery.unclaimed() & book.askable(recovery, order.source)


def note_need(book: NodeBook, event: RangeNeeded | NeedEnded) -> None:
    """Write down what is waited for."""
    recovery = book.recoveries[event.recovery]
    if isinstance(event, NeedEnded):
        recovery.needs.pop(event.need, None)
        return
    known = book.node.scheduler.inspect().recoveries.get(event.recovery)
    if known is None or known.described is None:
        return
    space = known.described.space
    before = recovery.needs.get(event.need)
    if before is not None:
        left_bytes = space.set_bytes(before - known.coverage.verified)
        if 2 * left_bytes >= ASKED_BYTES_MAX:
            return  # there is enough to do
    unit, (first, _) = space.manifest.units[event.unit], space.unit_run(event.unit)
    end = min(event.end, event.start + ASKED_BYTES_MAX, unit.size_bytes)
    grain_bytes = unit.block_size_bytes
    blocks = BlockSet()
    if event.start < end:
        run = (first + event.start // grain_bytes, first + (end - 1) // grain_bytes + 1)
        blocks = BlockSet((run,))
    recovery.needs[event.need] = blocks
