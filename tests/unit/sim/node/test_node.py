from dataclasses import replace

from ckptd.limits import MIB, MS, SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.words import Result
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.node import NodeOptions
from ckptd.sim.script.faults import Crash, Freeze
from ckptd.sim.script.scenario import InitialHolding
from tests.support.simulation import R0, S0, R, laid_out, run_until, two_sources

VERSION = laid_out(normal=128)


def test_a_node_recovers_at_the_rate_of_its_sources() -> None:
    report = Cluster(two_sources(VERSION)).run()
    [recovery] = report.recoveries
    assert recovery.result is Result.COMPLETE
    assert recovery.bytes.received == VERSION.size_bytes
    assert 1.0 < report.seconds < 1.1


def test_a_crash_keeps_what_was_committed_and_nothing_else() -> None:
    cluster = run_until(Cluster(two_sources(VERSION)), 500)
    node, book = cluster.nodes[R], cluster.books.nodes[R].recoveries[R0]
    committed, written = book.committed, book.written
    assert BlockSet() != committed != written

    node.crash()
    assert node.committed(R0) == committed
    assert book.written == committed
    assert node.lanes == ()

    node.start()
    cluster.peering.started(node)
    run_until_placed(cluster)
    assert node.ends[R0][1].final.resumed_bytes == VERSION.set_bytes(committed)


def run_until_placed(cluster: Cluster) -> None:
    while R0 not in cluster.nodes[R].ends:
        assert cluster.world.step(until=60 * SECOND)


def test_a_node_that_starts_again_is_another_life() -> None:
    crash = Crash(node=S0, at_ns=300 * MS, for_ns=100 * MS)
    cluster = Cluster(two_sources(VERSION, crash))
    cluster.run()
    assert cluster.nodes[S0].life == 2
    assert cluster.books.nodes[R].epochs[S0] == 2


def test_what_happens_to_a_frozen_node_waits() -> None:
    freeze = Freeze(node=R, at_ns=200 * MS, for_ns=10 * SECOND)
    cluster = run_until(Cluster(two_sources(VERSION, freeze), keeps_story=True), 10_000)
    frozen = [line for line in cluster.chronicle.lines if line.split()[1] == "r"]
    assert int(frozen[-1].split()[0]) <= 200 * MS
    run_until_placed(cluster)
    assert cluster.world.now > 10 * SECOND


def test_a_node_that_stands_still_is_not_stopped_again() -> None:
    longer = Freeze(node=R, at_ns=200 * MS, for_ns=10 * SECOND)
    within = Freeze(node=R, at_ns=400 * MS, for_ns=SECOND)
    cluster = run_until(Cluster(two_sources(VERSION, longer, within)), 9000)
    assert cluster.nodes[R].is_frozen
    run_until_placed(cluster)


def test_committed_blocks_are_served_while_the_version_is_not_complete() -> None:
    cluster = run_until(Cluster(two_sources(VERSION)), 500)
    assert cluster.nodes[R].server.good_blocks(VERSION.digest)

    alone = run_until(Cluster(two_sources(VERSION, options=NodeOptions(is_swarming=False))), 500)
    assert not alone.nodes[R].server.good_blocks(VERSION.digest)


def test_a_wish_on_a_node_that_is_down_begins_when_it_starts() -> None:
    crash = Crash(node=R, at_ns=0, for_ns=2 * SECOND)
    report = Cluster(two_sources(VERSION, crash)).run()
    [recovery] = report.recoveries
    assert recovery.complete_ns is not None
    assert recovery.complete_ns > 3 * SECOND


def test_requests_and_lanes_are_counted_over_all_lives() -> None:
    crash = Crash(node=R, at_ns=500 * MS, for_ns=100 * MS)
    report = Cluster(two_sources(VERSION, crash)).run()
    assert report.nodes[-1].lane_count == 4
    sent = sum(node.sent_bytes for node in report.nodes)
    assert sent >= report.recoveries[0].bytes.received
    assert report.recoveries[0].bytes.forgotten > MIB


def test_what_stands_on_its_disk_is_copied_and_not_asked_for() -> None:
    half = BlockSet([(0, VERSION.space.block_count // 2)])
    scenario = two_sources(VERSION)
    nodes = tuple(
        replace(plan, holds=(InitialHolding(VERSION, half),)) if plan.name == R else plan
        for plan in scenario.nodes
    )
    cluster = Cluster(replace(scenario, nodes=nodes))
    [recovery] = cluster.run().recoveries
    final = cluster.nodes[R].ends[R0][1].final
    assert final.local_bytes == VERSION.set_bytes(half)
    assert recovery.bytes.received == VERSION.size_bytes - final.local_bytes
