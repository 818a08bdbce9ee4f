"""How a node has to behave at every event: lanes, storms, silence, standstill."""

from __future__ import annotations

from collections import deque
from typing import Final

from ckptd.core.effects import (
    CloseLane,
    Effect,
    FetchRange,
)
from ckptd.core.events import (
    Event,
    HoldingsArrived,
    RecoveryPaused,
    TimePassed,
)
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import OWN_DISKS, NodeId, PathId, RecoveryId
from ckptd.model.words import CloseReason
from ckptd.sim.check.accounts import Attempt, NodeBook, RecoveryAccount
from ckptd.sim.check.check import Check, CheckFailed

LANE_REQUESTS_MAX: Final = 8
"""What ``net.lane.lane`` takes on one lane at a time."""

LANE_IDLE_MAX_NS: Final = 60 * SECOND
"""How long a lane may stay open without work; commits that take long make it longer."""

DIALS_PER_MINUTE_MAX: Final = 30
"""Most lanes to one source that may fail within a minute."""

EVENTS_PER_MOMENT_MAX: Final = 10_000
"""More events of one node without any time passing are a storm."""

STANDSTILL_MAX_NS: Final = 11 * SECOND
"""How long a recovery may have no request in flight although a source has what it lacks: the
longest pause after failures, and a little."""

REROUTING_MAX_NS: Final = 1600 * MS
"""How long a silent source may keep what it owes: a second and a half, and two reports."""

SILENCE_MIN_NS: Final = 500 * MS
"""No source is called silent sooner."""

LANES_PER_SOURCE_MAX: Final = 4
"""Connections of one recovery to one source."""

_FAILURES: Final = frozenset({CloseReason.FAILED, CloseReason.SILENT})


class Lanes(Check):
    """Lanes are used rightly, and closed when they have to be."""

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Look at how a lane is used, and why it is closed."""
        if isinstance(effect, FetchRange):
            _check_use(book, effect)
        elif isinstance(effect, CloseLane):
            _check_closing(book, effect)

    def after_orders(self, book: NodeBook, event: Event) -> None:
        """Look for lanes that should have been closed."""
        if isinstance(event, RecoveryPaused):
            for attempt in book.recoveries[event.recovery].attempts.values():
                if attempt.order.lane not in book.closed:
                    raise CheckFailed(book, f"{event.recovery} is paused, but not {attempt.order}")
        if isinstance(event, HoldingsArrived):
            _check_epochs(book, event)

    def now_and_then(self, book: NodeBook) -> None:
        """Look for lanes that have been idle for long."""
        for lane in book.node.lanes:
            if lane.idle_ns > LANE_IDLE_MAX_NS and lane.name not in book.closed:
                raise CheckFailed(book, f"lane {lane.name} has been idle for {lane.idle_ns}")


def _check_use(book: NodeBook, order: FetchRange) -> None:
    if order.lane in book.closed:
        raise CheckFailed(book, f"lane {order.lane} is used after it was closed")
    source = book.lanes.get(order.lane, order.source)
    if source != order.source:
        raise CheckFailed(book, f"lane {order.lane} leads to {source}")
    waiting = sum(
        attempt.order.lane == order.lane
        for recovery in book.recoveries.values()
        for attempt in recovery.attempts.values()
    )
    if waiting >= LANE_REQUESTS_MAX:
        raise CheckFailed(book, f"lane {order.lane} has {waiting} requests already")
    lanes = {
        attempt.order.lane
        for attempt in book.recoveries[order.recovery].attempts.values()
        if attempt.order.source == order.source and attempt.order.lane not in book.closed
    }
    if len(lanes | {order.lane}) > LANES_PER_SOURCE_MAX:
        raise CheckFailed(book, f"{order.recovery} has {len(lanes)} lanes to {order.source}")


def _check_closing(book: NodeBook, order: CloseLane) -> None:
    if order.lane in book.closed:
        raise CheckFailed(book, f"lane {order.lane} is closed twice")
    source = book.lanes.get(order.lane)
    if source is None:
        raise CheckFailed(book, f"lane {order.lane} is closed and was never used")
    if source != order.source:
        raise CheckFailed(book, f"lane {order.lane} is closed as one to {order.source}")
    lane = book.node.lane(order.lane)
    if order.reason is not CloseReason.SILENT or lane is None or lane.held_up_ns is None:
        return
    if lane.held_up_ns - (lane.heard_ns or 0) < SILENCE_MIN_NS:
        raise CheckFailed(book, f"{order} is silent because this disk is slow")


def _check_epochs(book: NodeBook, event: HoldingsArrived) -> None:
    """Check that nothing more is expected of the life before."""
    for recovery in book.recoveries.values():
        for attempt in recovery.attempts.values():
            is_old = attempt.order.source == event.path and attempt.epoch != event.epoch
            if is_old and attempt.order.lane not in book.closed:
                raise CheckFailed(book, f"{attempt.order} is of an old life of {event.path}")


class Calm(Check):
    """No storm: neither of wake-ups nor of connections that fail."""

    def __init__(self) -> None:
        self._moments: dict[NodeId, tuple[int, int]] = {}
        self._failed: dict[tuple[NodeId, PathId], deque[int]] = {}

    def after_event(self, book: NodeBook, event: Event) -> None:
        """Count events of one moment, and lanes that failed within a minute."""
        now = book.node.now
        moment, count = self._moments.get(book.name, (now, 0))
        count = count + 1 if moment == now else 1
        self._moments[book.name] = (now, count)
        if count > EVENTS_PER_MOMENT_MAX:
            raise CheckFailed(book, f"{count} events at one moment, the last one {event}")
        if isinstance(event, TimePassed):
            deadline = book.node.scheduler.next_deadline()
            if deadline is not None and deadline <= now:
                raise CheckFailed(book, "wants to be woken at once after it was woken")

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Count lanes that are closed because they failed or fell silent."""
        if not isinstance(effect, CloseLane) or effect.reason not in _FAILURES:
            return
        now = book.node.now
        failed = self._failed.setdefault((book.name, effect.source), deque())
        failed.append(now)
        while failed[0] < now - 60 * SECOND:
            failed.popleft()
        if len(failed) > DIALS_PER_MINUTE_MAX:
            raise CheckFailed(book, f"{len(failed)} lanes to {effect.source} failed in a minute")


class Silence(Check):
    """What a silent source owes in the middle of a body is soon asked of another source.

    While this node commits a silent source looks like a slow disk; that time does not
    count.
    """

    def now_and_then(self, book: NodeBook) -> None:
        """Look for bodies that do not go on."""
        for recovery in book.recoveries.values():
            if recovery.committing:
                continue
            since_ns = max(recovery.commit_ended_ns, book.node.thawed_ns)
            for attempt in recovery.attempts.values():
                silent_ns = book.node.now - max(attempt.heard_ns, since_ns)
                is_late = attempt.received_bytes > 0 and silent_ns > REROUTING_MAX_NS
                if is_late and attempt.order.lane not in book.closed:
                    _check_rerouted(book, recovery, attempt)


def _check_rerouted(book: NodeBook, recovery: RecoveryAccount, silent: Attempt) -> None:
    owed = BlockSet(((silent.next_block, silent.order.blocks.end),)) - recovery.reported
    for attempt in recovery.attempts.values():
        if attempt is not silent and attempt.next_block < attempt.order.blocks.end:
            owed = owed.without_run((attempt.next_block, attempt.order.blocks.end))
    if owed:
        since_s = (book.node.now - silent.heard_ns) / SECOND
        problem = f"{silent.order.source} owes {owed} and has been silent for {since_s:.3f} s"
        raise CheckFailed(book, problem)


class Standstill(Check):
    """A recovery does not stand still while somebody has what it lacks."""

    def __init__(self) -> None:
        self._since: dict[tuple[NodeId, RecoveryId], int] = {}

    def at_crash(self, book: NodeBook) -> None:
        """Forget how long recoveries have stood still: they start over."""
        for recovery in book.recoveries:
            self._since.pop((book.name, recovery), None)

    def at_order(self, book: NodeBook, effect: Effect) -> None:
        """Restart the clock of all recoveries of the node: others may have to wait for this one."""
        if isinstance(effect, FetchRange):
            for recovery in book.recoveries:
                self._since.pop((book.name, recovery), None)

    def now_and_then(self, book: NodeBook) -> None:
        """Look at every recovery that has nothing under way."""
        now = book.node.now
        for name, state in book.node.scheduler.inspect().recoveries.items():
            recovery, key = book.recoveries[name], (book.name, name)
            is_standing = not recovery.attempts and state.is_fetching
            if recovery.request.is_on_demand and not recovery.read - recovery.reported:
                is_standing = False  # nobody reads
            if recovery.request.is_background:  # it may have to wait for the others to the end
                is_standing = is_standing and len(book.node.scheduler.inspect().recoveries) == 1
            if not is_standing or not _could_ask(book, recovery):
                self._since.pop(key, None)
                continue
            since_ns = max(self._since.setdefault(key, now), book.node.thawed_ns)
            if now - since_ns > STANDSTILL_MAX_NS:
                stood_s = (now - since_ns) / SECOND
                raise CheckFailed(book, f"{name} has stood still for {stood_s:.1f} s")


def _could_ask(book: NodeBook, recovery: RecoveryAccount) -> bool:
    """Return whether a trusted and idle source has something that is missing."""
    lacking = recovery.unclaimed()
    peers = book.node.scheduler.inspect().peers
    at_work = {other.attempts[transfer].order.source for transfer, other in book.attempts.items()}
    if lacking & recovery.nearby and OWN_DISKS not in at_work:
        return True
    return any(
        source not in at_work
        and peers[source].standing.quarantined_until_ns <= book.node.now
        and bool(lacking & book.surely_servable(recovery, source))
        for source in book.said
    )
