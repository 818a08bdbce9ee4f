"""Trust and quarantine, in numbers."""

from __future__ import annotations

import pytest

from ckptd.core.options import Options
from ckptd.core.state.standing import Standing
from ckptd.limits import SECOND
from tests.support.scheduling import adjusted

OPTIONS = Options()


def test_trust_grows_with_good_ranges_up_to_eight() -> None:
    standing = Standing()
    for _ in range(20):
        standing.vouch(OPTIONS)
    assert standing.trust == 8


def test_four_bad_blocks_from_a_stranger_are_enough_for_quarantine() -> None:
    standing = Standing()
    standing.blame(6, OPTIONS, now=0)
    assert (standing.trust, standing.quarantined_until_ns) == (-6, 0)
    standing.blame(2, OPTIONS, now=0)
    assert (standing.trust, standing.quarantined_until_ns) == (0, 60 * SECOND)


def test_quarantine_doubles_each_time() -> None:
    standing = Standing()
    for minutes in (1, 2, 4, 8):
        now = standing.quarantined_until_ns
        standing.blame(8, OPTIONS, now=now)
        assert standing.quarantined_until_ns == now + minutes * 60 * SECOND


@pytest.mark.parametrize(("before", "doublings"), [(0, 0), (9, 9), (10, 10), (11, 10)])
def test_quarantine_is_doubled_ten_times_at_most(before: int, doublings: int) -> None:
    standing = Standing(quarantines=before)
    standing.blame(7, adjusted(OPTIONS, trust={"quarantine_ns": 1}), now=5)
    assert standing.quarantined_until_ns == 5 + (1 << doublings)
    assert standing.quarantines == before + 1


def test_what_was_under_way_when_a_quarantine_began_does_not_lengthen_it() -> None:
    standing = Standing()
    standing.blame(8, OPTIONS, now=0)
    for now in (1, 30 * SECOND, 60 * SECOND - 1):
        standing.blame(15, OPTIONS, now=now)
        found = (standing.trust, standing.quarantines, standing.began_quarantine_ns)
        assert found == (0, 1, 0)
        assert standing.quarantined_until_ns == 60 * SECOND
    standing.blame(15, OPTIONS, now=60 * SECOND)
    assert (standing.quarantines, standing.quarantined_until_ns) == (2, 180 * SECOND)


@pytest.mark.parametrize(("trust_lost", "quarantines"), [(6, 0), (7, 1), (8, 1)])
def test_quarantine_begins_at_seven_below_zero(trust_lost: int, quarantines: int) -> None:
    standing = Standing()
    standing.blame(trust_lost, OPTIONS, now=5)
    assert standing.quarantines == quarantines
    assert standing.began_quarantine_ns == (5 if quarantines else -1)
