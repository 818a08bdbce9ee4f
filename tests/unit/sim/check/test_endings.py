"""Each checker is shown what it must not let pass, in a cluster that is at work."""

import pytest

from ckptd.core.effects import CloseLane, CommitBlocks, ConfirmHolding, FetchManifest
from ckptd.core.events import (
    BlocksCommitted,
    HoldingConfirmed,
    ManifestArrived,
    ManifestMissed,
    RangeEnded,
)
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import LaneId
from ckptd.model.words import CloseReason, Confirmation, RangeOutcome
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.endings import Endings
from ckptd.sim.cluster import Cluster
from tests.support.simulation import R0, S0, S1, R, in_flight, laid_out, run_until, two_sources

VERSION = laid_out(normal=128)


@pytest.fixture
def cluster() -> Cluster:
    return run_until(Cluster(two_sources(VERSION)), 400)


def test_an_order_ends_once(book: NodeBook) -> None:
    endings, order = Endings(), in_flight(book)
    ended = RangeEnded(order.transfer, RangeOutcome.DELIVERED)
    endings.at_order(book, order)
    endings.after_event(book, ended)
    with pytest.raises(CheckFailed, match="ends nothing"):
        endings.after_event(book, ended)


def test_an_order_is_not_given_again_before_it_ended(book: NodeBook) -> None:
    endings, commit = Endings(), CommitBlocks(R0, BlockSet([(0, 1)]))
    endings.at_order(book, commit)
    with pytest.raises(CheckFailed, match="was ordered before"):
        endings.at_order(book, commit)


def test_what_a_crash_took_need_not_end(book: NodeBook) -> None:
    endings = Endings()
    endings.at_order(book, CommitBlocks(R0, BlockSet([(0, 1)])))
    endings.at_crash(book)
    with pytest.raises(CheckFailed):
        endings.after_event(book, BlocksCommitted(R0))


def test_an_order_that_never_ends_is_seen_at_the_end() -> None:
    cluster = Cluster(two_sources(VERSION))
    cluster.run()
    endings, books = Endings(), cluster.books.nodes
    endings.at_end(books)
    endings.at_order(books[R], CommitBlocks(R0, BlockSet([(0, 1)])))
    with pytest.raises(CheckFailed, match="all recoveries ended"):
        endings.at_end(books)


def test_an_answer_that_never_comes_is_seen_at_rest(book: NodeBook) -> None:
    endings, question = Endings(), ConfirmHolding(S0, VERSION.digest, BlockSet.single(0))
    endings.at_rest(book)
    endings.at_order(book, question)
    with pytest.raises(CheckFailed, match="did not end"):
        endings.at_rest(book)
    endings.after_event(book, HoldingConfirmed(S0, VERSION.digest, Confirmation.NO_ANSWER))
    endings.at_rest(book)


def test_orders_and_events_share_what_names_an_order(book: NodeBook) -> None:
    endings, question = Endings(), ConfirmHolding(S0, VERSION.digest, BlockSet.single(0))
    endings.at_order(book, question)
    with pytest.raises(CheckFailed, match="ends nothing"):
        endings.after_event(book, HoldingConfirmed(S1, VERSION.digest, Confirmation.HELD))
    manifest = FetchManifest(R0, S0, VERSION.digest)
    endings.at_order(book, manifest)
    with pytest.raises(CheckFailed, match="ends nothing"):
        endings.after_event(book, ManifestArrived(R0, None, VERSION.space))
    endings.after_event(book, ManifestMissed(R0, S0, is_lie=False))
    endings.after_event(book, HoldingConfirmed(S0, VERSION.digest, Confirmation.HELD))
    endings.at_rest(book)


def test_an_order_without_an_end_is_not_waited_for(book: NodeBook) -> None:
    endings = Endings()
    endings.at_order(book, CloseLane(LaneId(1), S0, CloseReason.IDLE))
    endings.at_rest(book)
