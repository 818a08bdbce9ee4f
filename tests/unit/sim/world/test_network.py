from ckptd.limits import MIB, MS, SECOND
from ckptd.model.ids import NodeId
from ckptd.model.words import Urgency
from ckptd.sim.world.network import BodyFlow, Network
from ckptd.sim.world.virtual_time import World

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


class Wire:
    """Three nodes that send and receive 100 MiB/s, 5 ms from each other; and who got what when."""

    def __init__(self, *, pace_ns: int = 0, jitter: float = 0.0) -> None:
        self.world = World(0)
        self.network = Network(self.world, pace_ns=pace_ns, jitter=jitter)
        for node in (A, B, C):
            self.network.add(
                node,
                egress_bytes_per_s=100 * MIB,
                ingress_bytes_per_s=100 * MIB,
                serving_bytes_per_s=1000 * MIB,
                latency_ns=MS * 5 // 2,
            )
        self.arrived: list[tuple[NodeId, NodeId, int]] = []

    def flow(self, source: NodeId, receiver: NodeId) -> BodyFlow:
        def note() -> None:
            self.arrived.append((source, receiver, self.world.now // MS))
            self.network.stop(flow)

        ports = self.network.ports
        flow = BodyFlow(ports[source], ports[receiver], note)
        return flow

    def send(
        self,
        source: NodeId,
        receiver: NodeId,
        size_bytes: int,
        urgency: Urgency = Urgency.NORMAL,
    ) -> BodyFlow:
        flow = self.flow(source, receiver)
        self.network.start(flow, size_bytes, urgency)
        return flow

    def run(self, until_ms: int) -> None:
        while self.world.step(until=until_ms * MS):
            pass


def test_bytes_take_as_long_as_the_rate_says() -> None:
    wire = Wire()
    wire.send(A, B, 50 * MIB)
    wire.run(2000)
    assert wire.arrived == [(A, B, 500)]


def test_two_flows_share_until_one_is_done() -> None:
    wire = Wire()
    wire.send(A, B, 25 * MIB)
    wire.send(A, C, 100 * MIB)
    wire.run(2000)
    # Half of the rate each for half a second, then the rest alone: 75 MiB at 100 MiB/s.
    assert wire.arrived == [(A, B, 500), (A, C, 1250)]


def test_what_is_more_urgent_goes_first() -> None:
    wire = Wire()
    wire.send(A, B, 50 * MIB, Urgency.DEFERRED)
    wire.send(A, C, 50 * MIB, Urgency.CRITICAL)
    wire.run(2000)
    # But for a trickle one after the other.
    assert wire.arrived == [(A, C, 500), (A, B, 1000)]


def test_a_source_that_knows_no_classes_serves_all_alike() -> None:
    wire = Wire()
    wire.network.ports[A].serves_by_class = False
    wire.send(A, B, 50 * MIB, Urgency.DEFERRED)
    wire.send(A, C, 50 * MIB, Urgency.CRITICAL)
    wire.run(2000)
    assert wire.arrived == [(A, B, 1000), (A, C, 1000)]


def test_the_next_body_of_a_lane_may_be_more_urgent() -> None:
    wire = Wire()
    wire.send(A, C, 100 * MIB, Urgency.DEFERRED)
    flow = wire.send(A, B, 25 * MIB, Urgency.DEFERRED)
    wire.run(400)
    wire.network.start(flow, 20 * MIB, Urgency.CRITICAL)
    wire.run(600)
    # Half of the rate for 400 ms, then all of it.
    assert wire.arrived == []
    wire.run(2000)
    assert wire.arrived == [(A, B, 650), (A, C, 1450)]


def test_a_rate_that_changes_counts_from_then_on() -> None:
    wire = Wire()
    wire.send(A, B, 100 * MIB)
    wire.world.at(500 * MS, lambda: wire.network.set_rates(A, egress_bytes_per_s=10 * MIB))
    wire.world.at(1500 * MS, lambda: wire.network.set_rates(A))
    wire.run(3000)
    # 50 MiB, 10 MiB in the slow second, and 40 MiB.
    assert wire.arrived == [(A, B, 1900)]


def test_a_cut_stops_a_flow_and_nobody_is_told() -> None:
    wire = Wire()
    wire.send(A, B, 100 * MIB)
    wire.world.at(500 * MS, wire.network.cut, B, A)
    wire.run(5000)
    assert wire.arrived == []
    assert not wire.network.reaches(A, B)

    wire.network.mend(B, A)
    wire.run(6000)
    assert wire.arrived == [(A, B, 5500)]
    assert wire.network.reaches(A, B)


def test_two_cuts_need_two_mendings() -> None:
    wire = Wire()
    wire.network.cut(A, B)
    wire.network.cut(A, B)
    wire.network.mend(A, B)
    assert not wire.network.reaches(B, A)
    assert wire.network.reaches(A, C)


def test_a_silent_node_neither_sends_nor_receives() -> None:
    wire = Wire()
    wire.send(A, B, 10 * MIB)
    wire.send(C, A, 10 * MIB)
    wire.send(C, B, 10 * MIB)
    wire.network.silence(A)
    wire.run(1000)
    assert wire.arrived == [(C, B, 100)]

    wire.network.end_silence(A)
    wire.run(2000)
    assert wire.arrived[1:] == [(A, B, 1100), (C, A, 1100)]


def test_lost_packets_cost_a_share_of_the_rate() -> None:
    wire = Wire()
    wire.network.set_factor(A, B, 0.1)
    wire.send(A, B, 10 * MIB)
    wire.send(A, C, 90 * MIB)
    wire.run(3000)
    assert wire.arrived == [(A, B, 1000), (A, C, 1000)]


def test_a_flow_can_be_held_up_by_its_receiver() -> None:
    wire = Wire()
    flow = wire.send(A, B, 10 * MIB)
    flow.is_held_up = True
    wire.network.refresh(flow)
    wire.run(1000)
    assert flow.left_bytes(wire.world.now) == 10 * MIB


def test_a_body_that_follows_at_once_goes_on_at_the_same_rate() -> None:
    wire = Wire(pace_ns=20 * MS)
    flow = wire.flow(A, B)
    flow.on_arrived = lambda: wire.network.start(flow, 5 * MIB)
    wire.network.start(flow, 5 * MIB)
    wire.run(90)
    # It began at 20 ms; the second body followed at 70 ms and did not wait for the next reckoning.
    assert flow.rate_bytes_per_s == 100 * MIB
    assert flow.left_bytes(wire.world.now) == 3 * MIB


def test_sent_bytes_are_counted_while_they_flow() -> None:
    wire = Wire()
    wire.send(A, B, 100 * MIB)
    wire.run(250)
    assert wire.network.sent_bytes(A) == 25 * MIB
    assert wire.network.sent_bytes(B) == 0


def test_rates_may_be_worked_out_once_in_a_while() -> None:
    wire = Wire(pace_ns=100 * MS)
    wire.send(A, B, 10 * MIB)
    wire.run(1000)
    assert wire.arrived == [(A, B, 200)]


def test_a_message_takes_the_latency_of_both_ends() -> None:
    assert Wire().network.delay_ns(A, B) == 5 * MS
    jittery = Wire(jitter=1.0).network
    delays = {jittery.delay_ns(A, B) for _ in range(100)}
    assert len(delays) > 50
    assert all(5 * MS <= delay <= 10 * MS for delay in delays)


def test_nothing_is_left_to_do_when_all_has_arrived() -> None:
    wire = Wire()
    for _ in range(10):
        wire.send(A, B, 1)
    wire.run(1000)
    assert len(wire.arrived) == 10
    assert not wire.network.ports[A].flows()
    assert wire.world.now == SECOND
