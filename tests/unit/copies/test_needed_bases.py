"""What versions that count are deltas on does not go because it is too old."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import BaseVersion, FleetNode, FleetVersion
from ckptd.copies.holders import Holders
from ckptd.copies.needed_bases import NeededBases
from ckptd.model.ids import NodeId, Version
from ckptd.model.words import GivenBackBecause
from tests.support.fleets import GRACE_NS, claim, fleet_version, fleet_view

RULE = CopyRule(CopyCounts(4, 4, 4))
START = 1000 * GRACE_NS


def version(
    number: int, base: int | None = None, on: int | None = None, *, rival: int = 0
) -> FleetVersion:
    made = fleet_version(version=number, rival=rival)
    if base is None:
        return made
    digest = None if on is None else fleet_version(version=base, rival=on).digest
    return replace(made, base=BaseVersion(Version(base), digest))


def needed(kept: list[FleetVersion], older: list[FleetVersion]) -> list[int]:
    def holders(versions: list[FleetVersion]) -> list[Holders]:
        return [Holders(each, {}) for each in versions]

    found = NeededBases(holders(kept), holders(older))
    return [each.version for each in older if each in found]


def test_a_chain_is_needed_down_to_its_full_version() -> None:
    older = [version(1), version(2, 1), version(3), version(4, 3, 0), version(5, 4, 0)]
    assert needed([version(6, 5, 0), version(7, 6, 0)], older) == [3, 4, 5]
    assert needed([version(6), version(7)], older) == []


def test_where_a_version_is_not_seen_anything_earlier_may_be_needed() -> None:
    older = [version(1), version(2), version(4)]
    assert needed([version(7, 6), version(6, 3)], older) == [1, 2]
    assert needed([version(7, 5)], older) == [1, 2, 4]


@pytest.mark.parametrize(("on", "rivals"), [(0, [0]), (1, [1]), (None, [0, 1])])
def test_of_rivals_those_are_needed_that_are_meant(on: int | None, rivals: list[int]) -> None:
    older = [version(1, rival=0), version(1, rival=1)]
    kept = [version(2, 1, on)]
    found = NeededBases(
        [Holders(each, {}) for each in kept],
        [Holders(each, {}) for each in older],
    )
    assert [rival for rival, each in enumerate(older) if each in found] == rivals


def test_nobody_gives_a_base_back_because_it_is_old() -> None:
    names = [NodeId(name) for name in "abcd"]
    nodes = [FleetNode(node) for node in names]
    everybody = [claim(node) for node in names]
    base = fleet_version(*everybody, version=1)
    for on, given in ((None, {(1, GivenBackBecause.OLD)}), (base.digest, set())):
        newer = [fleet_version(*everybody, version=number) for number in (2, 3)]
        if on is not None:
            newer = [replace(each, base=BaseVersion(Version(1), on)) for each in newer]
        view = fleet_view(names[0], nodes, base, *newer, copies=[base], rule=RULE)
        decider = Decider()
        decider.decide(view, now=START)
        found = decider.decide(view, now=START + 100 * GRACE_NS).give_back
        assert {(each.version, each.why) for each in found} == given
