from dataclasses import replace

import pytest
from msgspec import structs

from ckptd.chains.chain_links import ChainLink
from ckptd.model.blocks import BlockSet
from ckptd.model.holdings import Holding
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.minimal_set import minimal_set_of
from ckptd.model.space import AddressSpace
from ckptd.model.words import PlaceState
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.published.places import (
    HeldVersion,
    Place,
    UnitStarts,
    count_by_state,
    first_reason,
    held_version,
)
from tests.support.manifests import make_manifest

SPACE = AddressSpace(make_manifest({"a": b"1" * 300_000, "b": b"2", "c": b"", "d": b"3"}))
"""Units of two blocks, one, none and one, in that order."""
FILE = UnitFile(Fingerprint(1, 2, 3, 4, 5))
PLACE = Place(
    number=1,
    root="data",
    directory="v1",
    is_published=True,
    is_withdrawn=False,
    added_at_s=1.0,
    checked_at_s=2.0,
    scrubbed_units=0,
    unit_count=4,
    blocks=BlockSet.full(4),
)
A, B, C, D = range(4)
FACTS = Holding(CheckpointName("llama"), Version(1), Digest("aa"), 300_002, 4, BlockSet())


def test_what_is_kept_of_an_address_space_knows_the_blocks_of_each_unit() -> None:
    starts = UnitStarts(SPACE)
    assert starts.unit_count == 4
    for unit in range(4):
        assert starts.unit_run(unit) == SPACE.unit_run(unit)


@pytest.mark.parametrize(
    ("place", "state", "blocks"),
    [
        (PLACE, PlaceState.HERE, [(0, 4)]),
        (PLACE.with_suspect([B], "touched"), PlaceState.SUSPECT, [(0, 2), (3, 4)]),
        (PLACE.with_suspect([C], "touched"), PlaceState.SUSPECT, [(0, 4)]),
        (PLACE.with_changed([A, D], "written"), PlaceState.STALE, [(2, 3)]),
        (PLACE.with_suspect([A], "t").with_changed([B], "w"), PlaceState.STALE, [(3, 4)]),
        (replace(PLACE, is_withdrawn=True), PlaceState.WITHDRAWN, []),
        (
            replace(PLACE, absent=frozenset({C}), lacking=frozenset({C})),
            PlaceState.PARTIAL,
            [(0, 4)],
        ),
        (
            replace(PLACE, absent=frozenset({C}), lacking=frozenset({C}), is_by_choice=True),
            PlaceState.CHOSEN,
            [(0, 4)],
        ),
        (replace(PLACE, absent=frozenset({C})), PlaceState.HERE, [(0, 4)]),
        (replace(PLACE, absent=frozenset({C}), is_by_choice=True), PlaceState.HERE, [(0, 4)]),
        (replace(PLACE, reason="its row is damaged"), PlaceState.STALE, [(0, 4)]),
    ],
)
def test_a_place_has_a_state_and_serves_what_is_right(
    place: Place, state: PlaceState, blocks: list[tuple[int, int]]
) -> None:
    assert place.state is state
    assert place.servable(SPACE) == place.servable(UnitStarts(SPACE)) == BlockSet(blocks)


def test_units_that_are_not_there_cannot_become_suspect_or_changed() -> None:
    place = replace(PLACE, absent=frozenset({B}))
    assert place.with_suspect([B, 4, -1], "touched") is place
    assert place.with_changed([B, 4, -1], "written") is place


def test_the_first_reason_stays_until_something_is_known_to_have_changed() -> None:
    place = PLACE.with_suspect([A], "first").with_suspect([B], "second")
    assert place.reason == "first"
    place = place.with_changed([B], "written").with_changed([A], "too late")
    assert place.reason == "written"
    assert not place.suspect
    assert place.changed == {A, B}


def test_a_changed_unit_is_suspect_again_only_if_something_happened_to_it() -> None:
    place = PLACE.with_changed([A], "written")
    assert place.with_suspect([A], "looks different") is place
    again = place.with_suspect([A], "written again", is_again=True)
    assert again.suspect == {A}
    assert not again.changed


def test_units_that_are_right_are_served_again() -> None:
    place = PLACE.with_suspect([A], "touched").with_changed([B], "written")
    place = place.with_right([A], SPACE, None)
    assert not place.suspect
    assert place.changed == {B}
    assert place.reason == "written"
    place = place.with_right([B], SPACE, 9.0)
    assert place == replace(PLACE, checked_at_s=9.0)


def test_units_that_were_left_out_and_are_right_now_are_there() -> None:
    left_out = frozenset({A, C})
    partial = replace(PLACE, absent=left_out, lacking=left_out, blocks=BlockSet([(2, 4)]))
    only_c = frozenset({C})
    assert partial.with_right([A], SPACE, None) == replace(PLACE, absent=only_c, lacking=only_c)
    assert partial.with_right([A, C], SPACE, None) == PLACE


def test_a_place_serves_while_any_unit_is_right() -> None:
    assert PLACE.with_changed([A, B, C], "written").is_serving
    assert not PLACE.with_changed([A, B, C, D], "written").is_serving
    assert not replace(PLACE, is_withdrawn=True).is_serving


def test_a_version_has_what_any_of_its_places_has() -> None:
    first, second = PLACE.with_changed([A], "written"), PLACE.with_suspect([B], "touched")
    held = held_version(FACTS, (first, second), SPACE)
    assert held.holding == replace(FACTS, blocks=BlockSet.full(4))
    assert (held.is_offered, held.is_stale, held.reason) == (True, False, "written")


def test_the_best_place_is_named() -> None:
    stale, other = PLACE.with_changed([A], "written"), replace(PLACE, number=2, directory="v2")
    assert held_version(FACTS, (stale, other), SPACE).main == other
    assert held_version(FACTS, (stale, stale.with_changed([B], "")), SPACE).main == stale
    assert held_version(FACTS, (stale, other), SPACE).at("data", "v2") == other
    assert held_version(FACTS, (stale, other), SPACE).at("data", "v3") is None


def test_a_version_of_which_nothing_can_be_served_is_stale_unless_it_is_withdrawn() -> None:
    gone = PLACE.with_changed(range(4), "was removed")
    assert _offer(held_version(FACTS, (gone,), SPACE)) == (False, True)
    withdrawn = replace(PLACE, is_withdrawn=True)
    assert _offer(held_version(FACTS, (withdrawn,), SPACE)) == (False, False)


def test_a_version_of_empty_files_is_offered_while_they_are_there() -> None:
    space = AddressSpace(make_manifest({"a": b""}))
    facts = replace(FACTS, size_bytes=0, block_count=0)
    place = replace(PLACE, unit_count=1, blocks=BlockSet())
    assert _offer(held_version(facts, (place,), space)) == (True, False)
    gone = place.with_changed([0], "was removed")
    assert _offer(held_version(facts, (gone,), space)) == (False, True)


def _offer(held: HeldVersion) -> tuple[bool, bool]:
    return held.is_offered, held.is_stale


def test_the_reason_of_the_first_unit_is_named() -> None:
    assert first_reason({5: "five", 2: "two"}) == "two"
    assert first_reason({}) == ""


def test_places_are_counted_by_state_also_by_those_that_none_is_in() -> None:
    versions = [
        HeldVersion(FACTS, (PLACE, replace(PLACE, number=2, is_withdrawn=True))),
        HeldVersion(FACTS, (PLACE.with_changed([A], "written"),)),
    ]
    assert count_by_state(versions) == {
        "here": 1, "chosen": 0, "partial": 0, "suspect": 0, "unseen": 0, "stale": 1, "withdrawn": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("place", "is_whole", "blocks"),
    [
        (PLACE, True, [(0, 4)]),
        (PLACE.with_suspect([A, B], "touched"), True, [(0, 4)]),
        (PLACE.with_suspect([A], "touched").with_changed([B], "written"), False, [(0, 2), (3, 4)]),
        (replace(PLACE, is_withdrawn=True), True, [(0, 4)]),
        (
            replace(PLACE, absent=frozenset({B}), blocks=BlockSet([(0, 2), (3, 4)])),
            False,
            [(0, 2), (3, 4)],
        ),
        (replace(PLACE, reason="its row is damaged"), False, [(0, 4)]),
    ],
)
def test_what_stands_at_a_place_is_all_that_is_not_known_to_be_wrong(
    place: Place, *, is_whole: bool, blocks: list[tuple[int, int]]
) -> None:
    assert place.is_whole is is_whole
    assert place.standing(SPACE) == BlockSet(blocks)


def test_what_has_to_be_there_first_is_kept_of_each_version() -> None:
    assert UnitStarts(SPACE).minimal_set == minimal_set_of(SPACE)


def test_what_a_version_is_a_delta_on_is_kept_of_each() -> None:
    assert UnitStarts(SPACE).link is None
    said = structs.replace(SPACE.manifest, version=8, annotations={"chain.base": "7"})
    assert UnitStarts(AddressSpace(said)).link == ChainLink(Version(7))
