from __future__ import annotations

from dataclasses import replace

import pytest

from ckptd.copies.counts import CopyCounts, CopyRule
from ckptd.copies.deciding import Decider
from ckptd.copies.fleet import FleetNode, FleetVersion, FleetView, Room
from ckptd.copies.giving_back import INTERVAL_NS
from ckptd.copies.ordering import ranked
from ckptd.limits import GIB
from ckptd.model.ids import CheckpointName, NodeId
from ckptd.model.words import Criticality, GivenBackBecause, ShortBecause
from tests.support.fleets import GRACE_NS, LLAMA, claim, fleet_version, fleet_view

START = 1000 * GRACE_NS
NODES = tuple(NodeId(each) for each in "abcd")
FIRST, SECOND, THIRD, BACK = ranked(LLAMA, NODES)
TWO = CopyRule(CopyCounts(2, 2, 2))


def view(own: NodeId, *versions: FleetVersion, room: Room | None = None) -> FleetView:
    nodes = [FleetNode(node) for node in NODES]
    return fleet_view(own, nodes, *versions, rule=TWO, room=room)


def test_each_node_finds_what_is_its_own_and_together_they_make_what_is_asked() -> None:
    version = fleet_version(claim("a"))
    nodes = [FleetNode(node) for node in NODES]
    decided = {
        node: Decider().decide(fleet_view(node, nodes, version), now=START).pulls for node in NODES
    }
    assert sorted(pull.least for pulls in decided.values() for pull in pulls) == [
        Criticality.CRITICAL,
        Criticality.NORMAL,
    ]
    assert all(len(pulls) <= 1 for pulls in decided.values())
    assert not decided[NODES[0]]


def test_before_everybody_was_asked_nothing_is_decided() -> None:
    some = view(FIRST, fleet_version(claim(BACK)))
    assert Decider().decide(some, now=START).pulls
    decided = Decider().decide(replace(some, all_asked=False), now=START)
    assert decided == Decider().decide(view(FIRST), now=START)


def test_a_name_that_is_not_listed_is_left_alone() -> None:
    some = view(FIRST, fleet_version(claim(BACK)))
    decided = Decider().decide(replace(some, rule_of=lambda _: None), now=START)
    assert (decided.pulls, decided.short) == ((), ())


def test_what_is_fetched_stays_decided_until_it_is_claimed() -> None:
    decider = Decider()
    for held in (0, 1, GIB):
        version = fleet_version(claim(BACK), claim(FIRST, None, held_bytes=held))
        (pull,) = decider.decide(view(FIRST, version), now=START + held).pulls
        assert pull.digest == version.digest
    done = fleet_version(claim(BACK), claim(FIRST))
    assert not decider.decide(view(FIRST, done), now=START + 2 * GIB).pulls


@pytest.mark.parametrize(
    ("room", "fits"),
    [
        (Room(quota_bytes=3 * GIB), True),
        (Room(quota_bytes=3 * GIB, used_bytes=1), False),
        (Room(100 * GIB, 0, disk_bytes=100 * GIB, free_bytes=13 * GIB), True),
        (Room(100 * GIB, 0, disk_bytes=100 * GIB, free_bytes=13 * GIB - 1), False),
    ],
)
def test_nothing_is_fetched_beyond_the_quota_or_into_the_last_tenth_of_the_disk(
    room: Room, fits: bool
) -> None:
    decided = Decider().decide(view(FIRST, fleet_version(claim(BACK)), room=room), now=START)
    assert bool(decided.pulls) is fits
    assert decided.is_full is not fits


def test_what_is_here_of_it_needs_no_room_again() -> None:
    version = fleet_version(claim(BACK), claim(FIRST, None, held_bytes=GIB))
    room = Room(3 * GIB, used_bytes=GIB)
    assert Decider().decide(view(FIRST, version, room=room), now=START).pulls


def test_all_that_is_fetched_fits_together() -> None:
    names = [CheckpointName(f"run-{number}") for number in range(40)]
    versions = [fleet_version(claim(BACK), name=name) for name in names]
    room = Room(quota_bytes=10 * GIB)
    decided = Decider().decide(view(FIRST, *versions, room=room), now=START)
    assert len(decided.pulls) == 3
    assert decided.is_full


def test_a_full_node_says_so_names_itself_and_takes_nothing_new_for_a_while() -> None:
    decider = Decider()
    version = fleet_version(claim(BACK))
    decided = decider.decide(view(FIRST, version, room=Room(3 * GIB, 1)), now=START)
    coming = [each for each in decided.short if each.why is ShortBecause.COMING]
    assert {each.nodes for each in coming} == {(SECOND,)}, "the next one is to take it"
    free = view(FIRST, version)
    assert decider.decide(free, now=START + GRACE_NS - 1).is_full
    assert not decider.decide(free, now=START + GRACE_NS - 1).pulls
    newer = view(FIRST, fleet_version(claim(BACK), version=8))
    later = decider.decide(newer, now=START + GRACE_NS)
    assert (later.is_full, len(later.pulls)) == (False, 1)


def test_what_can_never_fit_does_not_make_a_node_full() -> None:
    decided = Decider().decide(
        view(FIRST, fleet_version(claim(BACK)), room=Room(2 * GIB)), now=START
    )
    assert (decided.pulls, decided.is_full) == ((), False)


def test_when_all_are_full_it_is_said_who() -> None:
    nodes = [FleetNode(node, is_full=node != FIRST) for node in NODES]
    version = fleet_version(claim(BACK))
    full = fleet_view(FIRST, nodes, version, rule=TWO, room=Room(3 * GIB, 1))
    decided = Decider().decide(full, now=START)
    assert {(each.why, each.nodes) for each in decided.short} == {
        (ShortBecause.FULL, tuple(sorted({FIRST, SECOND, THIRD})))
    }


def test_the_name_that_is_worst_off_goes_first_and_what_was_begun_goes_on() -> None:
    safe, bad = CheckpointName("safe"), CheckpointName("bad")
    three = CopyRule(CopyCounts(4, 4, 4))
    versions = (
        fleet_version(claim(BACK), claim(SECOND), name=safe),
        fleet_version(claim(BACK), name=bad, version=1),
        fleet_version(claim(BACK), claim(FIRST, None, held_bytes=5), name=bad, version=2),
        fleet_version(claim(BACK), name=bad, version=3),
    )
    nodes = [FleetNode(node) for node in NODES]
    some = fleet_view(FIRST, nodes, *versions, rule=three)
    pulls = Decider().decide(some, now=START).pulls
    assert [(pull.checkpoint, pull.version) for pull in pulls] == [(bad, 2), (bad, 3), (safe, 7)]


def test_an_older_version_goes_when_the_kept_ones_are_whole_and_one_has_as_many_copies() -> None:
    old = fleet_version(claim(FIRST), claim(SECOND), version=1)
    kept = fleet_version(claim(SECOND), claim(BACK), version=2)
    new = fleet_version(claim(BACK), version=3)

    def given(*versions: FleetVersion) -> set[tuple[int, GivenBackBecause]]:
        nodes = [FleetNode(node) for node in NODES]
        some = fleet_view(FIRST, nodes, *versions, rule=TWO, copies=[old])
        decider = Decider()
        assert not decider.decide(some, now=START).give_back
        assert not decider.decide(some, now=START + INTERVAL_NS - 1).give_back
        found = decider.decide(some, now=START + INTERVAL_NS).give_back
        return {(each.version, each.why) for each in found}

    assert given(old, kept, new) == {(1, GivenBackBecause.OLD)}
    assert given(old, kept) == set(), "it is one of the two that are kept"
    alone = fleet_version(claim(SECOND), version=2)
    assert given(old, alone, new) == set(), "no newer one has as many copies"
    claimed = fleet_version(claim(BACK, is_proven=False), version=3)
    assert given(old, kept, claimed) == set(), "what is only claimed pushes nothing out"


def test_what_a_job_has_is_never_given_back() -> None:
    old = fleet_version(claim(FIRST), claim(SECOND), version=1)
    newer = [fleet_version(*map(claim, NODES), version=number) for number in (2, 3)]
    nodes = [FleetNode(node) for node in NODES]
    some = fleet_view(FIRST, nodes, old, *newer, rule=TWO, copies=[old, *newer])
    jobs = replace(some, own_copies=[replace(each, is_copy=False) for each in some.own_copies])
    copies, own = Decider(), Decider()
    given = [copies.decide(some, now=now).give_back for now in (START, START + 100 * GRACE_NS)]
    assert [len(each) for each in given] == [0, 3]
    for now in (START, START + 100 * GRACE_NS):
        assert not own.decide(jobs, now=now).give_back
