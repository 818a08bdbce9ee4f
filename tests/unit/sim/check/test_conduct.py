"""Each checker is shown what it must not let pass, in a cluster that is at work."""

from dataclasses import replace

import pytest

from ckptd.core.effects import CloseLane
from ckptd.core.events import (
    HoldingsArrived,
    RecoveryPaused,
)
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Epoch, LaneId, Origin, TransferId
from ckptd.model.words import CloseReason
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.conduct import (
    DIALS_PER_MINUTE_MAX,
    EVENTS_PER_MOMENT_MAX,
    LANE_REQUESTS_MAX,
    Calm,
    Lanes,
    Silence,
    Standstill,
)
from ckptd.sim.cluster import Cluster
from tests.support.simulation import R0, S0, S1, R, in_flight, laid_out, run_until, two_sources

VERSION = laid_out(normal=128)


@pytest.fixture
def cluster() -> Cluster:
    return run_until(Cluster(two_sources(VERSION)), 400)


def test_a_lane_is_not_used_after_it_was_closed(book: NodeBook) -> None:
    order = in_flight(book)
    Lanes().at_order(book, order)
    book.closed.add(order.lane)
    with pytest.raises(CheckFailed, match="after it was closed"):
        Lanes().at_order(book, order)


def test_a_lane_leads_to_one_source(book: NodeBook) -> None:
    lanes, order = Lanes(), in_flight(book)
    lanes.at_order(book, order)
    other = S1 if order.source == S0 else S0
    with pytest.raises(CheckFailed, match="leads to"):
        lanes.at_order(book, replace(order, source=other))


def test_a_lane_is_closed_once_and_only_if_it_was_used(book: NodeBook) -> None:
    order = in_flight(book)
    close = CloseLane(order.lane, order.source, CloseReason.IDLE)
    Lanes().at_order(book, close)
    with pytest.raises(CheckFailed, match="closed as one to r"):
        Lanes().at_order(book, replace(close, source=R))
    with pytest.raises(CheckFailed, match="was never used"):
        Lanes().at_order(book, replace(close, lane=LaneId(999)))
    book.closed.add(order.lane)
    with pytest.raises(CheckFailed, match="closed twice"):
        Lanes().at_order(book, close)


def test_a_lane_takes_only_so_many_requests(book: NodeBook) -> None:
    recovery, order = book.recoveries[R0], in_flight(book)
    attempt = recovery.attempts[order.transfer]
    for number in range(LANE_REQUESTS_MAX):
        recovery.attempts[TransferId(1000 + number)] = attempt
    with pytest.raises(CheckFailed, match="requests already"):
        Lanes().at_order(book, order)


def test_a_paused_recovery_has_no_open_lane(book: NodeBook) -> None:
    paused = RecoveryPaused(R0)
    with pytest.raises(CheckFailed, match="is paused, but not"):
        Lanes().after_orders(book, paused)
    book.closed |= {LaneId(1), LaneId(2)}
    Lanes().after_orders(book, paused)


def test_nothing_is_expected_of_an_old_life(book: NodeBook) -> None:
    with pytest.raises(CheckFailed, match="old life of s0"):
        Lanes().after_orders(book, HoldingsArrived(S0, Epoch(2), (), S0, Origin(S0)))


def test_a_lane_without_work_does_not_stay_open() -> None:
    cluster = run_until(Cluster(two_sources(VERSION, held=BlockSet([(0, 64)]))), 3000)
    book = cluster.books.nodes[R]
    Lanes().now_and_then(book)
    cluster.world.now += 61 * SECOND
    with pytest.raises(CheckFailed, match="has been idle"):
        Lanes().now_and_then(book)


def test_a_slow_disk_is_not_the_sources_silence(cluster: Cluster, book: NodeBook) -> None:
    order = in_flight(book)
    close = CloseLane(order.lane, order.source, CloseReason.SILENT)
    Lanes().at_order(book, close)
    lane = cluster.nodes[R].lane(order.lane)
    assert lane is not None
    lane.held_up_ns = cluster.world.now
    with pytest.raises(CheckFailed, match="this disk is slow"):
        Lanes().at_order(book, close)


def test_a_storm_of_events_is_seen(book: NodeBook) -> None:
    calm, arrived = Calm(), HoldingsArrived(S0, Epoch(1), (), S0, Origin(S0))
    for _ in range(EVENTS_PER_MOMENT_MAX):
        calm.after_event(book, arrived)
    with pytest.raises(CheckFailed, match="events at one moment"):
        calm.after_event(book, arrived)


def test_a_storm_of_connections_is_seen(cluster: Cluster, book: NodeBook) -> None:
    calm, close = Calm(), CloseLane(LaneId(1), S0, CloseReason.FAILED)
    for _ in range(DIALS_PER_MINUTE_MAX):
        calm.at_order(book, close)
        calm.at_order(book, replace(close, reason=CloseReason.IDLE))
        cluster.world.now += SECOND
    with pytest.raises(CheckFailed, match="failed in a minute"):
        calm.at_order(book, close)

    cluster.world.now += 61 * SECOND
    calm.at_order(book, close)


def test_a_silent_source_that_keeps_what_it_owes_is_seen(cluster: Cluster, book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    assert any(attempt.received_bytes for attempt in recovery.attempts.values())
    Silence().now_and_then(book)
    cluster.world.now += 2 * SECOND
    with pytest.raises(CheckFailed, match="has been silent for 2"):
        Silence().now_and_then(book)


def test_what_is_asked_of_another_source_is_not_owed(cluster: Cluster, book: NodeBook) -> None:
    attempts = book.recoveries[R0].attempts
    for number, attempt in enumerate(list(attempts.values())):
        other = replace(attempt, heard_ns=60 * SECOND)
        attempts[TransferId(1000 + number)] = other
    cluster.world.now += 2 * SECOND
    Silence().now_and_then(book)


def test_silence_does_not_count_while_this_node_commits(cluster: Cluster, book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    cluster.world.now += 2 * SECOND
    recovery.committing = BlockSet([(0, 1)])
    Silence().now_and_then(book)
    recovery.committing, recovery.commit_ended_ns = BlockSet(), cluster.world.now
    Silence().now_and_then(book)


def stand(cluster: Cluster, book: NodeBook, standstill: Standstill) -> None:
    """Let a recovery ask nobody for twelve seconds."""
    book.recoveries[R0].attempts.clear()
    book.attempts.clear()
    standstill.now_and_then(book)
    cluster.world.now += 12 * SECOND


def test_a_recovery_that_asks_nobody_is_seen(cluster: Cluster, book: NodeBook) -> None:
    standstill = Standstill()
    stand(cluster, book, standstill)
    with pytest.raises(CheckFailed, match=r"has stood still for 12\.0 s"):
        standstill.now_and_then(book)


def test_a_recovery_that_asked_without_success_has_asked(cluster: Cluster, book: NodeBook) -> None:
    standstill, order = Standstill(), in_flight(book)
    stand(cluster, book, standstill)
    standstill.at_order(book, order)
    standstill.now_and_then(book)


def test_a_recovery_that_nobody_can_serve_may_stand_still(cluster: Cluster, book: NodeBook) -> None:
    standstill = Standstill()
    book.lost |= {S0, S1}
    stand(cluster, book, standstill)
    standstill.now_and_then(book)
