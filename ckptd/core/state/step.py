"""One event being handled: what is known, the moment, and the orders so far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Generic, Protocol, TypeVar

from ckptd.core.effects import CloseLane, Effect
from ckptd.core.events import Event
from ckptd.core.options import Options
from ckptd.core.state.knowledge import State
from ckptd.core.state.lane import Lane
from ckptd.core.state.peer import Peer
from ckptd.core.state.recovery import Recovery
from ckptd.model.ids import PathId, RecoveryId
from ckptd.model.words import CloseReason


@dataclass(slots=True)
class Step:
    """What every handler is given.

    Attributes:
        state: What is known.
        options: The numbers.
        rng: The only randomness.
        now: The moment, in nanoseconds of a clock that never goes back.
        effects: The orders, in the order in which they were given.
        room: Peers that may have room for another range since this event, in the order in
            which that was noticed.
        is_room_everywhere: Every peer may.
    """

    state: State
    options: Options
    rng: Random
    now: int
    effects: list[Effect] = field(default_factory=list)
    room: dict[PathId, None] = field(default_factory=dict)
    is_room_everywhere: bool = False

    def order(self, effect: Effect) -> None:
        """Give an order."""
        self.effects.append(effect)

    def note_room(self, path: PathId) -> None:
        """Look whether a range can be ordered from this peer now."""
        self.room[path] = None

    def note_room_of(self, peer: Peer) -> None:
        """Look whether a range can be ordered from a peer now, on any path to it."""
        self.note_room(peer.path)
        for other in self.state.on_other_paths(peer):
            self.note_room(other.path)

    def note_room_everywhere(self) -> None:
        """Look whether a range can be ordered from any peer now."""
        self.is_room_everywhere = True

    def rest(self, path: PathId) -> None:
        """Look at a peer again when its pause is over; a quarantine is one on all paths to it."""
        peer = self.state.known_source(path)
        if peer is None:
            return
        for each in (peer, *self.state.on_other_paths(peer)):
            if each.usable_at_ns > self.now:
                self.state.peer_alarms.set(each.path, each.usable_at_ns)

    def close_lane(self, lane: Lane, reason: CloseReason) -> None:
        """Close a lane; its transfers will end. Forget it at once if it has none."""
        if lane.is_closing:
            return
        lane.is_closing = True
        lane.closing = reason
        self.state.lane_alarms.set(lane.id, None)
        self.order(CloseLane(lane.id, lane.source, reason))
        self.forget_if_done(lane)

    def forget_if_done(self, lane: Lane) -> None:
        """Forget a lane that is closing and has no transfers left."""
        if lane.is_closing and not lane.transfers and lane.id in self.state.lanes:
            self.state.lane_alarms.set(lane.id, None)
            del self.state.lanes[lane.id]
            recovery = self.state.recoveries[lane.recovery]
            del recovery.work.lanes[lane.id]
            bundle = recovery.work.bundles[lane.source]
            bundle.lanes.remove(lane)
            if not bundle.lanes:
                del recovery.work.bundles[lane.source]


_EventT = TypeVar("_EventT", bound=Event)


class _OfRecovery(Protocol):
    @property
    def recovery(self) -> RecoveryId: ...


_RecoveryEventT = TypeVar("_RecoveryEventT", bound=_OfRecovery)


@dataclass(frozen=True, slots=True)
class NodeHandler(Generic[_EventT]):
    """How one kind of event is taken in.

    Attributes:
        event: Which kind.
        handle: What is done with it.
    """

    event: type[_EventT]
    handle: Callable[[Step, _EventT], None]

    def take_in(self, step: Step, event: Event) -> None:
        """Handle an event, which is of this kind."""
        assert isinstance(event, self.event)
        self.handle(step, event)


@dataclass(frozen=True, slots=True)
class RecoveryHandler(Generic[_RecoveryEventT]):
    """How one kind of event of a recovery is taken in; one that ended takes nothing in.

    Attributes:
        event: Which kind.
        handle: What is done with it.
    """

    event: type[_RecoveryEventT]
    handle: Callable[[Step, Recovery, _RecoveryEventT], None]

    def take_in(self, step: Step, event: Event) -> None:
        """Handle an event, which is of this kind."""
        assert isinstance(event, self.event)
        recovery = step.state.recoveries.get(event.recovery)
        if recovery is not None:
            self.handle(step, recovery, event)
