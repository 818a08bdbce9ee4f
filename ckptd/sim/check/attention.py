"""A scheduler misses nothing, though it looks only at what an event may change."""

from __future__ import annotations

from typing import Final

from ckptd.core.events import Event
from ckptd.core.options import Options
from ckptd.core.ranges.picker import find_offer
from ckptd.core.scheduler import Scheduler
from ckptd.core.state.deadlines import lane_patience_ns, recovery_deadline
from ckptd.limits import MS
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed

LEEWAY_NS: Final = 250 * MS
"""What one lane learns of a link's usual gap the others know at the end of a range."""


class Attention(Check):
    """After every event no usable source is idle, and the next deadline is early enough.

    Args:
        options: The numbers that the schedulers work with.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Look at all sources and at everything that will be due."""
        now = book.node.now
        for problem in (
            idle_source(book.node.scheduler, self._options, now=now),
            bad_deadline(book.node.scheduler, self._options, now=now),
        ):
            if problem:
                raise CheckFailed(book, f"after {type(event).__name__}: {problem}")


class Rest(Check):
    """Once nothing is left to be done nothing is due, under way or open."""

    def at_rest(self, book: NodeBook) -> None:
        """Check that nothing is left."""
        scheduler = book.node.scheduler
        deadline = scheduler.next_deadline()
        if deadline is not None:
            raise CheckFailed(book, f"has nothing to do and wants to be woken at {deadline}")
        for source in scheduler.sources(now=book.node.now):
            if source.in_flight_bytes:
                problem = f"{source.in_flight_bytes} bytes of {source.node} are in flight"
                raise CheckFailed(book, f"{problem} and nothing was asked for")
        if book.node.lanes:
            raise CheckFailed(book, f"has nothing to do and {len(book.node.lanes)} lanes are open")


def idle_source(scheduler: Scheduler, options: Options, *, now: int) -> str:
    """Say which source has nothing to do although it could be given something; empty if none."""
    state = scheduler.inspect()
    if state.is_paced:
        return ""
    fetching = [known for known in state.recoveries.values() if known.is_fetching]
    wanting = [recovery for recovery in fetching if recovery.to_order]
    for peer in state.sources():
        if peer.path in state.peer_alarms:
            continue
        for recovery in wanting:
            if find_offer(recovery, peer, options, now=now) is not None:
                return f"{peer.path} stands idle"
    return ""


def bad_deadline(scheduler: Scheduler, options: Options, *, now: int) -> str:
    """Say what is wrong with the next deadline of a scheduler; empty if it is right.

    It lies ahead, or the scheduler would be woken again and again, and nothing is due before it.
    """
    state, deadline = scheduler.inspect(), scheduler.next_deadline()
    if deadline is not None and deadline <= now:
        return "a storm of wake-ups"
    due_ns = [recovery_deadline(recovery, options) for recovery in state.recoveries.values()]
    if any(known.is_fetching and known.to_order for known in state.recoveries.values()):
        due_ns += [
            peer.usable_at_ns
            for peer in state.sources()
            if peer.is_live and peer.usable_at_ns > now
        ]
    due_ns += [
        lane.heard_ns + lane_patience_ns(lane, options) + LEEWAY_NS
        for lane in state.lanes.values()
        if not lane.is_closing and not state.recoveries[lane.recovery].work.is_held_up
    ]
    for moment in due_ns:
        if moment is not None and (deadline is None or deadline > moment):
            return f"overslept: {moment} is due before {deadline}"
    return ""
