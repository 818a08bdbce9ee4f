"""The sources of a simulated run: they serve, fail, lie, and hold the scheduler to its rules."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from ckptd.core.effects import CloseLane, ConfirmHolding, FetchRange
from ckptd.core.events import Event, HoldingConfirmed, PeerLost, RangeEnded, RangeProgressed
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Digest, LaneId, TransferId
from ckptd.model.words import Confirmation, Criticality, RangeOutcome
from tests.support.scheduling import FULL_DISK, holding, holds
from tests.unit.core.world import Agenda, Chance, Source, Wish


class Mishap(enum.Enum):
    """What can happen to a range besides arriving."""

    UNREACHABLE = RangeOutcome.UNREACHABLE
    BUSY = RangeOutcome.BUSY
    NOT_HELD = RangeOutcome.NOT_HELD
    DISCONNECTED = RangeOutcome.DISCONNECTED
    STORE_FAILED = RangeOutcome.STORE_FAILED
    SILENT = "silent"
    MISBEHAVED = RangeOutcome.MISBEHAVED
    BAD_BLOCK = "bad block"


BEFALLS_HONEST_SOURCES = tuple(Mishap)[:-2]
COMES_BEFORE_THE_BODY = (Mishap.UNREACHABLE, Mishap.BUSY, Mishap.NOT_HELD, Mishap.MISBEHAVED)
STOPS_THE_BODY = tuple(Mishap)[:-1]


@dataclass(slots=True)
class Request:
    """A range that a source was asked for, and what befalls it at one of its blocks.

    ``next_block`` is the first block that has not come.
    """

    order: FetchRange
    wish: Wish
    next_block: int
    mishap: Mishap | None = None
    mishap_block: int = 0

    @property
    def is_whole(self) -> bool:
        return self.next_block == self.order.blocks.end

    def strikes_now(self, *mishaps: Mishap) -> bool:
        return self.mishap in mishaps and self.mishap_block == self.next_block


@dataclass(slots=True)
class Connection:
    """The far end of a lane: requests in the order in which they are served."""

    source: Source
    requests: deque[Request] = field(default_factory=deque)
    is_mute: bool = False
    is_dead: bool = False

    def can_send(self) -> bool:
        return not self.is_mute and not self.is_dead


class Sources:
    """All sources, and the connections to them.

    Args:
        sources: Who they are.
        wishes: What they are asked for.
        agenda: Time.
        chance: What goes wrong.
        report: Takes what the receiver learns.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        wishes: Sequence[Wish],
        agenda: Agenda,
        chance: Chance,
        report: Callable[[Event], None],
    ) -> None:
        self.all = {source.node: source for source in sources}
        self._wishes = wishes
        self._agenda = agenda
        self._chance = chance
        self._report = report
        self._connections: dict[LaneId, Connection] = {}
        self._in_flight: dict[TransferId, Request] = {}

    def begin_life(self) -> None:
        """Forget what was said to a daemon that is no more."""
        self._connections.clear()
        self._in_flight.clear()
        for source in self.all.values():
            source.bad.clear()
            source.said.clear()

    # Holdings

    def announce(self, source: Source) -> None:
        """Say what a source holds."""
        source.said = dict(source.held)
        said = [holding(wish.version, source.held[wish.version.digest]) for wish in self._wishes]
        self._report(holds(source.node, *said, epoch=source.epoch))

    def announce_later(self, source: Source, delay_ns: int) -> None:
        self._agenda.in_this_life(delay_ns, partial(self.announce, source))

    def confirm(self, order: ConfirmHolding) -> None:
        """Let a source stand by its holding, or not."""
        source = self.all[order.source]
        assert not source.is_honest, "an honest source is accused"
        answer = partial(self._answer, source, order.digest)
        self._agenda.in_this_life(source.latency_ns, answer)

    def _answer(self, source: Source, digest: Digest) -> None:
        confirmation = self._chance.rng.choice(tuple(Confirmation)[1:])
        if confirmation is Confirmation.NOT_HELD:
            for wish in self._wishes:
                if wish.version.digest == digest:
                    source.bad.pop(wish.recovery, None)
            self.announce_later(source, 1 * SECOND)
        self._report(HoldingConfirmed(source.node, digest, confirmation))

    # What may happen to a source

    def lose(self, source: Source) -> None:
        """Let a source not answer for a while."""
        self._report(PeerLost(source.node))
        self.announce_later(source, self._chance.rng.randrange(3000) * MS)

    def bear_again(self, source: Source) -> None:
        """Start a source anew: its connections break, or fall silent with its power."""
        source.epoch += 1
        is_reset = self._chance.rng.random() < 0.5
        for connection in list(self._connections.values()):
            if connection.source is source and not connection.is_dead:
                connection.is_mute = True
                if is_reset:
                    self._break(connection, RangeOutcome.DISCONNECTED)
        source.bad.clear()
        self.announce(source)

    # Ranges

    def fetch(self, order: FetchRange, wish: Wish) -> None:
        """Take an order to fetch a range."""
        source = self.all[order.source]
        self._check_choice(order, wish, source)
        request = self._in_flight[order.transfer] = Request(order, wish, order.blocks.start)
        connection = self._connections.setdefault(order.lane, Connection(source))
        connection.requests.append(request)
        if len(connection.requests) == 1:
            self._serve(connection, after_ns=source.latency_ns)

    def are_serving(self, wish: Wish) -> bool:
        """Tell whether something may still be written for a wish."""
        return any(request.wish is wish for request in self._in_flight.values())

    def close(self, order: CloseLane) -> None:
        """End everything on a connection; a block that is just being verified still counts."""
        connection = self._connections.pop(order.lane)
        assert connection.source.node == order.source
        if connection.is_dead:
            return
        connection.is_dead = True
        for request in connection.requests:
            ended = partial(self._end, request, RangeOutcome.CLOSED)
            self._agenda.in_this_life(1 * MS, ended)
        if connection.requests and self._chance.strikes():
            request = connection.requests[0]
            if not request.is_whole:
                self._agenda.in_this_life(1, partial(self._arrive, connection, request))

    def _check_choice(self, order: FetchRange, wish: Wish, source: Source) -> None:
        """Check that a range is the most urgent thing that its source can serve."""
        under_way = BlockSet(
            (request.next_block, request.order.blocks.end)
            for request in self._in_flight.values()
            if request.wish is wish and not request.is_whole
        )
        servable = source.said[order.digest] - source.bad.get(order.recovery, BlockSet())
        if not BlockSet((order.blocks,)).issubset(servable):  # a second chance: nobody else is left
            assert BlockSet((order.blocks,)).issubset(source.said[order.digest])
            return
        asked = BlockSet((order.blocks,))
        if asked & under_way:
            assert order.criticality is Criticality.CRITICAL, "only critical ranges are hedged"
            assert asked.issubset(servable & under_way)
            return
        wanted = servable - wish.written - under_way
        first = wanted.first_run()
        assert first is not None
        assert asked.issubset(wanted)
        space = wish.version.space
        for block in (first.start, order.blocks.start, order.blocks.end - 1):
            assert space.manifest.units[space.unit_of(block)].criticality is order.criticality
        whole = wish.version.blocks
        if all(other.said.get(order.digest, whole) == whole for other in self.all.values()):
            is_trial = len(self.all) > 1 and len(asked) == 1
            assert order.blocks.start == first.start or is_trial, "alone, a class goes in order"

    def _serve(self, connection: Connection, *, after_ns: int) -> None:
        """Begin to answer the first request of a connection."""
        request, source = connection.requests[0], connection.source
        start, end = request.order.blocks
        if self._chance.strikes():
            befalls = BEFALLS_HONEST_SOURCES if source.is_honest else tuple(Mishap)
            request.mishap = self._chance.rng.choice(befalls)
            is_early = request.mishap in COMES_BEFORE_THE_BODY
            request.mishap_block = start if is_early else self._chance.rng.randrange(start, end)
        self._send_later(connection, after_ns)

    def _send_later(self, connection: Connection, delay_ns: int) -> None:
        request = connection.requests[0]
        size_bytes = request.wish.version.space.block_size(request.next_block)
        delay_ns += size_bytes * SECOND // self._rate(connection.source)
        self._agenda.in_this_life(delay_ns, partial(self._send, connection))

    def _rate(self, source: Source) -> int:
        """Return what one of the connections at work gets of a source's rate."""
        at_work = sum(
            known.source is source and bool(known.requests) and known.can_send()
            for known in self._connections.values()
        )
        limit = source.lane_rate_bytes_per_s or source.rate_bytes_per_s
        return min(source.rate_bytes_per_s // max(at_work, 1), limit)

    def _send(self, connection: Connection) -> None:
        """Let one block of the first request arrive, or something else happen."""
        if not connection.can_send():
            return
        request = connection.requests[0]
        if request.strikes_now(*STOPS_THE_BODY):
            self._go_wrong(connection, request)
            return
        self._arrive(connection, request)
        if not connection.can_send():
            return
        if request.is_whole:
            self._end_first(connection, RangeOutcome.DELIVERED)
        else:
            self._send_later(connection, 0)

    def _arrive(self, connection: Connection, request: Request) -> None:
        recovery, block = request.order.recovery, BlockSet.single(request.next_block)
        is_bad = request.strikes_now(Mishap.BAD_BLOCK)
        if is_bad:
            bad = connection.source.bad
            bad[recovery] = bad.get(recovery, BlockSet()) | block
        else:
            request.wish.written |= block
        request.next_block += 1
        self._progress(request, rejected=tuple(block) if is_bad else ())

    def _progress(
        self, request: Request, *, rejected: tuple[int, ...] = (), more_bytes: int = 0
    ) -> None:
        start, space = request.order.blocks.start, request.wish.version.space
        received_bytes = space.run_bytes((start, request.next_block)) + more_bytes
        transfer = request.order.transfer
        self._report(RangeProgressed(transfer, received_bytes, request.next_block, rejected))

    def _go_wrong(self, connection: Connection, request: Request) -> None:
        assert request.mishap is not None
        if request.mishap not in COMES_BEFORE_THE_BODY:
            # Part of a block that is never finished.
            self._progress(request, more_bytes=1000)
        if not connection.can_send():
            return
        match request.mishap.value:
            case RangeOutcome.BUSY | RangeOutcome.NOT_HELD as outcome:
                # It has it again later.
                self.announce_later(connection.source, self._chance.rng.randrange(3000) * MS)
                self._end_first(connection, outcome)
            case RangeOutcome() as outcome:
                self._break(connection, outcome)
            case _:
                connection.is_mute = True

    def _end_first(self, connection: Connection, outcome: RangeOutcome) -> None:
        request = connection.requests.popleft()
        has_more = bool(connection.requests)
        self._end(request, outcome)
        if has_more and connection.can_send():
            self._serve(connection, after_ns=0)

    def _break(self, connection: Connection, outcome: RangeOutcome) -> None:
        """End everything on a connection at once."""
        connection.is_dead = True
        for request in connection.requests:
            self._end(request, outcome)

    def _end(self, request: Request, outcome: RangeOutcome) -> None:
        transfer = request.order.transfer
        del self._in_flight[transfer]
        self._report(RangeEnded(transfer, outcome, retry_after_ns=500 * MS, refusal=FULL_DISK))
