"""The check is shown a scheduler that overlooks something."""

from dataclasses import replace

import pytest

from ckptd.core.events import TimePassed
from ckptd.core.options import Options
from ckptd.limits import SECOND
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.attention import Attention, Rest
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.cluster import Cluster
from tests.support.simulation import R0, S0, R, laid_out, run_until, two_sources

ATTENTION = Attention(Options())


@pytest.fixture
def book() -> NodeBook:
    return run_until(Cluster(two_sources(laid_out(normal=128))), 400).books.nodes[R]


def test_nothing_is_overlooked_in_a_cluster_at_work(book: NodeBook) -> None:
    ATTENTION.after_event(book, TimePassed())


def test_an_idle_source_is_seen(book: NodeBook) -> None:
    state = book.node.scheduler.inspect()
    link = state.peers[S0].link
    link.outstanding_bytes = 0
    state.recoveries[R0].work.bundles[S0].lanes[0].transfers.clear()
    with pytest.raises(CheckFailed, match="after TimePassed: s0 stands idle"):
        ATTENTION.after_event(book, TimePassed())
    state.recoveries[R0].coverage.unclaimed -= state.recoveries[R0].coverage.unclaimed
    assert "idle" not in problem(book)


def test_a_deadline_that_is_too_late_is_seen(book: NodeBook) -> None:
    state = book.node.scheduler.inspect()
    state.recoveries[R0].work.bundles[S0].lanes[0].heard_ns -= 10 * SECOND
    assert "overslept" in problem(book)


def test_a_source_that_may_be_asked_again_is_waited_for(book: NodeBook) -> None:
    link = book.node.scheduler.inspect().peers[S0].link
    link.usable_at_ns = book.node.now + 1
    assert "overslept" in problem(book)


def test_a_deadline_that_is_over_is_seen(book: NodeBook) -> None:
    book.node._world.now += 60 * SECOND
    assert "a storm of wake-ups" in problem(book)


@pytest.fixture
def rested() -> NodeBook:
    cluster = Cluster(replace(two_sources(laid_out(normal=16)), comes_to_rest=True))
    cluster.run()
    return cluster.books.nodes[R]


def test_a_node_that_is_at_rest_wants_nothing(rested: NodeBook) -> None:
    Rest().at_rest(rested)
    rested.node.scheduler.inspect().peer_alarms.set(S0, rested.node.now + SECOND)
    with pytest.raises(CheckFailed, match="wants to be woken"):
        Rest().at_rest(rested)


def test_bytes_in_flight_at_rest_are_seen(rested: NodeBook) -> None:
    rested.node.scheduler.inspect().peers[S0].link.outstanding_bytes = 1
    with pytest.raises(CheckFailed, match="1 bytes of s0 are in flight"):
        Rest().at_rest(rested)


def test_a_lane_that_stays_open_is_seen(book: NodeBook, rested: NodeBook) -> None:
    lane = book.node.lanes[0]
    rested.node._runner.lanes[lane.name] = lane
    with pytest.raises(CheckFailed, match="1 lanes are open"):
        Rest().at_rest(rested)


def problem(book: NodeBook) -> str:
    try:
        ATTENTION.after_event(book, TimePassed())
    except CheckFailed as failed:
        return str(failed)
    return ""
