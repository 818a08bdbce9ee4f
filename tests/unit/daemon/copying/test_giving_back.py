"""Copies go only once enough others say that they have them, while this one is off offer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ckptd.config.sections import RetentionSection
from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.decided import GiveBack
from ckptd.copies.fleet import Claim, FleetNode, FleetVersion, FleetView, Room
from ckptd.copies.zones import Zone, parse_zone
from ckptd.daemon.copying.giving_back import GivingBack
from ckptd.daemon.copying.layouts import ClassLayout, VersionLayouts
from ckptd.daemon.copying.seen import CopyingSeen
from ckptd.daemon.copying.viewing import Viewing
from ckptd.limits import SECOND
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import Digest, NodeId, Version
from ckptd.model.words import Criticality, GivenBackBecause
from tests.support.retaining import NAME, RetainingNode, RetainingNodes

OFF = RetentionSection()
LAYOUT = ClassLayout(
    {Criticality.CRITICAL: BlockSet.full(1)}, {Criticality.CRITICAL: 1}, is_trusted=False
)


@pytest.fixture
async def nodes(tmp_path: Path) -> AsyncIterator[RetainingNodes]:
    async with RetainingNodes(tmp_path) as opened:
        yield opened


class Giving:
    """A node that gives back, and what it knows of others."""

    def __init__(self, node: RetainingNode, zones: Mapping[str, str], *, copies: int = 2) -> None:
        self.node = node
        self.zones = {NodeId(name): parse_zone(zone) for name, zone in zones.items()}
        self.unproven: set[NodeId] = set()
        self.seen = CopyingSeen()
        self.now = 0
        self.rule = CopyRule(CopyCounts(copies, copies, copies), keep=1)
        viewing = SimpleNamespace(is_proven=self._is_proven, zone=self._zone)
        layouts = SimpleNamespace(get=lambda content: LAYOUT)
        self.giving = GivingBack(
            node.catalog,
            cast("Viewing", viewing),
            cast("VersionLayouts", layouts),
            node.retaining,
            self.seen,
            lambda: self.now,
        )

    def _is_proven(self, node: NodeId, digest: Digest, now: int) -> bool:
        del digest, now
        return node not in self.unproven

    def _zone(self, node: NodeId) -> Zone:
        return self.zones.get(node, ())

    def view(self) -> FleetView:
        """What was known when it was decided: this node has everything it holds."""
        claims = (Claim(self.node.id, Criticality.DEFERRED, is_proven=True),)
        sizes = {Criticality.CRITICAL: 1}
        versions = {
            each.digest: FleetVersion(each.checkpoint, each.version, each.digest, sizes, claims)
            for known in (self.node.said.holdings, *self._said())
            for each in known
        }
        known_nodes = {node: FleetNode(node, zone) for node, zone in self.zones.items()}
        return FleetView(
            self.node.id, lambda _: self.rule, known_nodes, {}, tuple(versions.values()), Room(0)
        )

    def _said(self) -> list[tuple[Holding, ...]]:
        return [tuple(peer.holdings.values()) for peer in self.node.state.peers.values()]

    async def give_back(
        self, version: int, why: GivenBackBecause = GivenBackBecause.SURPLUS
    ) -> bool:
        (held,) = self.node.catalog.find(NAME, Version(version))
        going = GiveBack(NAME, Version(version), held.holding.digest, why)
        return await self.giving.follow([going], self.view())


async def fleet(
    nodes: RetainingNodes, *others: str, zones: Mapping[str, str] | None = None
) -> Giving:
    """Return a node with a copy of version 1, which others have, too."""
    node = await nodes.add("a", OFF)
    await node.save(1, as_copy=True)
    for name in others:
        other = await nodes.add(name, OFF)
        await other.save(1, as_copy=True)
    nodes.spread()
    return Giving(node, zones or {})


async def test_a_copy_goes_if_as_many_others_have_it_as_are_asked(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes, "b", "c")
    assert await giving.give_back(1)
    assert giving.node.versions == []
    assert giving.node.roots["copies"].names(NAME) == []
    assert giving.seen.given_back == {"surplus": 1}
    assert giving.seen.given_back_bytes > 0
    assert giving.seen.problems == {}
    assert await giving.node.retaining._records.removals() == frozenset()


@pytest.mark.parametrize("how", ["one", "mute", "gone meanwhile", "unproven", "quarantine"])
async def test_a_copy_stays_if_fewer_have_it_than_are_asked(
    nodes: RetainingNodes, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    giving = await fleet(nodes, *(["b"] if how == "one" else ["b", "c"]))
    other = list(nodes.by_id.values())[-1]
    match how:
        case "mute":
            other.is_mute = True
        case "gone meanwhile":
            said = other.said
            monkeypatch.setattr(other, "holdings", lambda: replace(said, holdings=()))
        case "unproven":
            giving.unproven.add(other.id)
        case "quarantine":
            for peer in giving.node.state.peers.values():
                peer.standing.quarantined_until_ns = 10
        case _:
            pass
    assert not await giving.give_back(1)
    assert giving.node.offered == [1]
    assert giving.seen.problems == {
        (NAME, 1): "too few others say that they have it, now that they are asked"
    }
    assert not giving.seen.given_back
    other.is_mute = False
    asked = len(giving.node.asked)
    assert not await giving.give_back(1)
    assert len(giving.node.asked) == asked, "it is not tried again at once"
    giving.now = 5 * SECOND
    await giving.give_back(1)
    assert len(giving.node.asked) > asked or how == "quarantine"


@pytest.mark.parametrize(
    ("zones", "goes"),
    [
        ({"a": "x", "b": "y", "c": "z"}, True),
        ({"a": "x", "b": "y", "c": "y"}, False),
        ({"a": "x", "b": "x", "c": "y"}, True),
        ({"a": "x", "b": "x", "c": "x"}, True),
        ({"a": "x/1", "b": "x/1", "c": "x/2"}, True),
        ({"a": "x/1", "b": "x/2", "c": "x/2"}, False),
        ({}, True),
    ],
)
async def test_a_copy_stays_if_without_it_they_are_in_fewer_zones(
    nodes: RetainingNodes, zones: Mapping[str, str], *, goes: bool
) -> None:
    giving = await fleet(nodes, "b", "c", zones=zones)
    assert await giving.give_back(1) is goes


async def test_of_two_that_give_back_at_once_one_keeps_its_copy(
    nodes: RetainingNodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await fleet(nodes, "b", "c")
    second = Giving(nodes.by_id[NodeId("b")], {})

    async def give_back_too(*_: object) -> None:
        monkeypatch.setattr(nodes, "when_asked", nobody)
        await second.give_back(1)

    async def nobody(*_: object) -> None:
        return

    monkeypatch.setattr(nodes, "when_asked", give_back_too)
    await first.give_back(1)
    holders = [name for name, node in nodes.by_id.items() if node.offered]
    assert len(holders) >= 2


async def test_an_old_version_goes_once_newer_ones_are_whole(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes)
    assert not await giving.give_back(1, GivenBackBecause.OLD), "it is the last one"
    newer = await nodes.add("b", OFF)
    await newer.save(2)
    nodes.spread()
    giving.now = 60 * SECOND
    newer.is_mute = True
    assert not await giving.give_back(1, GivenBackBecause.OLD)
    assert giving.node.offered == [1]
    newer.is_mute, giving.now = False, 120 * SECOND
    assert await giving.give_back(1, GivenBackBecause.OLD)
    assert giving.seen.given_back == {"old": 1}


async def test_what_a_job_placed_is_left_alone(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes, "b", "c")
    await giving.node.save(1)
    await giving.node.save(2)
    nodes.spread()
    assert not await giving.give_back(2)
    assert await giving.give_back(1)
    assert giving.node.on_disk == [1, 2]
    assert giving.node.offered == [1, 2]


async def test_a_copy_that_a_recovery_here_takes_blocks_from_stays(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes, "b", "c")
    digest = giving.node.catalog.versions()[0].holding.digest
    giving.node.recoveries.append(SimpleNamespace(digest=digest, recovery="r-1"))
    assert not await giving.give_back(1)
    assert giving.node.offered == [1]
    assert giving.seen.problems == {(NAME, 1): "a recovery on this node uses it"}


async def test_who_only_looked_whether_it_is_there_does_not_keep_it(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes, "b", "c")
    digest = giving.node.catalog.versions()[0].holding.digest
    giving.node.retention.leases.note_asked(digest)  # an audit looks like a recovery
    assert await giving.give_back(1)


async def test_what_a_peer_fetches_stays_until_that_stands_still(
    tmp_path: Path,
) -> None:
    clock = SimpleNamespace(now_s=0.0)
    async with RetainingNodes(tmp_path, lambda: clock.now_s) as nodes:
        giving = await fleet(nodes, "b", "c", "d")
        giving.node.retaining.survey._clock = lambda: clock.now_s
        part = nodes.by_id[NodeId("d")]
        said = part.said.holdings
        giving.node.hear(part, [replace(each, blocks=BlockSet()) for each in said])
        assert not await giving.give_back(1)
        assert giving.seen.problems == {
            (NAME, 1): "a peer recovers it, or asked for it a short while ago"
        }
        clock.now_s, giving.now = 61.0, 61 * SECOND
        assert await giving.give_back(1)


async def test_an_old_version_stays_while_a_delta_on_it_is_here(nodes: RetainingNodes) -> None:
    giving = await fleet(nodes, "b", "c")
    (base,) = giving.node.catalog.find(NAME, Version(1))
    for node in nodes.by_id.values():
        await node.save_delta(2, 1, base.holding.digest, as_copy=True)
    nodes.spread()
    assert not await giving.give_back(1, GivenBackBecause.OLD)
    assert giving.seen.problems == {(NAME, 1): "2 is a delta on it"}
    assert giving.node.offered == [1, 2]
    giving.now = 60 * SECOND
    assert await giving.give_back(1), "as many others have it as are asked"
