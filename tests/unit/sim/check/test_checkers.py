"""Each checker is shown what it must not let pass, in a cluster that is at work."""

from dataclasses import replace

import pytest

from ckptd.core.effects import CommitBlocks, EndRecovery, FetchRange, PlaceVersion
from ckptd.core.events import HoldingConfirmed, StagingPrepared, TimePassed
from ckptd.limits import MS, SECOND
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, NodeId, TransferId
from ckptd.model.words import Confirmation, Criticality, Result
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.check.checkers import Blame, Choice, Invariants, UrgentFirst, Verification
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Mute
from ckptd.sim.script.scenario import InitialHolding, Wish
from tests.support.simulation import R0, S0, S1, R, laid_out, run_until, two_sources

VERSION = laid_out(critical=64, normal=64)


@pytest.fixture
def cluster() -> Cluster:
    """Half a second on its way; ``s1`` is silent, so that some critical blocks are not here."""
    mute = Mute(node=S1, at_ns=200 * MS)
    return run_until(Cluster(two_sources(VERSION, mute)), 400)


@pytest.fixture
def book(cluster: Cluster) -> NodeBook:
    return cluster.books.nodes[R]


def order(source: NodeId, start: int, criticality: Criticality) -> FetchRange:
    blocks = BlockRun(start, start + 1)
    digest = VERSION.digest
    return FetchRange(TransferId(999), R0, digest, source, LaneId(99), blocks, criticality)


def fails(check: Check, book: NodeBook, effect: FetchRange | CommitBlocks | PlaceVersion) -> str:
    with pytest.raises(CheckFailed) as failed:
        check.at_order(book, effect)
    return str(failed.value)


def test_a_less_urgent_block_before_a_more_urgent_one_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    critical = recovery.of_criticality(Criticality.CRITICAL)
    recovery.told = (recovery.told | critical).without_run((0, 1))
    deferred = order(S0, 100, Criticality.NORMAL)
    assert "lacks more urgent BlockSet([(0, 1)])" in fails(UrgentFirst(), book, deferred)

    book.said[S0] = {}
    UrgentFirst().at_order(book, deferred)  # it does not have the urgent one
    UrgentFirst().at_order(book, order(S1, 0, Criticality.CRITICAL))


def test_any_other_block_before_a_raised_one_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    recovery.told = recovery.told.without_run((0, 1))
    recovery.raised = BlockSet([(126, 128)])
    critical = order(S0, 0, Criticality.CRITICAL)
    assert "lacks more urgent BlockSet([(126, 128)])" in fails(UrgentFirst(), book, critical)
    raised = order(S0, 127, Criticality.CRITICAL)
    UrgentFirst().at_order(book, raised)
    Choice().at_order(book, raised)
    assert "not all normal" in fails(Choice(), book, order(S0, 127, Criticality.NORMAL))


def test_a_range_of_the_background_is_asked_for_as_deferred_or_that_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    wanted = next(iter(recovery.unclaimed()))
    recovery.request = replace(recovery.request, is_background=True)
    Choice().at_order(book, order(S0, wanted, Criticality.DEFERRED))
    assert "not all critical" in fails(Choice(), book, order(S0, wanted, Criticality.CRITICAL))


def test_the_background_before_anything_of_another_recovery_is_seen() -> None:
    scenario = two_sources(VERSION)
    [wish] = scenario.wishes
    other = laid_out(deferred=64, checkpoint="llama/b")
    holds = (*scenario.nodes[0].holds, InitialHolding(other))
    nodes = (replace(scenario.nodes[0], holds=holds), *scenario.nodes[1:])
    wishes = (replace(wish, is_background=True), Wish(R, other))
    cluster = run_until(Cluster(replace(scenario, nodes=nodes, wishes=wishes)), 100)
    book = cluster.books.nodes[R]
    wanted = max(book.recoveries[R0].unclaimed())
    order_in_background = order(S0, wanted, Criticality.DEFERRED)
    assert "while r.1 lacks" in fails(UrgentFirst(), book, order_in_background)
    UrgentFirst().at_order(book, order(S1, wanted, Criticality.DEFERRED))


def test_an_order_in_vain_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    wanted = max(recovery.unclaimed())
    asked = order(S0, wanted, Criticality.NORMAL)
    Choice().at_order(book, asked)

    recovery.bad_by[S0] = BlockSet.single(wanted)
    assert "in vain" in fails(Choice(), book, asked)
    recovery.bad_by.clear()
    book.questioned.add((S0, VERSION.digest))
    assert "in vain" in fails(Choice(), book, asked)
    book.questioned.clear()
    book.lost.add(S0)
    assert "in vain" in fails(Choice(), book, asked)


def test_asking_for_what_is_here_is_seen(book: NodeBook) -> None:
    here = next(iter(book.recoveries[R0].told))
    assert "are here" in fails(Choice(), book, order(S0, here, Criticality.CRITICAL))


def test_a_wrong_criticality_is_seen(book: NodeBook) -> None:
    wanted = next(iter(book.recoveries[R0].unclaimed()))
    asked = order(S0, wanted, Criticality.DEFERRED)
    assert "not all deferred" in fails(Choice(), book, asked)


def test_a_commit_of_what_never_came_is_seen(book: NodeBook) -> None:
    commit = CommitBlocks(R0, BlockSet([(120, 121)]))
    assert "never came" in fails(Verification(), book, commit)


def test_a_second_commit_is_seen(book: NodeBook) -> None:
    commit = CommitBlocks(R0, BlockSet.single(next(iter(book.recoveries[R0].committed))))
    assert "twice" in fails(Verification(), book, commit)


def test_placing_what_is_not_committed_is_seen(book: NodeBook) -> None:
    assert "not committed" in fails(Verification(), book, PlaceVersion(R0, BlockSet()))


def test_placing_without_critical_blocks_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    recovery.attempts.clear()
    missing = VERSION.blocks - recovery.committed
    assert missing & VERSION.classes[Criticality.CRITICAL]
    assert "critical" in fails(Verification(), book, PlaceVersion(R0, missing))


def test_resuming_with_other_blocks_is_seen(book: NodeBook) -> None:
    prepared = StagingPrepared(R0, BlockSet([(0, 128)]))
    with pytest.raises(CheckFailed, match="other blocks"):
        Verification().after_event(book, prepared)


@pytest.fixture
def ended() -> tuple[NodeBook, EndRecovery]:
    cluster = Cluster(two_sources(VERSION))
    cluster.run()
    return cluster.books.nodes[R], cluster.nodes[R].ends[R0][1]


def test_calling_complete_what_is_not_is_seen(ended: tuple[NodeBook, EndRecovery]) -> None:
    book, end = ended
    assert end.result is Result.COMPLETE
    Verification().at_order(book, end)
    book.recoveries[R0].committed = BlockSet([(0, 127)])
    with pytest.raises(CheckFailed, match="1 are not here"):
        Verification().at_order(book, end)


def test_a_bad_block_that_is_not_counted_is_seen(ended: tuple[NodeBook, EndRecovery]) -> None:
    book, end = ended
    blame = Blame(frozenset(), frozenset())
    blame.at_order(book, end)
    with pytest.raises(CheckFailed, match="counts 1 bad blocks"):
        blame.at_order(book, replace(end, final=replace(end.final, bad_blocks=1)))


def test_an_honest_node_in_quarantine_is_seen(book: NodeBook) -> None:
    confirmed = HoldingConfirmed(S0, VERSION.digest, Confirmation.HELD)
    book.node.scheduler.inspect().peers[S0].link.quarantines = 1
    Blame(frozenset({S0}), frozenset()).after_event(book, confirmed)
    with pytest.raises(CheckFailed, match="honest"):
        Blame(frozenset(), frozenset()).after_event(book, confirmed)


def test_a_shameless_node_at_large_is_seen(book: NodeBook) -> None:
    confirmed = HoldingConfirmed(S0, VERSION.digest, Confirmation.HELD)
    blame = Blame(frozenset({S0}), frozenset({S0}))
    blame.after_event(book, confirmed)
    book.strikes[S0] = 8
    with pytest.raises(CheckFailed, match="8 bad blocks"):
        blame.after_event(book, confirmed)


def test_a_scheduler_that_contradicts_itself_is_seen(book: NodeBook) -> None:
    state = book.node.scheduler.inspect()
    Invariants().after_event(book, TimePassed())
    state.recoveries[R0].coverage.unclaimed |= BlockSet([(0, 1)])
    with pytest.raises(AssertionError):
        Invariants().after_event(book, TimePassed())
    Invariants(every=2).after_event(book, TimePassed())  # not its turn


def test_a_failed_check_says_when_and_where(book: NodeBook) -> None:
    assert str(CheckFailed(book, "oh")) == "0.400000s r: oh"
    assert book.node.now < SECOND
