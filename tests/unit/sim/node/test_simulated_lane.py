"""One lane between two nodes: 100 MiB/s, 5 ms one way, blocks of 1 MiB."""

from functools import cached_property
from random import Random

import pytest

from ckptd.core.effects import FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed, RecoveryRequested
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest, LaneId, NodeId, RecoveryId, TransferId
from ckptd.model.words import Criticality, RangeOutcome, Urgency
from ckptd.sim.node.simulated_coding import SimulatedCoding
from ckptd.sim.node.simulated_lane import BUSY_NS, CLOSE_NS, SimulatedLane
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import FULL, Disk
from ckptd.sim.world.layouts import SavedVersion, UnitPlan
from ckptd.sim.world.mishaps import Mishaps
from ckptd.sim.world.network import Network
from ckptd.sim.world.processors import NO_BASE_SHARE, Processors
from ckptd.sim.world.virtual_time import World
from ckptd.traffic.coding_choice import MEASURED_BYTES_MIN, BodyNote, CodingSource
from ckptd.traffic.coding_time import CodingTime
from ckptd.traffic.workload import BODIES_MIN

SOURCE, RECEIVER = NodeId("s"), NodeId("r")
VERSION = SavedVersion("llama/a", 100, [UnitPlan(Criticality.NORMAL, 200 * MIB)], MIB)


class Line:
    """A lane, and what it reported when, in milliseconds."""

    def __init__(self, *, is_background: bool = False) -> None:
        self.world = World(0)
        self.network = Network(self.world)
        for node in (SOURCE, RECEIVER):
            self.network.add(
                node,
                egress_bytes_per_s=100 * MIB,
                ingress_bytes_per_s=100 * MIB,
                serving_bytes_per_s=100 * MIB,
                latency_ns=MS * 5 // 2,
            )
        self.own_mishaps = Mishaps(Random(1))
        self.server = Server(SOURCE, Random(0), Mishaps(Random(0)))
        self.server.is_up = True
        self.server.hold(VERSION, VERSION.blocks)
        self.disk = Disk(self.world, 100 * MIB)
        request = RecoveryRequested(
            RecoveryId("r-1"), VERSION.checkpoint, is_background=is_background
        )
        self.staging = SimulatedStaging(request, self.disk)
        self.staging.version = VERSION
        self.staging.open()
        self.events: list[tuple[int, Event]] = []
        self.delivered: list[tuple[BlockRun, tuple[int, ...]]] = []
        self.own_server = Server(RECEIVER, Random(0), self.own_mishaps)
        self.places: dict[Digest, tuple[SavedVersion, BlockSet]] = {}
        self.coding = SimulatedCoding(self.world, Processors(), self.own_server, self.places)

    @cached_property
    def lane(self) -> SimulatedLane:
        """Connects as soon as it is looked at."""
        return SimulatedLane(
            LaneId(1),
            self.world,
            self.network,
            self.server,
            RECEIVER,
            lambda *events: self.events.extend((self.world.now // MS, each) for each in events),
            lambda _, run, bad: self.delivered.append((run, bad)),
            self.own_mishaps,
            self.coding,
        )

    def ask(
        self, transfer: int, start: int, end: int, criticality: Criticality = Criticality.NORMAL
    ) -> None:
        order = FetchRange(
            TransferId(transfer),
            RecoveryId("r-1"),
            VERSION.digest,
            SOURCE,
            LaneId(1),
            BlockRun(start, end),
            criticality,
        )
        self.lane.request(order, self.staging)

    def code(self, share: float) -> SavedVersion:
        """Let both ends have the version before, and the source say that it codes."""
        older = VERSION.before(share)
        self.server.hold(older, older.blocks)
        self.own_server.hold(older, older.blocks)
        self.places[older.digest] = (older, older.blocks)
        self.server.coding_time = CodingTime(8)
        source = self.coding._sources[SOURCE] = CodingSource(codes=True, is_warm=True)
        known = BodyNote(False, True, MEASURED_BYTES_MIN, MEASURED_BYTES_MIN, SECOND)
        source.plain.note(known, 1)
        return older

    def run(self, until_ms: int) -> None:
        while self.world.step(until=until_ms * MS):
            pass

    @property
    def urgency(self) -> Urgency:
        [flow] = self.network.ports[SOURCE].flows()
        return flow.urgency

    @property
    def ends(self) -> list[tuple[int, int, RangeOutcome]]:
        return [
            (at_ms, event.transfer, event.outcome)
            for at_ms, event in self.events
            if isinstance(event, RangeEnded)
        ]


@pytest.fixture
def line() -> Line:
    return Line()


def test_a_range_takes_a_connection_a_question_and_its_bytes(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(1000)

    # 10 ms to connect, 10 ms to ask, 100 ms of body.
    assert line.events == [
        (120, RangeProgressed(TransferId(1), 10 * MIB, 10, (), 10 * MIB)),
        (120, RangeEnded(TransferId(1), RangeOutcome.DELIVERED)),
    ]
    assert line.server.load_bytes == 0


def test_pipelined_requests_are_answered_without_a_pause(line: Line) -> None:
    line.ask(1, 0, 10)
    line.ask(2, 20, 30)
    line.run(1000)
    assert line.ends == [
        (120, 1, RangeOutcome.DELIVERED),
        (220, 2, RangeOutcome.DELIVERED),
    ]


def test_a_request_on_an_open_lane_costs_one_way_there_and_back(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(200)
    line.ask(2, 20, 30)
    line.run(1000)
    assert line.ends[1:] == [(310, 2, RangeOutcome.DELIVERED)]


def test_progress_tells_of_whole_blocks_and_of_all_bytes(line: Line) -> None:
    line.ask(1, 4, 14)
    line.run(45)
    line.lane.progress()
    line.lane.progress()
    assert [event for _, event in line.events] == [
        RangeProgressed(TransferId(1), 25 * MIB // 10, 6, (), 10 * MIB)
    ]
    assert line.delivered == [(BlockRun(4, 6), ())]


def test_a_bad_block_is_reported_as_rejected_and_nothing_more_is_read(line: Line) -> None:
    line.server.bad_share = 1.0
    line.ask(1, 0, 2)
    line.ask(2, 2, 3)
    line.run(1000)
    progress = RangeProgressed(TransferId(1), 1 * MIB, 1, (0,), 3 * MIB)
    assert line.events[0][1] == progress
    assert [(ended, how) for _, ended, how in line.ends] == [
        (1, RangeOutcome.SPOILED),
        (2, RangeOutcome.CLOSED),
    ]
    assert line.staging.uncommitted_bytes == 0


def test_what_a_source_does_not_have_it_says_so(line: Line) -> None:
    line.server.lose(VERSION.digest)
    line.ask(1, 0, 10)
    line.ask(2, 10, 20)
    line.run(1000)
    assert line.ends == [(20, 1, RangeOutcome.NOT_HELD), (20, 2, RangeOutcome.NOT_HELD)]


def test_a_busy_source_says_when_to_come_again(line: Line) -> None:
    line.server.is_busy = True
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.events == [(20, RangeEnded(TransferId(1), RangeOutcome.BUSY, BUSY_NS))]


def test_a_source_turns_away_what_it_cannot_take_on_and_the_lane_stays(line: Line) -> None:
    workload = line.server.workloads[Urgency.NORMAL]
    for _ in range(BODIES_MIN):
        workload.begin(MIB, now=0)
    line.ask(1, 0, 10)
    line.run(100)
    workload.end(MIB, 0, now=0)
    line.ask(2, 0, 10)
    line.run(1000)
    assert line.ends == [(20, 1, RangeOutcome.BUSY), (210, 2, RangeOutcome.DELIVERED)]
    assert workload.body_count == BODIES_MIN - 1


def test_a_class_is_not_turned_away_because_of_another_one(line: Line) -> None:
    for _ in range(BODIES_MIN):
        line.server.workloads[Urgency.DEFERRED].begin(MIB, now=0)
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.ends == [(120, 1, RangeOutcome.DELIVERED)]


def test_a_body_is_as_urgent_as_its_range(line: Line) -> None:
    line.ask(1, 0, 10, Criticality.DEFERRED)
    line.ask(2, 10, 20, Criticality.CRITICAL)
    line.run(50)
    assert line.urgency is Urgency.DEFERRED
    line.run(200)
    assert line.urgency.label == "critical"


def test_whatever_a_recovery_in_the_background_fetches_is_background() -> None:
    line = Line(is_background=True)
    line.ask(1, 0, 10, Criticality.CRITICAL)
    line.run(50)
    assert line.urgency is Urgency.BACKGROUND


def test_a_closed_lane_reports_what_came_and_ends_everything(line: Line) -> None:
    line.ask(1, 0, 10)
    line.ask(2, 10, 20)
    line.run(40)
    line.lane.close()
    line.run(1000)

    closed_ms = 40 + CLOSE_NS // MS
    assert line.events == [
        (closed_ms, RangeProgressed(TransferId(1), 2 * MIB, 2, (), 20 * MIB)),
        (closed_ms, RangeEnded(TransferId(1), RangeOutcome.CLOSED)),
        (closed_ms, RangeEnded(TransferId(2), RangeOutcome.CLOSED)),
    ]
    assert line.server.load_bytes == 0


def test_a_source_that_dies_breaks_the_lane(line: Line) -> None:
    line.ask(1, 0, 10)
    line.ask(2, 10, 20)
    line.run(40)
    line.server.reset_connections()
    line.run(1000)
    assert line.ends == [
        (45, 1, RangeOutcome.DISCONNECTED),
        (45, 2, RangeOutcome.DISCONNECTED),
    ]


def test_a_source_that_loses_power_says_nothing(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(40)
    line.network.silence(SOURCE)
    line.server.reset_connections()
    line.run(60_000)
    assert line.events == []


def test_a_dead_daemon_refuses_and_a_dead_machine_does_not_answer() -> None:
    refused, unanswered = Line(), Line()
    refused.server.is_up = False
    unanswered.network.silence(SOURCE)
    for line in (refused, unanswered):
        line.ask(1, 0, 10)
        line.run(10_000)
    assert refused.ends == [(10, 1, RangeOutcome.UNREACHABLE)]
    assert unanswered.ends == [(3000, 1, RangeOutcome.UNREACHABLE)]


def test_a_source_out_of_descriptors_refuses_new_lanes_only(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(40)
    line.server.is_exhausted = True
    line.run(1000)
    assert line.ends == [(120, 1, RangeOutcome.DELIVERED)]

    late = Line()
    late.server.is_exhausted = True
    late.ask(1, 0, 10)
    late.run(1000)
    assert late.ends == [(10, 1, RangeOutcome.UNREACHABLE)]


def test_a_lane_that_is_over_ends_what_is_asked_of_it(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(40)
    line.lane.fail(RangeOutcome.DISCONNECTED)
    line.ask(2, 10, 20)
    line.run(1000)
    assert [(transfer, outcome) for _, transfer, outcome in line.ends] == [
        (1, RangeOutcome.DISCONNECTED),
        (2, RangeOutcome.DISCONNECTED),
    ]


def test_a_request_that_got_lost_is_sent_again(line: Line) -> None:
    line.ask(1, 0, 10)
    line.run(12)
    line.network.cut(RECEIVER, SOURCE)
    line.run(100)
    line.network.mend(RECEIVER, SOURCE)
    line.run(1000)
    # It got there at 265 ms.
    assert line.ends == [(370, 1, RangeOutcome.DELIVERED)]


def test_staging_that_is_full_holds_a_lane_up(line: Line) -> None:
    line.ask(1, 0, 60)
    line.run(600)
    line.lane.progress()
    line.lane.look_at_staging()
    assert line.lane.held_up_ns == 600 * MS
    line.run(900)
    line.staging.commit(line.staging.known_version().blocks & VERSION.blocks)
    assert line.ends == []


def test_a_disk_that_refuses_ends_the_range(line: Line) -> None:
    line.ask(1, 0, 10)
    line.ask(2, 10, 20)
    line.disk.refusal = FULL
    line.run(1000)
    assert [event for _, event in line.events][1:] == [
        RangeEnded(TransferId(1), RangeOutcome.STORE_FAILED, refusal=FULL),
        RangeEnded(TransferId(2), RangeOutcome.DISCONNECTED),
    ]


def test_an_answer_fails_half_way_when_things_go_wrong_here(line: Line) -> None:
    line.own_mishaps.share = 1.0
    line.ask(1, 0, 10)
    line.run(1000)
    *before, (_, last) = line.events
    assert last == RangeEnded(TransferId(1), RangeOutcome.STORE_FAILED, refusal=FULL)
    received = [event.received_bytes for _, event in before if isinstance(event, RangeProgressed)]
    assert 0 < max(received) < VERSION.run_bytes(0, 10)


def test_a_connection_is_refused_when_things_go_wrong_there(line: Line) -> None:
    line.server.mishaps.share = 1.0
    line.ask(1, 0, 10)
    line.run(1000)
    assert [event for _, event in line.events] == [
        RangeEnded(TransferId(1), RangeOutcome.UNREACHABLE)
    ]


def test_coded_blocks_take_less_time_and_count_by_their_length(line: Line) -> None:
    line.code(1 / 8)
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.events == [
        (32, RangeProgressed(TransferId(1), 10 * MIB, 10, (), 10 * MIB)),
        (32, RangeEnded(TransferId(1), RangeOutcome.DELIVERED, is_coded=True)),
    ]
    assert (line.coding.coded_bytes, line.coding.sent_bytes) == (10 * MIB, 10 * MIB // 8)


def test_what_came_of_a_coded_range_is_what_of_it_is_whole_and_what_came_of_the_next(
    line: Line,
) -> None:
    line.code(1 / 2)
    line.ask(1, 0, 10)
    line.run(20 + 25)
    line.lane.progress()
    [(_, event)] = line.events
    assert event == RangeProgressed(TransferId(1), 5 * MIB, 5, (), 10 * MIB)


def test_a_rotten_base_of_the_receiver_ends_a_lane_and_blames_nobody(line: Line) -> None:
    older = line.code(1 / 8)
    line.own_server.rot(older.digest, BlockSet(((4, 5),)))
    line.ask(1, 0, 10)
    line.ask(2, 20, 22)
    line.run(1000)
    assert line.events == [
        (32, RangeProgressed(TransferId(1), 4 * MIB + MIB // 8, 4, (), 12 * MIB)),
        (32, RangeEnded(TransferId(1), RangeOutcome.CLOSED)),
        (32, RangeEnded(TransferId(2), RangeOutcome.CLOSED)),
    ]
    assert line.delivered == [(BlockRun(0, 4), ())]


def test_a_block_whose_base_is_rotten_at_the_source_comes_as_it_is(line: Line) -> None:
    older = line.code(1 / 8)
    line.server.rot(older.digest, BlockSet(((4, 5),)))
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.delivered == [(BlockRun(0, 10), ())]
    assert line.coding.sent_bytes == 9 * MIB // 8 + int(MIB * NO_BASE_SHARE)


def test_a_lie_is_one_whether_or_not_it_is_coded(line: Line) -> None:
    line.code(1 / 8)
    line.server.bad_share = 1.0
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.delivered == [(BlockRun(0, 1), (0,))]
    assert line.ends == [(32, 1, RangeOutcome.SPOILED)]


def test_who_has_no_time_for_coding_sends_blocks_as_they_are(line: Line) -> None:
    line.code(1 / 8)
    line.server.coding_time = CodingTime(0)
    line.ask(1, 0, 10)
    line.run(1000)
    assert line.ends == [(120, 1, RangeOutcome.DELIVERED)]
    assert (line.coding.coded_bytes, line.coding.sent_bytes) == (10 * MIB, 10 * MIB)
