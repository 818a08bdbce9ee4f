"""A lane: one connection from a receiver to a source, with its requests in order.

As the real one it ends every request with exactly one ``RangeEnded``, reports what came before
that, and answers pipelined requests one after another without a pause between their bodies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from ckptd.core.effects import FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed, Refusal, Reporting
from ckptd.limits import CONNECT_TIMEOUT_NS, MIB, MS, SECOND
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId, NodeId
from ckptd.model.words import RangeOutcome, Urgency
from ckptd.sim.node.range_request import RangeRequest
from ckptd.sim.node.simulated_coding import SimulatedCoding, body_of
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import FULL
from ckptd.sim.world.mishaps import Mishap, Mishaps
from ckptd.sim.world.network import BodyFlow, Network
from ckptd.sim.world.processors import Body
from ckptd.sim.world.virtual_time import World
from ckptd.traffic.workload import RETRY_AFTER_S

RETRANSMIT_NS: Final = 250 * MS
"""How soon a packet is sent again that got lost; TCP begins with 200 ms."""

CLOSE_NS: Final = MS
"""How long a lane's thread takes to notice that it was closed."""

BUSY_NS: Final = RETRY_AFTER_S * SECOND
"""How long a busy source wants to be left alone."""

_GROUP_BYTES: Final = 1 * MIB
"""What a lane reads before it looks at it, but for its first block; as in ``net.lane.groups``."""

_SYN_NS: Final = (0, SECOND)
"""When the connection is tried before it is given up (Linux: after 0, 1, 3, … seconds)."""


Delivered = Callable[[FetchRange, BlockRun, tuple[int, ...]], None]


class SimulatedLane:
    """One connection.

    Args:
        name: Its name.
        world: Time.
        network: What lies between.
        server: The source.
        receiver: The node it belongs to.
        report: Takes the events.
        delivered: Called with blocks that were taken, and which of them were bad.
        mishaps: What goes wrong at the receiver.
        coding: Knows which ranges are asked for coded, and looks at bases.

    Attributes:
        name: Its name.
        heard_ns: When bytes came last; ``None`` before the first.
        held_up_ns: Since when staging takes nothing; ``None`` while it does.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (the parts it is made of)
        self,
        name: LaneId,
        world: World,
        network: Network,
        server: Server,
        receiver: NodeId,
        report: Reporting,
        delivered: Delivered,
        mishaps: Mishaps,
        coding: SimulatedCoding,
    ) -> None:
        self.name = name
        self._world = world
        self._network = network
        self._server = server
        self._receiver = receiver
        self._report = report
        self._delivered = delivered
        self._mishaps = mishaps
        self._coding = coding
        self._body_end_ns = world.now
        self.heard_ns: int | None = None
        self.held_up_ns: int | None = None
        self._requests: deque[RangeRequest] = deque()
        self._current: RangeRequest | None = None
        self._idle_since_ns = world.now
        self._is_open = False
        self._is_over = False
        self._is_cut_off = False
        self._has_taken = False
        self._flow = BodyFlow(
            network.ports[server.node], network.ports[receiver], self._body_arrived
        )
        self._connect(0)

    @property
    def is_active(self) -> bool:
        """A body is on its way."""
        return self._current is not None

    @property
    def source(self) -> NodeId:
        """The source it leads to."""
        return self._server.node

    @property
    def idle_ns(self) -> int:
        """How long it has had nothing to do."""
        return 0 if self._requests else self._world.now - self._idle_since_ns

    # Orders

    def request(self, order: FetchRange, staging: SimulatedStaging) -> None:
        """Ask for a range; before the connection is up it waits for that."""
        urgency = Urgency.of(order.criticality, is_background=staging.request.is_background)
        size_bytes, start = staging.known_version().run_bytes(*order.blocks), order.blocks.start
        bases = self._coding.ask(order, self._server, staging.known_version())
        request = RangeRequest(
            order,
            staging,
            size_bytes,
            urgency,
            start,
            size_bytes,
            bases=bases,
            asked_ns=self._world.now,
        )
        self._requests.append(request)
        if self._is_over:
            self._world.after(0, self._end_all, RangeOutcome.DISCONNECTED, None)
        elif self._is_open:
            self._send(request)

    def close(self) -> None:
        """Close. Whole blocks count; the rest ends as ``CLOSED``."""
        if not self._is_over:
            progress = self._take()
            self._shut()
            self._world.after(CLOSE_NS, self._end_all, RangeOutcome.CLOSED, progress)

    def drop(self) -> None:
        """Drop everything without a report: the receiver is gone."""
        self._shut()
        self._requests.clear()

    def fail(self, outcome: RangeOutcome, refusal: Refusal | None = None) -> None:
        """Break: the request that is being answered ends so, the others as disconnected."""
        if self._is_over:
            return
        progress = self._take()
        has_body = self._current is not None
        self._shut()
        reports: list[Event] = [] if progress is None else [progress]
        if self._requests and (has_body or outcome is RangeOutcome.MISBEHAVED):
            first = self._requests.popleft()
            is_given_up = first.given_up_as is not None
            outcome = RangeOutcome.SPOILED if first.given_up_as is RangeOutcome.SPOILED else outcome
            reports.append(RangeEnded(first.order.transfer, outcome, refusal=refusal))
            outcome = RangeOutcome.CLOSED if is_given_up else RangeOutcome.DISCONNECTED
        if reports:
            self._report(*reports)
        self._end_all(outcome, None)

    def look_at_staging(self) -> None:
        """Take no more bytes while staging takes no more, as the real lanes wait there."""
        is_full = self._current is not None and self._current.staging.is_full
        if is_full != self._flow.is_held_up:
            self._flow.is_held_up = is_full
            self.held_up_ns = self._world.now if is_full else None
            self._network.refresh(self._flow)

    def progress(self) -> None:
        """Report what came since the last time, if anything did."""
        report = self._take()
        if report is None:
            return
        self._report(report)
        current = self._current
        if current is not None and current.staging.refusal is not None:
            self.fail(RangeOutcome.STORE_FAILED, current.staging.refusal)
        elif current is not None and (outcome := current.given_up_as) is not None:
            self.fail(outcome)

    # The connection

    def _connect(self, attempt: int) -> None:
        if self._is_over:
            return
        network, server = self._network, self._server
        way_ns = 2 * network.delay_ns(self._receiver, server.node)
        if network.reaches(self._receiver, server.node):
            self._world.after(way_ns, self._answered, server.life if server.accepts else None)
        elif attempt + 1 < len(_SYN_NS):
            self._world.after(_SYN_NS[attempt + 1] - _SYN_NS[attempt], self._connect, attempt + 1)
        else:
            left_ns = CONNECT_TIMEOUT_NS - _SYN_NS[attempt]
            self._world.after(left_ns, self.fail, RangeOutcome.UNREACHABLE)

    def _answered(self, life: int | None) -> None:
        if self._is_over:
            return
        is_refused = self._server.mishaps.goes_wrong()
        if life is None or life != self._server.life or not self._server.is_up or is_refused:
            self.fail(RangeOutcome.UNREACHABLE)
            return
        self._is_open = True
        self._server.connected(self._reset_by_source)
        for request in self._requests:
            self._send(request)

    def _reset_by_source(self) -> None:
        """Lose the far end; the receiver hears of it if a packet can get here."""
        self._is_cut_off = True
        self._network.stop(self._flow)
        self._server.disconnected(self._reset_by_source)
        for request in self._requests:
            self._release(request)
        delay_ns = self._network.delay_ns(self._server.node, self._receiver)
        self._world.after(delay_ns, self._heard_reset)

    def _heard_reset(self) -> None:
        if self._network.reaches(self._receiver, self._server.node):
            self.fail(RangeOutcome.DISCONNECTED)

    def _shut(self) -> None:
        self._is_over = True
        self._network.stop(self._flow)
        self._server.disconnected(self._reset_by_source)
        self._current = None
        for request in self._requests:
            self._release(request)

    def _release(self, request: RangeRequest) -> None:
        if request.ready_ns is not None:
            self._server.load_bytes -= request.size_bytes
            request.ready_ns = None
        if request.is_admitted:
            request.is_admitted = False
            workload = self._server.workloads[request.urgency]
            workload.end(request.size_bytes, request.reported_bytes, now=self._world.now)

    def _end_all(self, outcome: RangeOutcome, progress: RangeProgressed | None) -> None:
        if progress is not None:
            self._report(progress)
        while self._requests:
            transfer = self._requests.popleft().order.transfer
            self._report(RangeEnded(transfer, outcome))

    # Requests and bodies

    def _send(self, request: RangeRequest) -> None:
        delay_ns = self._network.delay_ns(self._receiver, self._server.node)
        self._world.after(delay_ns, self._reached_source, request)

    def _reached_source(self, request: RangeRequest) -> None:
        if self._is_over:
            return
        if not self._network.reaches(self._receiver, self._server.node):
            self._world.after(RETRANSMIT_NS, self._reached_source, request)
            return
        delay_ns = self._network.delay_ns(self._server.node, self._receiver)
        if self._is_cut_off:
            self._world.after(delay_ns, self._heard_reset)
            return
        self._server.load_bytes += request.size_bytes
        request.ready_ns = self._world.now + delay_ns
        if request is self._requests[0]:
            self._world.at(request.ready_ns, self._begin, request)

    def _begin(self, request: RangeRequest) -> None:
        """Receive the head of an answer."""
        if self._is_over or self._is_cut_off or self._current is not None:
            return
        server = self._server
        if server.is_mute or not self._network.reaches(self._receiver, server.node):
            self._network.stop(self._flow)
            self._world.after(RETRANSMIT_NS, self._begin, request)
            return
        workload = server.workloads[request.urgency]
        outcome = server.answer(request.order.digest, request.order.blocks)
        if outcome is None:
            request.body = self._body_of(request)
            request.sent_bytes = request.body.size_bytes
            outcome = self._draw_mishap(request)
        if outcome is None and not workload.admits(request.size_bytes):
            outcome = RangeOutcome.BUSY
        if outcome is None:
            self._current = request
            request.is_admitted = True
            workload.begin(request.size_bytes, now=self._world.now)
            request.load_bytes = server.load_bytes
            assert request.body is not None, "it is sent"
            self._network.carry(self._flow, request.body)
            self._network.start(self._flow, request.sent_bytes, request.urgency)
            self.look_at_staging()
            return
        retry_after_ns = BUSY_NS if outcome is RangeOutcome.BUSY else 0
        self._finish(request, None, RangeEnded(request.order.transfer, outcome, retry_after_ns))

    def _body_of(self, request: RangeRequest) -> Body:
        """Return what the source sends."""
        server, version = self._server, request.staging.known_version()
        processors = self._flow.source.processors
        run, bases = request.order.blocks, request.bases
        return body_of(server, run, version, bases, processors, now=self._world.now)

    def _draw_mishap(self, request: RangeRequest) -> RangeOutcome | None:
        """Draw what goes wrong with an answer; a refusal is returned, the rest comes later."""
        mishap = self._server.mishap()
        if mishap is None and self._mishaps.goes_wrong():
            mishap = Mishap.STORE_FAILED
        if mishap is None or mishap.refusal is not None:
            return None if mishap is None else mishap.refusal
        request.mishap = mishap
        request.sent_bytes = 1 + self._mishaps.below(request.sent_bytes)
        return None

    def _go_wrong(self, mishap: Mishap) -> None:
        """Let an answer end that was to come only so far; a silent source just sends no more."""
        progress = self._take()
        if progress is not None:
            self._report(progress)
        match mishap:
            case Mishap.STORE_FAILED:
                self.fail(RangeOutcome.STORE_FAILED, FULL)
            case Mishap.MISBEHAVED:
                self.fail(RangeOutcome.MISBEHAVED)
            case Mishap.DISCONNECTED:
                self.fail(RangeOutcome.DISCONNECTED)
            case _:
                self._network.stop(self._flow)

    def _body_arrived(self) -> None:
        request = self._current
        assert request is not None, "bytes that nobody asked for"
        if request.mishap is not None:
            self._go_wrong(request.mishap)
            return
        progress = self._take()
        if request.staging.refusal is not None:
            if progress is not None:
                self._report(progress)
            self.fail(RangeOutcome.STORE_FAILED, request.staging.refusal)
            return
        if (outcome := request.given_up_as) is not None:
            if progress is not None:
                self._report(progress)
            self.fail(outcome)
            return
        began_ns = max(self._body_end_ns, request.asked_ns)
        self._body_end_ns = self._world.now
        self._coding.note(request, self._server, began_ns=began_ns)
        delivered, is_coded = RangeOutcome.DELIVERED, request.bases is not None
        ended = RangeEnded(request.order.transfer, delivered, is_coded=is_coded)
        self._finish(request, progress, ended)

    def _finish(
        self, request: RangeRequest, progress: RangeProgressed | None, ended: RangeEnded
    ) -> None:
        """Report the end of a request and go on with the next."""
        self._current = None
        self._idle_since_ns = self._world.now
        self._release(request)
        removed = self._requests.popleft()
        assert removed is request, "answers come in the order of their requests"
        if progress is None:
            self._report(ended)
        else:
            self._report(progress, ended)
        if self._is_over or self._is_cut_off:
            return
        following = self._requests[0] if self._requests else None
        if following is not None and following.ready_ns is not None:
            if following.ready_ns <= self._world.now:
                self._begin(following)
                return
            self._world.at(following.ready_ns, self._begin, following)
        self._network.stop(self._flow)

    def _spoiled_at(self, request: RangeRequest, bad: int, end: int) -> tuple[int, int]:
        """Return after which block, and how many bytes, of an answer no more is read.

        That is the end of the group with the first wrong block: one block on a new lane.
        """
        version = request.staging.known_version()
        is_first = not self._has_taken and bad == request.order.blocks.start
        group_bytes = 0 if is_first else _GROUP_BYTES
        end = min(max(bad + 1, version.block_after(bad, group_bytes)), end)
        return end, version.run_bytes(request.order.blocks.start, end)

    def _take(self) -> RangeProgressed | None:
        """Take the blocks that are whole by now; say so if anything came."""
        request = self._current
        if request is None or request.body is None or request.given_up_as is not None:
            return None
        came_bytes = request.sent_bytes - self._flow.left_bytes(self._world.now)
        received = request.body.received_bytes(came_bytes)
        if received <= request.reported_bytes:
            return None
        request.reported_bytes, self.heard_ns = received, self._world.now
        order, version = request.order, request.staging.known_version()
        start = request.next_block
        end = min(version.block_after(order.blocks.start, received), order.blocks.end)
        bad: tuple[int, ...] = ()
        lost = self._coding.lost_among(request, start, end)
        if lost is not None:
            end, received = lost, request.body.end_of(lost - order.blocks.start)
            request.given_up_as, request.reported_bytes = RangeOutcome.CLOSED, received
        if end > start:
            sent_wrongly = self._server.bad_among(order.digest, start, end)
            wrong = self._coding.wrong_among(request, start, end)
            bad = tuple(sorted({*sent_wrongly, *wrong})) if wrong else sent_wrongly
            if bad:
                end, received = self._spoiled_at(request, bad[0], end)
                bad = tuple(block for block in bad if block < end)
                request.given_up_as, request.reported_bytes = RangeOutcome.SPOILED, received
            self._has_taken = True
            request.next_block = end
            run = BlockRun(start, end)
            request.staging.take(run, bad)
            self._delivered(order, run, bad)
        return RangeProgressed(
            order.transfer, received, request.next_block, bad, request.load_bytes
        )
