"""Each checker is shown what it must not let pass, in a cluster that is at work."""

from dataclasses import replace

import pytest

from ckptd.core.effects import (
    CommitBlocks,
    ConfirmHolding,
    DiscardStaging,
    Effect,
    EndRecovery,
    FetchManifest,
    FetchRange,
    PlaceVersion,
    PrepareStaging,
)
from ckptd.core.events import HoldingConfirmed, StagingPrepared, TimePassed
from ckptd.limits import MS, SECOND
from ckptd.model import unit_choice
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, NodeId, TransferId, Version
from ckptd.model.words import Confirmation, Criticality, Result
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import Check, CheckFailed
from ckptd.sim.check.checkers import (
    Blame,
    Choice,
    InOrder,
    Invariants,
    Stillness,
    UrgentFirst,
    Verification,
)
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Mute
from ckptd.sim.script.scenario import InitialHolding, Wish
from tests.support.simulation import OF_S0, R0, S0, S1, R, laid_out, run_until, two_sources

VERSION = laid_out(critical=64, normal=64)


@pytest.fixture
def cluster() -> Cluster:
    """Half a second on its way; ``s1`` is silent, so that some critical blocks are not here."""
    mute = Mute(node=S1, at_ns=200 * MS)
    return run_until(Cluster(two_sources(VERSION, mute)), 400)


def order(source: NodeId, start: int, criticality: Criticality) -> FetchRange:
    blocks = BlockRun(start, start + 1)
    digest = VERSION.digest
    return FetchRange(TransferId(999), R0, digest, source, LaneId(99), blocks, criticality)


def fails(check: Check, book: NodeBook, effect: Effect) -> str:
    with pytest.raises(CheckFailed) as failed:
        check.at_order(book, effect)
    return str(failed.value)


def test_a_less_urgent_block_before_a_more_urgent_one_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    critical = recovery.known_version().classes[Criticality.CRITICAL]
    recovery.reported = (recovery.reported | critical).without_run((0, 1))
    deferred = order(S0, 100, Criticality.NORMAL)
    assert "lacks more urgent BlockSet([(0, 1)])" in fails(UrgentFirst(), book, deferred)

    book.said[S0] = {}
    UrgentFirst().at_order(book, deferred)  # it does not have the urgent one
    UrgentFirst().at_order(book, order(S1, 0, Criticality.CRITICAL))


def test_any_other_block_before_a_raised_one_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    recovery.reported = recovery.reported.without_run((0, 1))
    recovery.prioritized = BlockSet([(126, 128)])
    critical = order(S0, 0, Criticality.CRITICAL)
    assert "lacks more urgent BlockSet([(126, 128)])" in fails(UrgentFirst(), book, critical)
    prioritized = order(S0, 127, Criticality.CRITICAL)
    UrgentFirst().at_order(book, prioritized)
    Choice().at_order(book, prioritized)
    assert "not all normal" in fails(Choice(), book, order(S0, 127, Criticality.NORMAL))


def test_asking_for_zeros_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    wanted = max(recovery.unclaimed())
    Choice().at_order(book, order(S0, wanted, Criticality.NORMAL))
    recovery.known_version().zeros = BlockSet.single(wanted)
    try:
        assert "asked for zeros" in fails(Choice(), book, order(S0, wanted, Criticality.NORMAL))
    finally:
        recovery.known_version().zeros = BlockSet()


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


def test_asking_for_what_a_source_cannot_serve_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    wanted = max(recovery.unclaimed())
    asked = order(S0, wanted, Criticality.NORMAL)
    Choice().at_order(book, asked)

    recovery.bad_by[OF_S0] = BlockSet.single(wanted)
    assert "cannot serve" in fails(Choice(), book, asked)
    recovery.bad_by.clear()
    book.questioned[OF_S0, VERSION.digest] = BlockSet.single(wanted)
    assert "cannot serve" in fails(Choice(), book, asked)
    book.questioned.clear()
    book.lost.add(S0)
    assert "cannot serve" in fails(Choice(), book, asked)


def test_asking_for_what_is_here_is_seen(book: NodeBook) -> None:
    here = next(iter(book.recoveries[R0].reported))
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


def test_placing_without_what_lies_in_staging_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    critical = VERSION.classes[Criticality.CRITICAL]
    recovery.committed, recovery.written = critical, critical | BlockSet.single(100)
    given_up = PlaceVersion(R0, VERSION.blocks - critical)
    recovery.request = replace(recovery.request, allow_partial=True)
    assert "leaves out blocks that are here" in fails(Verification(), book, given_up)
    recovery.written = critical
    Verification().at_order(book, given_up)


def test_placing_without_required_units_is_seen_unless_the_request_permits_it(
    book: NodeBook,
) -> None:
    recovery = book.recoveries[R0]
    critical = VERSION.classes[Criticality.CRITICAL]
    recovery.committed = recovery.written = critical
    given_up = PlaceVersion(R0, VERSION.blocks - critical)
    assert "places without required" in fails(Verification(), book, given_up)
    recovery.request = replace(recovery.request, allow_partial=True)
    Verification().at_order(book, given_up)


def test_placing_a_directory_with_nothing_in_it_is_seen() -> None:
    version = laid_out(normal=4)
    cluster = run_until(Cluster(two_sources(version)), 500)
    book = cluster.books.nodes[R]
    recovery = book.recoveries[R0]
    recovery.request = replace(recovery.request, allow_partial=True)
    recovery.committed = recovery.written = BlockSet([(0, 3)])
    nothing_whole = PlaceVersion(R0, BlockSet([(3, 4)]))
    assert "places nothing" in fails(Verification(), book, nothing_whole)


def test_what_was_asked_for_is_not_left_out_and_nothing_else_is_fetched(book: NodeBook) -> None:
    book.node.stagings[R0].choice = unit_choice.Choice(min_criticality=Criticality.CRITICAL)
    Verification().at_order(book, order(S0, 63, Criticality.CRITICAL))
    beyond = order(S0, 64, Criticality.NORMAL)
    assert "is for what nobody asked for" in fails(Verification(), book, beyond)
    one_too_many = PlaceVersion(R0, BlockSet([(63, 128)]), BlockSet([(63, 128)]))
    assert "leaves out what was asked for" in fails(Verification(), book, one_too_many)


@pytest.mark.parametrize("result", list(Result)[:3])
def test_what_nobody_asked_for_is_said_to_be_left_out_by_choice_alone(
    ended: tuple[NodeBook, EndRecovery], result: Result
) -> None:
    book, end = ended
    recovery = book.recoveries[R0]
    left_out = BlockSet([(64, 128)])
    recovery.left_out, recovery.committed = left_out, VERSION.blocks - left_out
    said = replace(end, result=result)
    if result is Result.CHOSEN:
        Verification().at_order(book, said)
    else:
        assert f"is {result} without" in fails(Verification(), book, said)


@pytest.mark.parametrize("result", [Result.COMPLETE, Result.PARTIAL])
def test_calling_what_lacks_required_units_complete_is_seen_and_the_reverse(
    ended: tuple[NodeBook, EndRecovery], result: Result
) -> None:
    book, end = ended
    recovery = book.recoveries[R0]
    missing = BlockSet() if result is Result.PARTIAL else BlockSet([(127, 128)])
    recovery.committed = VERSION.blocks - missing
    said = replace(end, result=result, final=replace(end.final, missing_blocks=len(missing)))
    assert f"is {result} without" in fails(Verification(), book, said)


def test_a_commit_of_nothing_is_seen(book: NodeBook) -> None:
    assert "commits nothing" in fails(Verification(), book, CommitBlocks(R0, BlockSet()))


@pytest.mark.parametrize("is_transfer", [True, False], ids=["ranges in flight", "committed"])
def test_work_on_staging_while_it_is_written_to_is_seen(
    book: NodeBook, ended: tuple[NodeBook, EndRecovery], *, is_transfer: bool
) -> None:
    recovery = book.recoveries[R0]
    assert recovery.attempts
    recovery.committing = BlockSet()
    if not is_transfer:
        recovery.attempts.clear()
        recovery.committing = BlockSet.single(0)
    problem = "ranges are in flight" if is_transfer else "blocks are committed"
    orders = (
        PrepareStaging(R0, VERSION.digest, VERSION.space),
        PlaceVersion(R0, BlockSet()),
        DiscardStaging(R0),
        ended[1],
    )
    for effect in orders:
        assert problem in fails(Stillness(), book, effect)
    Stillness().at_order(book, CommitBlocks(R0, BlockSet.single(1)))
    recovery.attempts.clear()
    recovery.committing = BlockSet()
    for effect in orders:
        Stillness().at_order(book, effect)


def test_asking_twice_for_what_is_not_critical_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    under_way = next(iter(recovery.attempts.values()))
    recovery.reported = BlockSet()
    run = BlockRun(under_way.next_block, under_way.next_block + 1)
    again = replace(order(S0, 0, Criticality.CRITICAL), blocks=run)
    Choice().at_order(book, again)
    recovery.request = replace(recovery.request, is_background=True)
    deferred = replace(again, criticality=Criticality.DEFERRED)
    assert "twice and not critical" in fails(Choice(), book, deferred)


def test_asking_twice_for_some_blocks_and_once_for_others_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    recovery.reported = BlockSet()
    edge = max(
        attempt.order.blocks.end
        for attempt in recovery.attempts.values()
        if attempt.next_block < attempt.order.blocks.end
    )
    assert edge < 64, "there are critical blocks left"
    again = replace(order(S0, 0, Criticality.CRITICAL), blocks=BlockRun(edge - 1, edge + 1))
    assert "not all of them" in fails(Choice(), book, again)


def test_asking_for_the_manifest_of_another_version_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    right = FetchManifest(R0, S0, VERSION.digest)
    Choice().at_order(book, right)
    Choice().at_order(book, replace(right, source=None))
    other = laid_out(normal=1, checkpoint="llama/b")
    for source in (S0, None):
        wrong = FetchManifest(R0, source, other.digest)
        assert "is not of llama/a@100" in fails(Choice(), book, wrong)

    recovery.version = None
    assert "does not have" in fails(Choice(), book, FetchManifest(R0, S0, other.digest))
    book.said[S0] = {other.digest: other.holding(other.blocks)}
    assert "was requested" in fails(Choice(), book, FetchManifest(R0, S0, other.digest))
    recovery.request = replace(recovery.request, version=Version(99))
    book.said[S0] = {VERSION.digest: VERSION.holding(VERSION.blocks)}
    assert "was requested" in fails(Choice(), book, right)


def test_a_block_before_its_turn_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    first, *_, last = recovery.unclaimed()
    InOrder().at_order(book, order(S0, first, Criticality.CRITICAL))
    InOrder().at_order(book, order(S0, last, Criticality.NORMAL))  # a trial
    late = replace(order(S0, 0, Criticality.NORMAL), blocks=BlockRun(last - 1, last + 1))
    assert "which comes before" in fails(InOrder(), book, late)

    recovery.prioritized = BlockSet([(last - 1, last + 1)])
    InOrder().at_order(book, late)
    recovery.prioritized = BlockSet()
    book.said[S1] = {VERSION.digest: VERSION.holding(BlockSet([(0, 1)]))}
    InOrder().at_order(book, late)  # not alone


def test_a_question_without_a_bad_block_is_seen(book: NodeBook) -> None:
    blame = Blame(frozenset(), frozenset())
    question = ConfirmHolding(S0, VERSION.digest, BlockSet.single(0))
    assert "sent no bad block" in fails(blame, book, question)
    book.accused[OF_S0, VERSION.digest] = BlockSet.single(0)
    blame.at_order(book, question)


def test_distrust_of_an_honest_node_is_seen(book: NodeBook) -> None:
    standing = book.node.scheduler.inspect().peers[S0].standing
    honest, lying = Blame(frozenset(), frozenset()), Blame(frozenset({S0}), frozenset())
    honest.at_end({R: book})
    standing.trust = -1
    lying.at_end({R: book})
    with pytest.raises(CheckFailed, match="honest and not trusted"):
        honest.at_end({R: book})
    standing.trust, standing.quarantined_until_ns = 0, book.node.now + SECOND
    with pytest.raises(CheckFailed, match="honest and not trusted"):
        honest.at_end({R: book})


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
    book.node.scheduler.inspect().peers[S0].standing.quarantines = 1
    Blame(frozenset({S0}), frozenset()).after_event(book, confirmed)
    with pytest.raises(CheckFailed, match="honest"):
        Blame(frozenset(), frozenset()).after_event(book, confirmed)


def test_a_node_that_sends_only_bad_blocks_and_is_not_in_quarantine_is_seen(book: NodeBook) -> None:
    confirmed = HoldingConfirmed(S0, VERSION.digest, Confirmation.HELD)
    blame = Blame(frozenset({S0}), frozenset({S0}))
    blame.after_event(book, confirmed)
    book.stood_by_counts[OF_S0] = 8
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
