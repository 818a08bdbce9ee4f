"""The network: who reaches whom, how long a message takes, and how fast bytes flow.

Bytes are flows, not packets: a flow has a rate, and is heard of when a stretch of it has
arrived. Rates are worked out again once after all changes of one moment, or, in large clusters,
once in a while; only for the part of the network that the changes concern. A body that follows
another one on the same lane, and is as urgent, changes no rate and costs nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

from ckptd.limits import SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Urgency
from ckptd.sim.world.fairness import Pipe, Share, connected, work_out
from ckptd.sim.world.processors import UNBOUNDED, Body
from ckptd.sim.world.virtual_time import World

_ROUNDING_BYTES: Final = 1e-3
"""Less than this is rounding."""


class Port:
    """A node's connection to the network.

    Attributes:
        node: Whose.
        egress: What it can send.
        ingress: What it can receive.
        latency_ns: Its part of the way to any other node.
        serving_bytes_per_s: What it sends to one receiver at most …
        flow_bytes_per_s: … and on one connection.
        serves_by_class: It sends what is more urgent first.
        planned: Egress, ingress and serving rate as they were in the beginning.
        is_serving: Its daemon sends bodies.
        processors: What moves its bytes.
        moving_count: So many bodies leave or enter it.
        silences: How many reasons there are why no packet leaves or enters.
        settled_bytes: Body bytes that left it and arrived, as far as they were added up.
    """

    def __init__(
        self,
        node: NodeId,
        *,
        egress: Pipe,
        ingress: Pipe,
        latency_ns: int,
        serving_bytes_per_s: float,
        flow_bytes_per_s: float = math.inf,
    ) -> None:
        self.node = node
        self.egress = egress
        self.ingress = ingress
        self.latency_ns = latency_ns
        self.serving_bytes_per_s = serving_bytes_per_s
        self.flow_bytes_per_s = flow_bytes_per_s
        self.serves_by_class = True
        self.planned = (egress.rate_bytes_per_s, ingress.rate_bytes_per_s, serving_bytes_per_s)
        self.is_serving = True
        self.processors = UNBOUNDED
        self.moving_count = 0
        self.silences = 0
        self.settled_bytes = 0.0

    @property
    def is_bounded(self) -> bool:
        """Its processors bound what moves."""
        return not math.isinf(self.processors.cores)

    @property
    def sent_bytes_per_s(self) -> float:
        """How fast blocks leave it at most that are not coded."""
        processors = self.processors
        return min(self.egress.rate_bytes_per_s, processors.cores * processors.sending_bytes_per_s)

    @property
    def taken_bytes_per_s(self) -> float:
        """How fast it takes such blocks at most."""
        processors = self.processors
        return min(self.ingress.rate_bytes_per_s, processors.cores * processors.taking_bytes_per_s)

    def flows(self) -> list[BodyFlow]:
        """Return the flows that leave or enter it."""
        shares = [*self.egress.flows, *self.ingress.flows]
        return [share for share in shares if isinstance(share, BodyFlow)]


class BodyFlow(Share):
    """The bytes that move on one lane.

    Attributes:
        source: Where they come from.
        receiver: Where they go.
        on_arrived: Called when the stretch that was asked for has arrived.
        is_held_up: The receiver takes nothing at the moment.
        is_running: There is something to move.
        sent_per_core: How many bytes of it a core of its source sends in a second …
        taken_per_core: … and one of its receiver takes.
    """

    __slots__ = (
        "arrived_bytes",
        "due_ns",
        "is_held_up",
        "is_running",
        "mark_ns",
        "on_arrived",
        "rate_bytes_per_s",
        "receiver",
        "sent_per_core",
        "source",
        "taken_per_core",
        "target_bytes",
    )

    def __init__(self, source: Port, receiver: Port, on_arrived: Callable[[], None]) -> None:
        super().__init__(source.egress, receiver.ingress)
        self.source = source
        self.receiver = receiver
        self.on_arrived = on_arrived
        self.is_held_up = False
        self.is_running = False
        self.sent_per_core = self.taken_per_core = math.inf
        self.arrived_bytes = 0.0
        self.target_bytes = 0.0
        self.rate_bytes_per_s = 0.0
        self.mark_ns = 0
        self.due_ns: int | None = None

    def left_bytes(self, now: int) -> int:
        """Return how much of the stretch has not arrived."""
        moved = self.rate_bytes_per_s * (now - self.mark_ns) / SECOND
        return max(math.ceil(self.target_bytes - self.arrived_bytes - moved - _ROUNDING_BYTES), 0)


class Network:
    """All ports, what is wrong between them, and all flows.

    Args:
        world: Time.
        pace_ns: Rates are worked out at most this often; 0 for after every change.
        jitter: A message takes up to this share longer than usual.
    """

    def __init__(self, world: World, *, pace_ns: int = 0, jitter: float = 0.0) -> None:
        self.ports: dict[NodeId, Port] = {}
        self._world = world
        self._pace_ns = pace_ns
        self._jitter = jitter
        self._rng: Random = world.stream("network")
        self._cuts: Counter[tuple[NodeId, NodeId]] = Counter()
        self._running: Counter[tuple[NodeId, NodeId]] = Counter()
        self._factors: dict[tuple[NodeId, NodeId], float] = {}
        self._touched: dict[Pipe, None] = {}
        self._round = 0

    def add(
        self,
        node: NodeId,
        *,
        egress_bytes_per_s: float,
        ingress_bytes_per_s: float,
        serving_bytes_per_s: float,
        latency_ns: int,
        flow_bytes_per_s: float = math.inf,
    ) -> None:
        """Connect a node.

        Args:
            node: Which.
            egress_bytes_per_s: What it can send.
            ingress_bytes_per_s: What it can receive.
            serving_bytes_per_s: What it sends to one receiver at most.
            latency_ns: Its part of the latency to any other node.
            flow_bytes_per_s: What it sends on one connection at most.
        """
        first = 2 * len(self.ports)
        self.ports[node] = Port(
            node,
            egress=Pipe(first, egress_bytes_per_s),
            ingress=Pipe(first + 1, ingress_bytes_per_s),
            latency_ns=latency_ns,
            serving_bytes_per_s=serving_bytes_per_s,
            flow_bytes_per_s=flow_bytes_per_s,
        )

    # What is between two nodes

    def reaches(self, one: NodeId, other: NodeId) -> bool:
        """Tell whether a question gets there and its answer back."""
        if self.ports[one].silences or self.ports[other].silences:
            return False
        return not self._cuts or not (self._cuts[one, other] or self._cuts[other, one])

    def delay_ns(self, one: NodeId, other: NodeId) -> int:
        """Draw how long a message takes one way."""
        usual = self.ports[one].latency_ns + self.ports[other].latency_ns
        return int(usual * (1 + self._jitter * self._rng.random())) if self._jitter else usual

    def cut(self, sender: NodeId, to: NodeId) -> None:
        """Drop all packets from one node to another."""
        self._cuts[sender, to] += 1
        self._refresh_between(sender, to)

    def mend(self, sender: NodeId, to: NodeId) -> None:
        """Take one cut back."""
        self._cuts[sender, to] -= 1
        self._refresh_between(sender, to)

    def set_factor(self, source: NodeId, receiver: NodeId, factor: float) -> None:
        """Let a path carry a share of what it could: lost packets, as far as they matter here."""
        self._factors[source, receiver] = factor
        self._refresh_between(source, receiver)

    def silence(self, node: NodeId) -> None:
        """Drop all packets of a node; nothing reports that."""
        self.ports[node].silences += 1
        self._refresh_all(node)

    def end_silence(self, node: NodeId) -> None:
        """Take one silence back."""
        self.ports[node].silences -= 1
        self._refresh_all(node)

    def set_serving(self, node: NodeId, *, is_serving: bool) -> None:
        """Let a node send bodies or not."""
        self.ports[node].is_serving = is_serving
        self._refresh_all(node)

    def set_rates(
        self,
        node: NodeId,
        *,
        egress_bytes_per_s: float | None = None,
        ingress_bytes_per_s: float | None = None,
        serving_bytes_per_s: float | None = None,
    ) -> None:
        """Change the rates of a node.

        Args:
            node: Which.
            egress_bytes_per_s: What it can send; ``None``, here and below: as planned.
            ingress_bytes_per_s: What it can receive.
            serving_bytes_per_s: What it sends to one receiver at most.
        """
        port = self.ports[node]
        planned_egress, planned_ingress, planned_serving = port.planned
        port.egress.rate_bytes_per_s = egress_bytes_per_s or planned_egress
        port.ingress.rate_bytes_per_s = ingress_bytes_per_s or planned_ingress
        port.serving_bytes_per_s = serving_bytes_per_s or planned_serving
        self._refresh_all(node)
        self._touch(port.egress, port.ingress)

    # Flows

    def start(self, flow: BodyFlow, size_bytes: int, urgency: Urgency = Urgency.NORMAL) -> None:
        """Let so many more bytes flow, as urgent; ``on_arrived`` tells when they are there."""
        if urgency is not flow.urgency and flow.source.serves_by_class:
            flow.urgency = urgency
            if flow.is_running:
                self._touch(flow.egress, flow.ingress)
        if flow.is_running:
            flow.target_bytes += size_bytes
            self._plan(flow)
            return
        flow.is_running = True
        flow.arrived_bytes, flow.target_bytes, flow.rate_bytes_per_s = 0.0, size_bytes, 0.0
        flow.mark_ns, flow.due_ns = self._world.now, None
        flow.egress.flows[flow] = flow.ingress.flows[flow] = None
        self._count(flow, 1)
        self.refresh(flow)
        self._touch(flow.egress, flow.ingress)

    def carry(self, flow: BodyFlow, body: Body) -> None:
        """Let what is asked of a flow next be a body, which takes so much of processors."""
        sent = flow.source.processors.sends(body)
        taken = flow.receiver.processors.takes(body)
        if (sent, taken) != (flow.sent_per_core, flow.taken_per_core):
            flow.sent_per_core, flow.taken_per_core = sent, taken
            self.refresh(flow)

    def stop(self, flow: BodyFlow) -> None:
        """Let nothing more flow."""
        if not flow.is_running:
            return
        self._settle(flow)
        flow.is_running, flow.due_ns, flow.rate_bytes_per_s = False, None, 0.0
        del flow.egress.flows[flow], flow.ingress.flows[flow]
        self._count(flow, -1)
        self._touch(flow.egress, flow.ingress)

    def sent_bytes(self, node: NodeId) -> int:
        """Return how many body bytes left a node and arrived."""
        for flow in self.ports[node].flows():
            self._settle(flow)
        return round(self.ports[node].settled_bytes)

    def refresh(self, flow: BodyFlow) -> None:
        """Work out what a flow takes at most, after something changed about it."""
        source, receiver = flow.source, flow.receiver
        path = (source.node, receiver.node)
        limit = source.serving_bytes_per_s
        if flow.is_held_up or not source.is_serving or not self.reaches(source.node, receiver.node):
            limit = 0.0
        factor = self._factors.get(path) if self._factors else None
        if factor is not None:
            line = min(flow.egress.rate_bytes_per_s, flow.ingress.rate_bytes_per_s)
            limit = min(limit, line * factor)
        limit = min(limit / max(self._running[path], 1), source.flow_bytes_per_s)
        if source.is_bounded or receiver.is_bounded:
            sent = flow.sent_per_core * source.processors.core_share(source.moving_count)
            taken = flow.taken_per_core * receiver.processors.core_share(receiver.moving_count)
            limit = min(limit, sent, taken)
        if limit != flow.limit_bytes_per_s:
            flow.limit_bytes_per_s = limit
            if flow.is_running:
                self._touch(flow.egress, flow.ingress)

    def _count(self, flow: BodyFlow, change: int) -> None:
        """Count the flows of a path; what it carries is divided between them."""
        path = (flow.source.node, flow.receiver.node)
        self._running[path] += change
        if self._running[path] + (change < 0) > 1:
            self._refresh_between(*path)
        for port in (flow.source, flow.receiver):
            port.moving_count += change
            if port.is_bounded:
                self._refresh_all(port.node)

    def _refresh_between(self, one: NodeId, other: NodeId) -> None:
        for flow in self.ports[one].flows():
            if other in {flow.source.node, flow.receiver.node}:
                self.refresh(flow)

    def _refresh_all(self, node: NodeId) -> None:
        for flow in self.ports[node].flows():
            self.refresh(flow)

    # Rates

    def _touch(self, *pipes: Pipe) -> None:
        if not self._touched:
            if self._pace_ns:
                self._world.after(
                    self._pace_ns - self._world.now % self._pace_ns, self._work_out_rates
                )
            else:
                self._world.when_moment_closes(self._work_out_rates)
        for pipe in pipes:
            self._touched[pipe] = None

    def _work_out_rates(self) -> None:
        touched, self._touched = self._touched, {}
        self._round += 1
        for share in work_out(connected(touched, self._round)):
            assert isinstance(share, BodyFlow)
            if share.fair_bytes_per_s != share.rate_bytes_per_s:
                self._settle(share)
                share.rate_bytes_per_s = share.fair_bytes_per_s
                self._plan(share)

    def _settle(self, flow: BodyFlow) -> None:
        """Note what arrived at the rate that was."""
        now = self._world.now
        moved = flow.rate_bytes_per_s * (now - flow.mark_ns) / SECOND
        moved = min(moved, flow.target_bytes - flow.arrived_bytes)
        flow.arrived_bytes += moved
        flow.source.settled_bytes += moved
        flow.mark_ns = now

    def _plan(self, flow: BodyFlow) -> None:
        """Plan to look when the stretch should have arrived, unless that is planned already.

        A plan that turns out to be early is made again; so a rate that falls costs nothing.
        """
        if flow.rate_bytes_per_s <= 0:
            return
        left = flow.target_bytes - flow.arrived_bytes
        due_ns = flow.mark_ns + max(math.ceil(left * SECOND / flow.rate_bytes_per_s), 0)
        due_ns = max(due_ns, self._world.now)
        if flow.due_ns is None or due_ns < flow.due_ns:
            flow.due_ns = due_ns
            self._world.at(due_ns, self._look, flow, due_ns)

    def _look(self, flow: BodyFlow, due_ns: int) -> None:
        if not flow.is_running or flow.due_ns != due_ns:
            return
        self._settle(flow)
        flow.due_ns = None
        if flow.target_bytes - flow.arrived_bytes > _ROUNDING_BYTES:
            self._plan(flow)
            return
        flow.arrived_bytes = flow.target_bytes
        flow.on_arrived()
