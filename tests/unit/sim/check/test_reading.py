"""A block before one that is waited for is seen, and one that waits behind others as well."""

from __future__ import annotations

import pytest

from ckptd.core.effects import Effect, FetchRange
from ckptd.core.events import NeedEnded, RangeNeeded
from ckptd.limits import MS
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import LaneId, NeedId, NodeId, TransferId
from ckptd.model.words import Criticality
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.checkers import Choice, InOrder, UrgentFirst
from ckptd.sim.check.reading import NeededFirst, note_need
from ckptd.sim.cluster import Cluster
from ckptd.sim.script.faults import Mute
from tests.support.simulation import R0, S0, S1, laid_out, run_until, two_sources

VERSION = laid_out(critical=64, normal=64)
UNIT = VERSION.space.unit_of(100)
FIRST, END = VERSION.space.unit_run(UNIT)
GRAIN_BYTES = VERSION.space.manifest.units[UNIT].block_size_bytes


@pytest.fixture
def cluster() -> Cluster:
    """Half a second on its way; ``s1`` is silent, so that some critical blocks are not here."""
    return run_until(Cluster(two_sources(VERSION, Mute(node=S1, at_ns=200 * MS))), 400)


def order(source: NodeId, start: int, count: int = 1) -> FetchRange:
    blocks, digest = BlockRun(start, start + count), VERSION.digest
    critical = Criticality.CRITICAL
    return FetchRange(TransferId(999), R0, digest, source, LaneId(99), blocks, critical)


def needed(start: int, end: int, name: int = 1) -> RangeNeeded:
    """Need some blocks of the unit, by their numbers there."""
    return RangeNeeded(R0, NeedId(name), "", UNIT, start * GRAIN_BYTES, end * GRAIN_BYTES)


def test_what_is_waited_for_is_written_down(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    note_need(book, needed(3, 5))
    note_need(book, needed(7, 9999, name=2))
    assert recovery.needs[NeedId(1)] == BlockSet(((FIRST + 3, FIRST + 5),))
    assert min(recovery.needs[NeedId(2)]) == FIRST + 7
    assert recovery.needs[NeedId(2)].last_block < END
    note_need(book, RangeNeeded(R0, NeedId(1), "", UNIT, 0, 0))
    assert recovery.needs[NeedId(1)] == BlockSet()
    note_need(book, NeedEnded(R0, NeedId(1)))
    assert list(recovery.needs) == [2]


def test_any_other_block_before_one_that_is_waited_for_is_seen(book: NodeBook) -> None:
    recovery = book.recoveries[R0]
    wanted = END - 1
    recovery.reported = recovery.reported.without_run((0, 2)).without_run((wanted, wanted + 1))
    recovery.needs[NeedId(1)] = recovery.needed = BlockSet.single(wanted)
    with pytest.raises(CheckFailed, match="is waited for"):
        NeededFirst().at_order(book, order(S0, 0))
    with pytest.raises(CheckFailed, match="comes before"):
        InOrder().at_order(book, order(S0, 0, 2))
    allowed: Effect = order(S0, wanted)
    for each in (NeededFirst(), UrgentFirst(), InOrder(), Choice()):
        each.at_order(book, allowed)
    book.said[S0] = {}
    NeededFirst().at_order(book, order(S0, 0))  # it does not have it


def test_what_is_asked_for_by_nobody_though_a_source_is_there_is_seen(
    cluster: Cluster, book: NodeBook
) -> None:
    node = cluster.nodes[book.name]
    event = needed(END - FIRST - 1, END - FIRST)
    NeededFirst().after_orders(book, event)
    book.recoveries[R0].needed = book.recoveries[R0].unclaimed() & BlockSet.single(END - 1)
    assert node.scheduler.inspect().recoveries[R0].work.bundles, "its sources are at work"
    with pytest.raises(CheckFailed, match="is waited for behind what s0 does"):
        NeededFirst().after_orders(book, event)
