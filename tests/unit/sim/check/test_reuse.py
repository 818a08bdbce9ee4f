"""Asking peers for what lies here is seen, unless there is a reason for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.core.effects import FetchRange
from ckptd.limits import GIB, MIB
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import OWN_DISKS, LaneId, PathId, TransferId
from ckptd.model.words import Criticality
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.reuse import JUDGED_NS, Reuse
from ckptd.sim.cluster import Cluster
from ckptd.sim.node.shelf import NearbyBlocks
from tests.support.simulation import R0, S0, R, laid_out, run_until, two_sources

VERSION = laid_out(normal=400)
NEARBY = BlockSet([(100, 400)])
BAD = BlockSet([(399, 400)])


@pytest.fixture
def cluster() -> Cluster:
    """Half a second on its way: ``s0`` and ``s1`` send what is not here."""
    scenario = two_sources(VERSION)
    *others, receiver = scenario.nodes
    nearby = (NearbyBlocks(VERSION, NEARBY, wrong=BAD),)
    receiver = replace(receiver, nearby=nearby, nearby_bytes_per_s=128 * MIB)
    return run_until(Cluster(replace(scenario, nodes=(*others, receiver))), 500)


def order(source: PathId, start: int) -> FetchRange:
    run = BlockRun(start, start + 1)
    return FetchRange(
        TransferId(999), R0, VERSION.digest, source, LaneId(99), run, Criticality.NORMAL
    )


def check_of(cluster: Cluster, rate: int = GIB) -> Reuse:
    return Reuse(cluster.network, {R: rate})


def go_on(cluster: Cluster) -> None:
    until_ns = cluster.world.now + 2 * JUDGED_NS
    while cluster.world.step(until=until_ns):
        pass


def test_asking_a_peer_for_what_lies_here_is_seen(cluster: Cluster, book: NodeBook) -> None:
    check = check_of(cluster)
    check.at_order(book, order(S0, 300))  # its rate has just become known
    go_on(cluster)
    with pytest.raises(CheckFailed, match="which lies here"):
        check.at_order(book, order(S0, 300))
    check.at_order(book, order(PathId(OWN_DISKS), 300))
    check.at_order(book, order(S0, 50))
    check.at_order(book, order(S0, 399))  # it is wrong


def test_peers_that_are_faster_may_be_asked(cluster: Cluster, book: NodeBook) -> None:
    check = check_of(cluster, rate=MIB)
    check.at_order(book, order(S0, 300))
    go_on(cluster)
    check.at_order(book, order(S0, 300))


def test_asking_a_peer_for_what_is_copied_is_seen(cluster: Cluster, book: NodeBook) -> None:
    [copying, *_] = [
        attempt
        for attempt in book.recoveries[R0].attempts.values()
        if attempt.order.source == OWN_DISKS
    ]
    with pytest.raises(CheckFailed, match="which is copied"):
        check_of(cluster, rate=MIB).at_order(book, order(S0, copying.order.blocks.end - 1))
