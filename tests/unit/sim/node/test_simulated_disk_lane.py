"""A simulated lane to a node's own disks ends each order once, after what it brought."""

from __future__ import annotations

from random import Random

from ckptd.core.effects import FetchRange
from ckptd.core.events import Event, RangeEnded, RangeProgressed, RecoveryRequested
from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS, LaneId, NodeId, PathId, TransferId
from ckptd.model.words import Criticality, RangeOutcome
from ckptd.sim.node.shelf import NearbyBlocks, Shelf
from ckptd.sim.node.simulated_disk_lane import SimulatedDiskLane
from ckptd.sim.node.simulated_staging import SimulatedStaging
from ckptd.sim.node.source_side import Server
from ckptd.sim.world.disk import FULL, Disk
from ckptd.sim.world.mishaps import Mishaps
from ckptd.sim.world.virtual_time import World
from tests.support.simulation import R0, laid_out

VERSION = laid_out(normal=64)
WRONG, GONE = BlockSet([(5, 6)]), BlockSet([(32, 64)])


class Scene:
    """A lane at 100 MiB/s, and what it reports."""

    def __init__(self) -> None:
        self.world = World(1)
        self.disk = Disk(self.world, 1024 * MIB)
        mishaps = Mishaps(Random(1))
        self.shelf = Shelf(Disk(self.world, 100 * MIB), Server(NodeId("r"), Random(1), mishaps), {})
        self.shelf.put(NearbyBlocks(VERSION, VERSION.blocks, WRONG, GONE))
        request = RecoveryRequested(R0, VERSION.checkpoint, VERSION.version)
        self.staging = SimulatedStaging(request, self.disk)
        self.staging.version = VERSION
        self.staging.open()
        self.reports: list[Event] = []
        self.lane = SimulatedDiskLane(
            LaneId(1),
            self.world,
            self.shelf,
            lambda *events: self.reports.extend(events),
            lambda *_: None,
            mishaps,
        )

    def order(self, transfer: int, start: int, end: int) -> None:
        run, source = BlockRun(start, end), PathId(OWN_DISKS)
        order = FetchRange(
            TransferId(transfer), R0, VERSION.digest, source, LaneId(1), run, Criticality.NORMAL
        )
        self.lane.request(order, self.staging)

    def run(self, until_ms: int = 10 * SECOND // MS) -> None:
        while self.world.step(until=until_ms * MS):
            pass

    def ends(self) -> list[tuple[int, RangeOutcome]]:
        ended = (event for event in self.reports if isinstance(event, RangeEnded))
        return [(event.transfer, event.outcome) for event in ended]

    def progress(self) -> list[RangeProgressed]:
        return [event for event in self.reports if isinstance(event, RangeProgressed)]


def test_it_takes_the_time_of_the_disk_and_rejects_what_is_wrong() -> None:
    scene = Scene()
    scene.order(1, 0, 4)
    scene.order(2, 4, 8)
    scene.run(until_ms=79)
    assert scene.ends() == [(1, RangeOutcome.DELIVERED)]
    scene.run(until_ms=81)
    assert scene.ends() == [(1, RangeOutcome.DELIVERED), (2, RangeOutcome.DELIVERED)]
    assert [event.rejected for event in scene.progress() if event.rejected] == [(5,)]
    assert scene.progress()[-1].received_bytes == 4 * MIB
    assert scene.shelf.believed(VERSION.digest) == VERSION.blocks - WRONG


def test_what_is_gone_is_not_held() -> None:
    scene = Scene()
    scene.order(1, 40, 44)
    scene.run()
    assert scene.ends() == [(1, RangeOutcome.NOT_HELD)]


def test_a_lane_that_is_closed_ends_what_it_began_and_everything_once() -> None:
    scene = Scene()
    scene.order(1, 0, 4)
    scene.order(2, 10, 14)
    scene.run(until_ms=15)
    scene.lane.close()
    scene.run()
    assert [event.next_block for event in scene.progress()] == [1, 2]
    assert scene.ends() == [(1, RangeOutcome.CLOSED), (2, RangeOutcome.CLOSED)]


def test_a_lane_ends_with_the_life_of_its_node() -> None:
    scene = Scene()
    scene.order(1, 0, 4)
    scene.run(until_ms=15)
    scene.lane.drop()
    scene.run()
    assert scene.ends() == []
    assert len(scene.progress()) == 1


def test_a_disk_that_takes_nothing_ends_the_range() -> None:
    scene = Scene()
    scene.disk.refusal = FULL
    scene.order(1, 0, 4)
    scene.run()
    assert scene.ends() == [(1, RangeOutcome.STORE_FAILED)]
