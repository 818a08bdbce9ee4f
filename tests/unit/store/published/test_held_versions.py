from dataclasses import replace

import pytest

from ckptd.errors import NotFound
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.published.held_versions import HeldVersions, PlaceChange
from ckptd.store.published.places import HeldVersion, UnitStarts
from tests.unit.store.published.test_places import FACTS, PLACE, SPACE

STARTS = UnitStarts(SPACE)
COPY = replace(PLACE, number=2, directory="copy")


@pytest.fixture
def held() -> HeldVersions:
    held = HeldVersions()
    assert held.add(FACTS, PLACE, STARTS)
    return held


def only(held: HeldVersions) -> HeldVersion:
    (version,) = held.all()
    return version


def test_a_version_is_found_by_everything_that_is_known_of_it(held: HeldVersions) -> None:
    version = only(held)
    assert len(held) == 1
    assert held.get(FACTS.digest) is version
    assert held.named(FACTS.checkpoint, FACTS.version) == (version,)
    assert held.at("data", "v1") == held.places_of("data") == [(version, PLACE)]
    assert held.place(1) == held.known(1) == (version, PLACE)
    assert held.starts(FACTS.digest) is STARTS
    assert held.get(Digest("bb")) is None
    assert held.named(FACTS.checkpoint, Version(2)) == ()
    assert held.at("data", "v2") == held.places_of("elsewhere") == []
    assert held.place(2) is None
    with pytest.raises(NotFound):
        held.known(2)


def test_a_second_place_changes_nothing_for_peers(held: HeldVersions) -> None:
    assert not held.add(FACTS, COPY, STARTS)
    assert only(held).places == (PLACE, COPY)
    assert [held.count_without(numbers) for numbers in ({1}, {1, 2}, {1, 9})] == [1, 0, 1]
    assert not held.drop(1)
    assert only(held).places == (COPY,)
    assert held.at("data", "v1") == []
    assert held.drop(2)
    assert (len(held), held.all()) == (0, ())
    assert held.named(FACTS.checkpoint, FACTS.version) == ()


def test_versions_are_ordered_by_name_and_number_and_rivals_by_when_they_came(
    held: HeldVersions,
) -> None:
    rival = replace(FACTS, digest=Digest("00"))
    older = replace(FACTS, digest=Digest("cc"), version=Version(0))
    other = replace(FACTS, digest=Digest("dd"), checkpoint=CheckpointName("a"))
    for number, facts in enumerate((rival, older, other), 5):
        held.add(facts, replace(PLACE, number=number, directory=f"v{number}"), STARTS)
    assert [each.holding.digest for each in held.all()] == ["dd", "cc", "00", "aa"]
    found = held.named(FACTS.checkpoint, FACTS.version)
    assert [each.holding.digest for each in found] == ["00", "aa"]


def test_a_change_says_who_will_see_it(held: HeldVersions) -> None:
    held.add(FACTS, COPY, STARTS)
    assert held.change(1, lambda place: place) == PlaceChange()
    assert held.change(9, lambda place: place.with_changed([0], "written")) == PlaceChange()
    assert held.change(1, lambda place: replace(place, checked_at_s=9.0)) == PlaceChange(
        is_any=True
    )
    hidden = held.change(1, lambda place: place.with_changed([0], "written"))
    assert hidden == PlaceChange(is_any=True, is_served_otherwise=True)
    seen = held.change(2, lambda place: place.with_suspect([0], "touched"))
    assert seen == PlaceChange(is_any=True, is_served_otherwise=True, is_seen=True)


def test_each_change_counts_and_nothing_else(held: HeldVersions) -> None:
    counts = [held.change_count]
    for step in (
        lambda: held.add(FACTS, COPY, STARTS),
        lambda: held.change(2, lambda place: place.with_suspect([0], "touched")),
        lambda: held.drop(2),
        lambda: held.drop(1),
    ):
        step()
        counts.append(held.change_count)
    assert counts == sorted(set(counts))
    held.add(FACTS, PLACE, STARTS)
    before = held.change_count
    held.change(1, lambda place: place)
    assert held.get(FACTS.digest)
    assert held.change_count == before


def test_what_stands_here_of_a_checkpoint_is_what_its_places_have_together(
    held: HeldVersions,
) -> None:
    held.add(FACTS, COPY, STARTS)
    held.change(1, lambda place: place.with_changed([0, 3], "written"))
    held.change(2, lambda place: place.with_changed([1, 3], "written"))
    (standing,) = held.standing(FACTS.checkpoint)
    assert (standing.digest, standing.blocks) == (FACTS.digest, BlockSet([(0, 3)]))
    assert held.standing(CheckpointName("another")) == ()
