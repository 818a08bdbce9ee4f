"""What the books say is in staging is what a crash leaves there."""

import pytest

from ckptd.core.effects import ConfirmHolding, DiscardStaging, Effect, PrepareStaging
from ckptd.core.events import HoldingConfirmed, RangeProgressed, RecoveryCancelled, RivalExamined
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import Origin
from ckptd.model.words import Confirmation, RivalVerdict
from ckptd.sim.check.accounts import STRIKES_MAX, DoubtAccount, NodeBook
from ckptd.sim.cluster import Cluster
from tests.support.simulation import OF_S0, R0, S0, S1, R, laid_out, run_until, two_sources

VERSION = laid_out(critical=64, normal=64)
OTHER = laid_out(normal=8, checkpoint="llama/b")


@pytest.fixture
def cluster() -> Cluster:
    """On its way; the critical blocks are committed, others are only written."""
    return run_until(Cluster(two_sources(VERSION)), 700)


def test_a_crash_between_removal_and_the_end_of_a_recovery_leaves_nothing(
    cluster: Cluster, book: NodeBook
) -> None:
    node = cluster.nodes[R]
    assert book.recoveries[R0].committed
    node.disk.work(2 * node.disk.rate_bytes_per_s, lambda: None)  # what follows waits so long
    node.report(RecoveryCancelled(R0))
    while cluster.world.step(until=2 * SECOND):
        pass
    assert R0 in node.stagings
    node.crash()
    node.start()
    cluster.peering.started(node)
    while R0 not in node.ends and cluster.world.step(until=60 * SECOND):
        pass
    assert book.recoveries[R0].committed == VERSION.blocks


@pytest.mark.parametrize(
    ("removal", "is_kept"),
    [
        (PrepareStaging(R0, VERSION.digest, VERSION.space), True),
        (PrepareStaging(R0, OTHER.digest, OTHER.space), False),
        (DiscardStaging(R0), False),
    ],
)
def test_nothing_is_kept_of_what_is_discarded_or_makes_room_for_another_content(
    cluster: Cluster, book: NodeBook, removal: Effect, is_kept: bool
) -> None:
    recovery = book.recoveries[R0]
    before = (recovery.committed, recovery.written, recovery.reported, recovery.critical_ns)
    assert all(before)
    cluster.books.checks = ()
    cluster.books.handled(cluster.nodes[R], (), (removal,))
    after = (recovery.committed, recovery.written, recovery.reported, recovery.critical_ns)
    assert after == (before if is_kept else (BlockSet(), BlockSet(), BlockSet(), None))


def test_blame_ends_what_an_excuse_covers_and_asks_for_another_proof() -> None:
    first, second = BlockSet([(0, 4)]), BlockSet([(4, 8)])
    doubts = DoubtAccount()
    doubts.excuse(first)
    doubts.excuse(second)
    doubts.blame(first, was_excused=True)
    assert (doubts.unproven, doubts.covered) == (first | second, second)
    doubts.prove(0, first | second)
    assert not doubts.unproven
    assert not doubts.covered
    doubts.blame(first, was_excused=True)
    doubts.blame(second, was_excused=False)
    assert (doubts.unproven, doubts.covered) == (first, BlockSet())


@pytest.mark.parametrize("answer", Confirmation)
def test_a_sample_that_was_wrong_is_a_unit_of_its_own_that_its_holder_is_asked_about(
    cluster: Cluster, book: NodeBook, answer: Confirmation
) -> None:
    sample, key = BlockSet.single(3), (OF_S0, OTHER.digest)  # of which no manifest is here
    cluster.books.checks = ()
    examined = RivalExamined(R0, OTHER.digest, S0, RivalVerdict.BAD_BLOCK, 0, block=3)
    cluster.books.handled(cluster.nodes[R], (examined,), ())
    assert book.accused[key] == sample
    cluster.books.handled(cluster.nodes[R], (), (ConfirmHolding(S0, OTHER.digest, sample),))
    cluster.books.handled(cluster.nodes[R], (HoldingConfirmed(S0, OTHER.digest, answer),), ())
    assert not book.accused[key]
    is_excused = answer in {Confirmation.NOT_HELD, Confirmation.NO_ANSWER}
    assert book.doubts[key].covered == (sample if is_excused else BlockSet())
    assert book.stood_by_counts[OF_S0] == (answer is Confirmation.HELD)


def test_who_is_asked_about_bad_blocks_gets_no_other_chance_before_the_answer(
    cluster: Cluster, book: NodeBook
) -> None:
    """Nor do others: else a source that is refused after its answer is the only one left out."""
    recovery, cluster.books.checks = book.recoveries[R0], ()
    attempt = next(each for each in recovery.attempts.values() if each.order.source == S0)
    block, order = attempt.next_block, attempt.order
    book.doubts[OF_S0, VERSION.digest] = DoubtAccount(strikes=STRIKES_MAX - 1)
    recovery.bad_by[Origin(S1)] = VERSION.blocks
    node, received = cluster.nodes[R], attempt.received_bytes
    asked = ConfirmHolding(S0, VERSION.digest, BlockSet.single(block))
    bad = RangeProgressed(order.transfer, received, block + 1, (block,))
    cluster.books.handled(node, (bad,), (asked,))
    assert recovery.bad_by == {OF_S0: VERSION.blocks, Origin(S1): VERSION.blocks}
    cluster.books.handled(node, (HoldingConfirmed(S0, asked.digest, Confirmation.HELD),), ())
    refused = VERSION.blocks - recovery.unclaimed()
    assert recovery.bad_by == {OF_S0: refused, Origin(S1): refused}
