from __future__ import annotations

import pytest

from ckptd.copies.choosing import company_of
from ckptd.copies.counts import CopyCounts
from ckptd.copies.fleet import FleetNode, FleetVersion
from ckptd.copies.giving_back import INTERVAL_NS, is_surplus
from ckptd.copies.holders import find_holders
from ckptd.copies.memory import Memory
from ckptd.copies.ordering import ranked
from ckptd.model.ids import NodeId
from ckptd.model.words import Criticality
from tests.support.fleets import GRACE_NS, LAST, LLAMA, claim, fleet_version, fleet_view

CRITICAL, NORMAL = Criticality.CRITICAL, Criticality.NORMAL
START = 1000 * GRACE_NS
ORDER = ranked(LLAMA, [NodeId(each) for each in "abcd"])
FIRST, SECOND, THIRD, BACK = ORDER


class Holder:
    """A node with a copy, asked one time after the other whether it may go."""

    def __init__(self, own: NodeId = BACK, counts: CopyCounts | None = None) -> None:
        self.own = own
        self.counts = counts or CopyCounts(2, 2, 2)
        self.nodes = {node: FleetNode(node) for node in ORDER}
        self.memory = Memory()

    def may_go(self, *claims_: NodeId, now: int) -> bool:
        return self.may_go_of(fleet_version(*map(claim, claims_)), now)

    def may_go_of(self, version: FleetVersion, now: int) -> bool:
        self.memory.begin()
        view = fleet_view(self.own, self.nodes.values(), version)
        holders = find_holders(version, self.counts, view, self.memory, now)
        company = company_of(view.members[LLAMA], view)
        return is_surplus(holders, company, view, self.memory, now)


def test_a_copy_goes_when_it_was_too_much_for_the_grace_time() -> None:
    holder = Holder()
    assert not holder.may_go(FIRST, SECOND, BACK, now=START)
    assert not holder.may_go(FIRST, SECOND, BACK, now=START + GRACE_NS - 1)
    assert holder.may_go(FIRST, SECOND, BACK, now=START + GRACE_NS)


def test_the_one_before_waits_longer_and_begins_again_when_somebody_went() -> None:
    holder = Holder(SECOND)
    everybody = (FIRST, SECOND, THIRD, BACK)
    assert not holder.may_go(*everybody, now=START)
    assert not holder.may_go(*everybody, now=START + GRACE_NS + 2 * INTERVAL_NS - 1)
    assert holder.may_go(*everybody, now=START + GRACE_NS + 2 * INTERVAL_NS)
    fresh = Holder(SECOND)
    assert not fresh.may_go(*everybody, now=START)
    late = START + GRACE_NS + 2 * INTERVAL_NS
    assert not fresh.may_go(FIRST, SECOND, THIRD, now=late)


@pytest.mark.parametrize("others", [(), (FIRST,)])
def test_what_is_asked_stays(others: tuple[NodeId, ...]) -> None:
    holder = Holder()
    for now in (START, START + 100 * GRACE_NS):
        assert not holder.may_go(*others, BACK, now=now)


def test_only_proven_holders_that_answer_and_are_not_blamed_count() -> None:
    holder = Holder()
    holder.nodes[SECOND] = FleetNode(SECOND, is_live=False, lost_since_ns=START)
    holder.nodes[THIRD] = FleetNode(THIRD, is_blamed=True)
    for now in (START, START + 100 * GRACE_NS):
        assert not holder.may_go(FIRST, SECOND, THIRD, BACK, now=now)
    unproven = fleet_version(claim(FIRST), claim(THIRD, is_proven=False), claim(BACK))
    trusting = Holder()
    for now in (START, START + 100 * GRACE_NS):
        assert not trusting.may_go_of(unproven, now)


def test_no_zone_is_lost() -> None:
    holder = Holder()
    for node, zone in ((FIRST, "a"), (SECOND, "a"), (BACK, "b")):
        holder.nodes[node] = FleetNode(node, (zone,))
    for now in (START, START + 100 * GRACE_NS):
        assert not holder.may_go(FIRST, SECOND, BACK, now=now)
    other = Holder(SECOND)
    other.nodes = holder.nodes
    assert not other.may_go(FIRST, SECOND, BACK, now=START)
    assert other.may_go(FIRST, SECOND, BACK, now=START + GRACE_NS + INTERVAL_NS)


def test_the_last_one_that_has_everything_stays_though_nobody_asks_for_it() -> None:
    holder = Holder(counts=CopyCounts(2, 2, 0))
    version = fleet_version(claim(FIRST, NORMAL), claim(SECOND, NORMAL), claim(BACK, LAST))
    for now in (START, START + 100 * GRACE_NS):
        assert not holder.may_go_of(version, now)


def test_who_has_most_goes_first() -> None:
    counts = CopyCounts(3, 2, 2)
    version = fleet_version(
        claim(FIRST, LAST), claim(SECOND, LAST), claim(THIRD, LAST), claim(BACK, CRITICAL)
    )
    small, large = Holder(BACK, counts), Holder(THIRD, counts)
    assert not small.may_go_of(version, START)
    assert not large.may_go_of(version, START)
    assert not small.may_go_of(version, START + GRACE_NS)
    assert large.may_go_of(version, START + GRACE_NS)


def test_who_has_nothing_gives_nothing_back() -> None:
    holder = Holder()
    for now in (START, START + 100 * GRACE_NS):
        assert not holder.may_go(FIRST, SECOND, THIRD, now=now)
