"""The address space against a map made block by block and byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import msgspec
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.manifest import Manifest, Unit
from ckptd.model.space import AddressSpace, BlockPlace, Extent
from ckptd.model.words import Criticality
from tests.support.manifests import make_manifest, make_unit

B = 8
"""A block of eight bytes, so that a test can count them."""

BOUNDARY_SIZES = [0, 1, B - 1, B, B + 1, 2 * B - 1, 2 * B, 2 * B + 1, 5 * B + 3]

CRITICAL, NORMAL, DEFERRED = Criticality


def content(unit: int, size_bytes: int) -> bytes:
    return bytes((17 * unit + index) % 251 for index in range(size_bytes))


def space_of(*sizes: int, block_sizes: list[int] | None = None) -> AddressSpace:
    units = tuple(
        make_unit(
            f"u{index:03}",
            content(index, size),
            block_size_bytes=B if block_sizes is None else block_sizes[index],
        )
        for index, size in enumerate(sizes)
    )
    return AddressSpace(Manifest(format=1, checkpoint="c", version=1, units=units))


def places_by_hand(space: AddressSpace) -> list[BlockPlace]:
    """Cut every unit into blocks, one after the other."""
    found: list[BlockPlace] = []
    for index, unit in enumerate(space.manifest.units):
        step = unit.block_size_bytes
        for offset in range(0, unit.size_bytes, step):
            piece = content(index, unit.size_bytes)[offset : offset + step]
            found.append(BlockPlace(len(found), index, offset, len(piece), blake3(piece).digest()))
    return found


def bytes_by_hand(space: AddressSpace) -> list[tuple[int, int]]:
    """Return unit and offset of every byte."""
    return [
        (index, offset)
        for index, unit in enumerate(space.manifest.units)
        for offset in range(unit.size_bytes)
    ]


sizes = st.lists(st.one_of(st.sampled_from(BOUNDARY_SIZES), st.integers(0, 6 * B)), max_size=8)
mixed_spaces = sizes.flatmap(
    lambda drawn: st.lists(
        st.sampled_from([1, 2, B, 2 * B]), min_size=len(drawn), max_size=len(drawn)
    ).map(lambda block_sizes: space_of(*drawn, block_sizes=block_sizes))
)

filled_spaces = mixed_spaces.filter(lambda space: space.block_count > 0)


@pytest.mark.parametrize("size", BOUNDARY_SIZES)
def test_a_unit_is_cut_into_blocks_of_which_the_last_may_be_short(size: int) -> None:
    space = space_of(size)
    assert space.size_bytes == size
    assert space.block_count == -(-size // B)
    assert list(space.places((0, space.block_count))) == places_by_hand(space)


@given(mixed_spaces)
def test_every_block_lies_where_it_lies(space: AddressSpace) -> None:
    expected = places_by_hand(space)
    everything = (0, space.block_count)
    assert space.block_count == len(expected)
    assert space.size_bytes == sum(place.size_bytes for place in expected)
    assert list(space.places(everything)) == expected
    position = 0
    for place in expected:
        assert space.unit_of(place.block) == place.unit
        assert space.block_start(place.block) == position
        assert space.block_size(place.block) == place.size_bytes
        position += place.size_bytes
    assert space.block_start(space.block_count) == position


@given(mixed_spaces, st.data())
def test_a_run_of_blocks_is_part_of_the_whole(space: AddressSpace, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, space.block_count))
    end = data.draw(st.integers(start, space.block_count))
    expected = places_by_hand(space)[start:end]
    assert list(space.places((start, end))) == expected
    assert space.run_bytes((start, end)) == sum(place.size_bytes for place in expected)


@given(mixed_spaces, st.data())
def test_extents_are_the_bytes_of_a_range_unit_by_unit(
    space: AddressSpace, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, space.size_bytes))
    end = data.draw(st.integers(start, space.size_bytes))
    extents = list(space.extents(start, end))
    covered = chain.from_iterable(
        [(extent.unit, extent.offset + index) for index in range(extent.size_bytes)]
        for extent in extents
    )
    assert list(covered) == bytes_by_hand(space)[start:end]
    assert len({extent.unit for extent in extents}) == len(extents), "one extent for a unit"


@settings(max_examples=300)
@given(filled_spaces, st.data())
def test_a_run_within_a_size_is_the_longest_there_is(
    space: AddressSpace, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, space.block_count - 1))
    bytes_max = data.draw(st.integers(0, space.size_bytes + B))
    run = space.run_within(start, bytes_max)
    fitting = [
        end
        for end in range(start + 2, space.block_count + 1)
        if space.run_bytes((start, end)) <= bytes_max
    ]
    assert run == BlockRun(start, max(fitting, default=start + 1))


@settings(max_examples=300)
@given(mixed_spaces, st.data())
def test_units_within_a_set_are_those_of_which_no_block_lacks(
    space: AddressSpace, data: st.DataObject
) -> None:
    drawn = data.draw(st.sets(st.integers(0, max(space.block_count - 1, 0))))
    held = {block for block in drawn if block < space.block_count}
    filled = space.manifest.units
    whole = [
        unit
        for unit in range(len(space.manifest.units))
        if set(range(*space.unit_run(unit))) <= held
    ]
    blocks = BlockSet((block, block + 1) for block in held)
    assert space.units_within(blocks) == len(whole)
    missing = BlockSet.full(space.block_count) - blocks
    runs = [space.unit_run(unit) for unit in whole if filled[unit].size_bytes]
    assert space.of_whole_units(missing) == BlockSet(runs)
    some = sorted({space.unit_of(block) for block in held})
    assert list(space.units_of(blocks)) == some
    assert space.whole_units(blocks) == sum(bool(filled[unit].size_bytes) for unit in whole)


def test_optional_blocks_are_those_of_units_with_the_flag() -> None:
    units = [
        msgspec.structs.replace(make_unit(path, content(0, size), block_size_bytes=B), flags=flags)
        for path, size, flags in (
            ("a", 2 * B, ("optional",)),
            ("b", B, ()),
            ("c", 0, ("optional",)),
            ("d", B + 1, ("optional", "other")),
        )
    ]
    manifest = Manifest(format=1, checkpoint="c", version=1, units=tuple(units))
    assert AddressSpace(manifest).optional_blocks() == BlockSet([(0, 2), (3, 5)])


@given(filled_spaces, st.data())
def test_the_bytes_of_a_set_are_those_of_its_blocks(
    space: AddressSpace, data: st.DataObject
) -> None:
    held = data.draw(st.sets(st.integers(0, space.block_count - 1)))
    blocks = BlockSet((block, block + 1) for block in held)
    assert space.set_bytes(blocks) == sum(space.block_size(block) for block in held)


def test_empty_units_have_a_place_and_no_blocks() -> None:
    space = space_of(0, B, 0, 0, B + 1, 0)
    assert [space.unit_run(unit) for unit in range(6)] == [
        (0, 0),
        (0, 1),
        (1, 1),
        (1, 1),
        (1, 3),
        (3, 3),
    ]
    assert [space.unit_of(block) for block in range(3)] == [1, 4, 4]
    assert list(space.extents(0, space.size_bytes)) == [Extent(1, 0, B), Extent(4, 0, B + 1)]


@pytest.mark.parametrize("sizes", [(), (0,), (0, 0)])
def test_a_space_without_bytes(sizes: tuple[int, ...]) -> None:
    space = space_of(*sizes)
    assert (space.size_bytes, space.block_count, space.block_start(0)) == (0, 0, 0)
    assert list(space.places((0, 0))) == []
    assert list(space.extents(0, 0)) == []
    assert space.units_within(BlockSet()) == len(sizes), "nothing of them is missing"
    assert space.of_criticality(NORMAL) == BlockSet()


@pytest.mark.parametrize("block", [-1, 3, 10**9])
def test_a_block_that_does_not_exist_is_an_index_error(block: int) -> None:
    space = space_of(B, 2 * B)
    with pytest.raises(IndexError, match=f"block {block} of 3"):
        space.unit_of(block)
    with pytest.raises(IndexError, match=f"block {block} of 3"):
        space.run_within(block, 1)
    with pytest.raises(IndexError):
        space.block_size(block)


def test_places_beyond_the_end_are_an_index_error() -> None:
    with pytest.raises(IndexError):
        list(space_of(B, 2 * B).places((2, 4)))


class _Asked(tuple[Unit, ...]):
    """Units that count how often somebody goes through them."""

    __slots__ = ()

    times = 0

    def __iter__(self) -> Iterator[Unit]:
        type(self).times += 1
        return super().__iter__()


def test_what_holds_of_classes_is_known_without_going_through_the_units_again() -> None:
    # There can be half a million of them, and the event loop asks.
    units = _Asked(
        make_unit(f"u{index}", content(index, B), block_size_bytes=B) for index in range(3)
    )
    space = AddressSpace(Manifest(format=1, checkpoint="c", version=1, units=units))
    assert _Asked.times == 1
    assert space.class_ends() == (3,)
    assert not space.optional_blocks()
    assert len(space.of_criticality(NORMAL)) == 3
    assert _Asked.times == 1


def test_classes_of_several_phases_and_criticalities_end_where_the_next_one_begins() -> None:
    words = [(0, CRITICAL), (0, CRITICAL), (0, DEFERRED), (1, DEFERRED), (1, DEFERRED)]
    units = tuple(
        msgspec.structs.replace(
            make_unit(f"u{index}", content(index, size), block_size_bytes=B),
            phase=phase,
            criticality=criticality,
        )
        for index, ((phase, criticality), size) in enumerate(
            zip(words, (B, 2 * B, B, 0, 3 * B), strict=True)
        )
    )
    manifest = Manifest(format=1, checkpoint="c", version=1, units=units, phases=("core", "rest"))
    space = AddressSpace(manifest)
    assert space.class_ends() == (3, 4, 7)
    assert space.of_criticality(DEFERRED) == BlockSet([(3, 7)])
    assert space.of_criticality(CRITICAL) == BlockSet([(0, 3)])


def test_the_blocks_of_a_criticality_are_those_of_its_units() -> None:
    manifest = make_manifest(
        {"a": bytes(1), "b": bytes(2), "c": b"", "d": bytes(4), "e": bytes(5)},
        critical=["b", "c"],
        deferred=["a"],
    )
    space = AddressSpace(manifest)
    assert [unit.path for unit in manifest.units] == ["b", "c", "d", "e", "a"]
    assert space.of_criticality(CRITICAL) == BlockSet([(0, 1)])
    assert space.of_criticality(NORMAL) == BlockSet([(1, 3)])
    assert space.of_criticality(DEFERRED) == BlockSet([(3, 4)])


def test_a_space_costs_memory_for_its_units_and_not_for_its_blocks() -> None:
    space = space_of(10**5, block_sizes=[1])
    assert space.block_count == 10**5
    assert space.run_within(10, 10**4) == (10, 10**4 + 10)


def test_a_phase_is_where_its_units_and_blocks_are() -> None:
    phases = [0, 0, 2, 3, 3]
    units = tuple(
        msgspec.structs.replace(
            make_unit(f"u{index}", content(index, size), block_size_bytes=B), phase=phase
        )
        for index, (phase, size) in enumerate(zip(phases, (B, 2 * B, 0, B, 3 * B), strict=True))
    )
    names = ("core", "nothing", "empty", "rest")
    space = AddressSpace(Manifest(format=1, checkpoint="c", version=1, units=units, phases=names))
    assert space.phases == (
        (0, "core", (0, 2), (0, 3)),
        (2, "empty", (2, 3), (3, 3)),
        (3, "rest", (3, 5), (3, 7)),
    )
    assert [space.phase_at(block) for block in range(7)] == [0, 0, 0, 2, 2, 2, 2]
    assert not space.has_prerequisites


def test_a_version_whose_publisher_named_no_phases_has_one() -> None:
    space = AddressSpace(make_manifest({"a": bytes(3), "b": b""}))
    assert space.phases == ((0, "all", (0, 2), (0, 1)),)
    assert AddressSpace(Manifest(format=1, checkpoint="c", version=1, units=())).phases == ()


def test_what_must_be_visible_before_some_blocks_is_found() -> None:
    units = [
        msgspec.structs.replace(
            make_unit(f"u{index}", content(index, size), block_size_bytes=B), after=after
        )
        for index, (size, after) in enumerate([(B, ()), (2 * B, (0,)), (0, ()), (3 * B, (1, 2))])
    ]
    space = AddressSpace(Manifest(format=1, checkpoint="c", version=1, units=tuple(units)))
    assert space.has_prerequisites
    assert space.prerequisites_of(BlockSet([(4, 5)])) == BlockSet([(0, 3)])
    assert space.prerequisites_of(BlockSet([(1, 2)])) == BlockSet([(0, 1)])
    assert space.prerequisites_of(BlockSet([(0, 1)])) == BlockSet()
