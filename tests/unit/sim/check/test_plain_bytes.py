"""What is counted of a range is seen if it is not the length of what came."""

from __future__ import annotations

import pytest

from ckptd.core.effects import FetchRange
from ckptd.core.events import RangeEnded, RangeProgressed
from ckptd.limits import MIB
from ckptd.model.blocks import BlockRun
from ckptd.model.ids import LaneId, TransferId
from ckptd.model.words import Criticality, RangeOutcome
from ckptd.sim.check.accounts import NodeBook
from ckptd.sim.check.check import CheckFailed
from ckptd.sim.check.plain_bytes import PlainBytes
from ckptd.sim.cluster import Cluster
from tests.support.simulation import R0, S0, laid_out, run_until, two_sources

VERSION = laid_out(normal=400)


@pytest.fixture
def cluster() -> Cluster:
    return run_until(Cluster(two_sources(VERSION)), 500)


@pytest.mark.parametrize("received_bytes", [2 * MIB - 1, 4 * MIB + 1])
def test_counting_what_came_by_another_length_is_seen(book: NodeBook, received_bytes: int) -> None:
    check, transfer = PlainBytes(), TransferId(999)
    check.at_order(
        book,
        FetchRange(
            transfer, R0, VERSION.digest, S0, LaneId(9), BlockRun(10, 14), Criticality.NORMAL
        ),
    )
    check.after_event(book, RangeProgressed(transfer, 2 * MIB, 12))
    check.after_event(book, RangeProgressed(transfer, 4 * MIB, 14))
    with pytest.raises(CheckFailed, match="bytes are counted"):
        check.after_event(book, RangeProgressed(transfer, received_bytes, 12))
    check.after_event(book, RangeEnded(transfer, RangeOutcome.DELIVERED))
