"""Whole fleets that decide each by itself: what holds in the end, and at every moment before.

More seeds, and larger fleets: ``make sim PROFILE=copies``.
"""

from __future__ import annotations

from random import Random

import pytest

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.fleet import FleetVersion
from ckptd.copies.ordering import ranked
from ckptd.limits import GIB
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import Criticality, GivenBackBecause
from tests.support.fleets import GRACE_NS, LLAMA, ROUND_NS, Fleet, Member

GRACE_ROUNDS = GRACE_NS // ROUND_NS
SHARDS = tuple(CheckpointName(f"job/shard-{index}-of-3") for index in range(3))


def drawn_fleet(rng: Random, *, lateness_max: int = 0) -> Fleet:
    zones_count = rng.randint(1, 5)
    nodes_count = rng.randint(max(4, zones_count), 12)
    zones = {
        f"n{number}": (f"z{number % zones_count}", f"k{number % (2 * zones_count)}")
        for number in range(nodes_count)
    }
    counts = rng.choice([(3, 2, 1), (2, 2, 2), (3, 3, 3), (4, 2, 1), (1, 1, 1)])
    return Fleet(
        zones if rng.random() < 0.8 else dict.fromkeys(zones, ()),
        CopyRule(CopyCounts(*counts), rng.randint(1, 2)),
        rng=rng,
        lateness_max=lateness_max,
        rounds_each=rng.randint(1, 4),
        proof_rounds=rng.randint(0, 3),
        pair=rng.choice([None, None, "+n/2"]),
        asks=lateness_max > 0,
    )


def assert_as_asked(fleet: Fleet, versions: list[FleetVersion], *, exactly: bool) -> None:
    asked = tuple(fleet.rule.counts.of(each) for each in Criticality)
    zones_count = len({member.zone[:1] for member in fleet.nodes.values()})
    for version in versions:
        found = fleet.counts(version)
        assert found == asked if exactly else all(map(int.__ge__, found, asked)), (found, asked)
        for each, count in zip(Criticality, asked, strict=True):
            assert fleet.zones(version, each) >= min(count, zones_count)


def assert_quiet(fleet: Fleet) -> None:
    """Check that nothing moves any more."""
    begun, given = len(fleet.begun), len(fleet.given)
    fleet.run(3 * GRACE_ROUNDS)
    assert (len(fleet.begun) - begun, len(fleet.given) - given) == (0, 0)


@pytest.mark.parametrize("lateness_max", [0, 2])
def test_copies_become_as_asked_and_then_nothing_moves(lateness_max: int) -> None:
    for seed in range(4):
        rng = Random(seed)
        fleet = drawn_fleet(rng, lateness_max=lateness_max)
        versions: list[FleetVersion] = []
        for number in range(3):
            versions = [
                fleet.publish(rng.choice(list(fleet.nodes)), number, name) for name in SHARDS
            ]
            fleet.run(rng.randint(1, 20))
        fleet.run(6 * GRACE_ROUNDS)
        assert_as_asked(fleet, versions, exactly=not lateness_max)
        assert_quiet(fleet)


@pytest.mark.parametrize("lateness_max", [0, 2])
def test_nodes_and_zones_that_go_and_return_cost_no_copies(lateness_max: int) -> None:
    for seed in range(2):
        rng = Random(seed)
        fleet = Fleet(
            {f"n{number}": (f"z{number % 4}",) for number in range(rng.randint(8, 12))},
            CopyRule(CopyCounts(3, 2, 2), 1),
            rng=rng,
            lateness_max=lateness_max,
            asks=lateness_max > 0,
        )
        versions = [fleet.publish(f"n{rng.randrange(8)}", 1, name) for name in SHARDS]
        fleet.run(2 * GRACE_ROUNDS)
        for _ in range(3):
            kind = rng.choice(["node", "zone", "wiped", "joins"])
            if kind == "joins":
                fleet.nodes[NodeId(f"j{fleet.rounds}")] = Member((f"z{rng.randrange(5)}",))
                fleet.run(rng.randint(10, 40))
                continue
            gone = [rng.choice(list(fleet.nodes))]
            if kind == "zone":
                zone = f"z{rng.randrange(4)}"
                gone = [node for node, it in fleet.nodes.items() if it.zone == (zone,)]
            fleet.lose(*gone, wiped=kind == "wiped")
            fleet.run(rng.randint(2, 40))
            fleet.bring_back(*gone)
            fleet.run(rng.randint(20, 60))
        fleet.run(8 * GRACE_ROUNDS)
        assert_as_asked(fleet, versions, exactly=not lateness_max)
        assert_quiet(fleet)


def test_one_lost_node_moves_what_it_held_and_nothing_else() -> None:
    fleet = Fleet({f"n{number}": () for number in range(12)}, CopyRule(CopyCounts(2, 2, 2), 1))
    names = [CheckpointName(f"job/shard-{index}-of-24") for index in range(24)]
    versions = [fleet.publish(f"n{index % 12}", 1, name) for index, name in enumerate(names)]
    fleet.run(60)
    assert {fleet.counts(version) for version in versions} == {(2, 2, 2)}
    held_bytes = sum(each.held_bytes for each in fleet.nodes[NodeId("n5")].stored.values())
    before = fleet.moved_bytes
    fleet.lose("n5", wiped=True)
    fleet.run(GRACE_ROUNDS - 1)
    assert fleet.moved_bytes == before, "it may come back"
    fleet.run(60)
    assert fleet.moved_bytes - before == held_bytes
    assert {fleet.counts(version) for version in versions} == {(2, 2, 2)}


def test_a_node_that_joins_moves_nothing_that_is_as_asked() -> None:
    fleet = Fleet({f"n{number}": (f"z{number % 3}",) for number in range(9)})
    versions = [fleet.publish(f"n{index}", 1, name) for index, name in enumerate(SHARDS)]
    fleet.run(30)
    before = fleet.moved_bytes
    fleet.nodes[NodeId("new")] = Member(("z1",))
    fleet.run(60)
    assert fleet.moved_bytes == before
    assert_as_asked(fleet, versions, exactly=True)


def test_one_that_returns_gives_back_what_is_too_much_one_copy_at_a_time() -> None:
    fleet = Fleet({f"n{number}": () for number in range(8)}, CopyRule(CopyCounts(2, 2, 2), 1))
    version = fleet.publish("n0", 1)
    fleet.run(20)
    (holder,) = set(fleet.holders(version, Criticality.CRITICAL)) - {NodeId("n0")}
    fleet.lose(holder)
    fleet.run(GRACE_ROUNDS + 10)
    assert fleet.counts(version) == (2, 2, 2)
    fleet.bring_back(holder)
    fleet.run(GRACE_ROUNDS - 2)
    assert fleet.counts(version) == (3, 3, 3), "it may go again"
    fleet.run(4 * GRACE_ROUNDS)
    assert fleet.counts(version) == (2, 2, 2)
    assert [given.why for _, given in fleet.given] == [GivenBackBecause.SURPLUS]


def test_a_zone_that_is_lost_is_replaced_and_filled_again_when_it_returns() -> None:
    zones = {f"n{number}": (f"z{number % 2}",) for number in range(8)}
    fleet = Fleet(zones, CopyRule(CopyCounts(2, 2, 2), 1))
    version = fleet.publish("n0", 1)
    fleet.run(20)
    assert fleet.zones(version, Criticality.CRITICAL) == 2
    gone = [node for node, zone in zones.items() if zone == ("z1",)]
    fleet.lose(*gone, wiped=True)
    fleet.run(GRACE_ROUNDS + 20)
    assert fleet.counts(version) == (2, 2, 2)
    assert fleet.zones(version, Criticality.CRITICAL) == 1
    fleet.bring_back(*gone)
    fleet.run(6 * GRACE_ROUNDS)
    assert fleet.counts(version) == (2, 2, 2)
    assert fleet.zones(version, Criticality.CRITICAL) == 2


def test_a_full_node_is_passed_over_and_the_others_make_what_is_asked() -> None:
    fleet = Fleet({f"n{number}": () for number in range(6)}, CopyRule(CopyCounts(3, 3, 3), 1))
    names = [CheckpointName(f"run-{index}") for index in range(12)]
    for node in ("n1", "n2"):
        fleet.nodes[NodeId(node)].quota_bytes = 4 * GIB
    versions = [fleet.publish("n0", 1, name) for name in names]
    fleet.run(6 * GRACE_ROUNDS)
    assert {fleet.counts(version) for version in versions} == {(3, 3, 3)}
    for node in ("n1", "n2"):
        held = fleet.nodes[NodeId(node)].stored.values()
        assert sum(each.held_bytes for each in held) <= 4 * GIB
    assert_quiet(fleet)


def test_who_announces_and_does_nothing_is_passed_over() -> None:
    fleet = Fleet({f"n{number}": () for number in range(6)}, CopyRule(CopyCounts(3, 3, 3), 1))
    lame = [node for node in ranked(LLAMA, list(fleet.nodes)) if node != "n0"][:2]
    for node in lame:
        fleet.nodes[node].is_lame = True
    version = fleet.publish("n0", 1)
    fleet.run(GRACE_ROUNDS + 10)
    assert fleet.counts(version) == (3, 3, 3)
    assert not {NodeId(each) for each in lame} & set(fleet.holders(version, Criticality.CRITICAL))


def test_when_saving_outruns_copying_some_version_still_becomes_as_asked() -> None:
    fleet = Fleet(
        {f"n{number}": () for number in range(6)},
        CopyRule(CopyCounts(3, 3, 3), 2),
        rounds_each=9,
    )
    finished: set[int] = set()
    for number in range(20):
        fleet.publish("n0", number)
        fleet.run(3)
        gone = number - 3
        stored = fleet.nodes[NodeId("n0")].stored
        for digest in [each for each, it in stored.items() if it.version.version <= gone]:
            del stored[digest]  # the job rotates them away
        known = {it.version.version: it.version for it in fleet.nodes[NodeId("n0")].stored.values()}
        known |= {
            it.version.version: it.version
            for member in fleet.nodes.values()
            for it in member.stored.values()
        }
        finished |= {each for each, it in known.items() if fleet.counts(it) >= (3, 3, 3)}
    assert len(finished) >= 2, finished
    fleet.run(6 * GRACE_ROUNDS)
    assert fleet.counts(fleet.publish("n0", 19)) == (3, 3, 3)


def test_a_name_never_has_fewer_copies_than_before_while_its_versions_change() -> None:
    fleet = Fleet({f"n{number}": () for number in range(6)}, CopyRule(CopyCounts(3, 3, 3), 1))
    for member in fleet.nodes.values():
        member.quota_bytes = 6 * GIB
    versions = [fleet.publish("n0", 0)]
    fleet.run(20)
    for number in range(1, 6):
        versions.append(fleet.publish("n0", number))
        for _ in range(30):
            fleet.step()
            assert max(min(fleet.counts(version)) for version in versions[-2:]) >= 3
    copies = [it for member in fleet.nodes.values() for it in member.stored.values() if it.is_copy]
    assert {it.version.version for it in copies} == {5}
