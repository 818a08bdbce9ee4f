from dataclasses import replace

import pytest

from ckptd.core.effects import EndRecovery, PlaceVersion
from ckptd.limits import GIB, MIB, MS
from ckptd.model.blocks import BlockSet
from ckptd.model.words import FailureCause, Result, WasteReason
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.outcomes import Ideal, Work, check_end, check_waiting
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Crash, Mute
from ckptd.sim.script.scenario import InitialHolding
from tests.support.simulation import R0, S0, S1, R, laid_out, run_until, two_sources

VERSION = laid_out(normal=128)


@pytest.fixture
def cluster() -> Cluster:
    return run_until(Cluster(two_sources(VERSION)), 400)


@pytest.fixture
def ended() -> tuple[Cluster, NodeBook, EndRecovery]:
    cluster = Cluster(two_sources(VERSION))
    cluster.run()
    return cluster, cluster.books.nodes[R], cluster.nodes[R].ends[R0][1]


def test_bytes_that_are_not_counted_are_seen(ended: tuple[Cluster, NodeBook, EndRecovery]) -> None:
    cluster, book, end = ended
    work = Work(cluster.network)
    work.at_order(book, end)
    wrong = replace(end, final=replace(end.final, received_bytes=1))
    with pytest.raises(CheckFailed, match="counts 1 bytes"):
        work.at_order(book, wrong)


def test_bytes_that_are_neither_used_nor_wasted_are_seen(
    ended: tuple[Cluster, NodeBook, EndRecovery],
) -> None:
    cluster, book, end = ended
    wasted = {WasteReason.CORRUPT: 1}
    wrong = replace(end, final=replace(end.final, wasted_bytes=wasted))
    with pytest.raises(CheckFailed, match=r"received 134217728 bytes; it used 134217728 and wast"):
        Work(cluster.network).at_order(book, wrong)


def test_too_many_duplicates_are_seen(ended: tuple[Cluster, NodeBook, EndRecovery]) -> None:
    cluster, book, end = ended
    book.recoveries[R0].bytes.duplicate = 6 * MIB
    Work(cluster.network).at_order(book, end)
    book.recoveries[R0].bytes.duplicate = 7 * MIB
    with pytest.raises(CheckFailed, match="duplicate=7340032"):
        Work(cluster.network).at_order(book, end)


def test_a_crash_that_takes_too_much_is_seen(cluster: Cluster, book: NodeBook) -> None:
    book.recoveries[R0].bytes.forgotten_max = 64 * MIB
    Work(cluster.network).at_crash(book)
    book.recoveries[R0].bytes.forgotten_max = 128 * MIB
    with pytest.raises(CheckFailed, match="a crash takes"):
        Work(cluster.network).at_crash(book)


def test_giving_up_what_somebody_has_is_seen(cluster: Cluster, book: NodeBook) -> None:
    given_up = PlaceVersion(R0, BlockSet([(127, 128)]))
    with pytest.raises(CheckFailed, match="s0 has that"):
        Work(cluster.network).at_order(book, given_up)
    book.lost |= {S0, S1}
    Work(cluster.network).at_order(book, given_up)


def test_an_end_that_nothing_excuses_is_seen(ended: tuple[Cluster, NodeBook, EndRecovery]) -> None:
    _, book, end = ended
    check_end(book, end, excuses=frozenset())
    cancelled = replace(end, result=Result.CANCELLED)
    failed = replace(end, result=Result.FAILED, cause=FailureCause.STORE)
    partial = replace(end, result=Result.PARTIAL)
    cases: list[tuple[EndRecovery, Result | FailureCause]] = [
        (cancelled, Result.CANCELLED),
        (failed, FailureCause.STORE),
        (partial, Result.PARTIAL),
    ]
    for bad, excuse in cases:
        check_end(book, bad, excuses=frozenset({excuse}))
        with pytest.raises(CheckFailed):
            check_end(book, bad, excuses=frozenset())


def test_waiting_for_what_is_there_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    with pytest.raises(CheckFailed, match="has not ended"):
        check_waiting(book, recovery, is_obtainable=True)
    with pytest.raises(CheckFailed, match="which is there"):
        check_waiting(book, recovery, is_obtainable=False)


def test_a_recovery_that_misses_blocks_says_how_many() -> None:
    part = BlockSet([(0, 100)])
    cluster = Cluster(two_sources(VERSION, held=part))
    report = cluster.run()
    assert report.recoveries[0].result is None

    book = cluster.books.nodes[R]
    book.said[S0] = {VERSION.digest: VERSION.holding(BlockSet([(0, 101)]))}
    with pytest.raises(CheckFailed, match=r"misses 28 blocks; nobody has BlockSet\(\[\(101, 128\)"):
        check_waiting(book, book.recoveries[R0], is_obtainable=False)


def test_a_recovery_that_could_go_on_and_does_not_is_seen() -> None:
    """All sources are mute for good, which no script of faults may do to a drawn cluster."""
    mute = [Mute(node=node, at_ns=100 * MS) for node in (S0, S1)]
    with pytest.raises(CheckFailed, match="has not ended"):
        Cluster(two_sources(VERSION, *mute)).run()


def seconds(cluster: Cluster, blocks: BlockSet = VERSION.blocks) -> float:
    ideal = Ideal(cluster.nodes, cluster.network)
    return ideal.seconds([(cluster.nodes[R], VERSION, blocks)])


def started(*faults: Crash) -> Cluster:
    return run_until(Cluster(two_sources(VERSION, *faults)), 1)


def test_the_ideal_is_what_all_holders_can_send_together() -> None:
    assert seconds(started()) == pytest.approx(128 / 128 + 128 / 1024)
    assert seconds(started(), BlockSet([(0, 64)])) == pytest.approx(64 / 128 + 64 / 1024)


def test_the_ideal_knows_the_receiver_and_its_disk() -> None:
    cluster = started()
    cluster.network.set_rates(R, ingress_bytes_per_s=32 * MIB)
    assert seconds(cluster) == pytest.approx(128 / 32 + 128 / 1024)

    cluster = started()
    cluster.nodes[R].disk.set_rate(16 * MIB)
    assert seconds(cluster) == pytest.approx(128 / 16 + 128 / 128)


def test_the_ideal_does_without_the_dead_and_the_liars() -> None:
    assert seconds(started(Crash(node=S0, at_ns=0))) == pytest.approx(128 / 64 + 128 / 1024)
    cluster = started()
    cluster.nodes[S0].server.bad_share = 0.1
    assert seconds(cluster) == pytest.approx(128 / 64 + 128 / 1024)


def test_what_only_liars_have_cannot_be_obtained() -> None:
    cluster = started()
    cluster.nodes[S0].server.bad_share = 0.1
    ideal = Ideal(cluster.nodes, cluster.network)
    assert ideal.is_obtainable(VERSION, VERSION.blocks)
    cluster.nodes[S1].server.lose(VERSION.digest)
    assert not ideal.is_obtainable(VERSION, VERSION.blocks)


def test_blocks_of_one_holder_wait_for_that_holder() -> None:
    scenario = two_sources(VERSION)
    halves = [
        InitialHolding(VERSION, BlockSet([(0, 64)])),
        InitialHolding(VERSION, BlockSet([(64, 128)])),
    ]
    nodes = [
        replace(plan, holds=(held,)) for plan, held in zip(scenario.nodes, halves, strict=False)
    ]
    cluster = run_until(Cluster(replace(scenario, nodes=(*nodes, scenario.nodes[2]))), 1)
    # One run after another, each from its only holder.
    assert seconds(cluster) == pytest.approx(2 + 128 * MIB / GIB)
