"""Shards joined to one manifest, against a map made block by block."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import Digest
from ckptd.model.joint import Member
from ckptd.model.manifest import Manifest, check_manifest
from ckptd.model.shards import Shard
from ckptd.model.words import Criticality
from tests.support.joints import (
    CONFIG,
    SHARED,
    STEP,
    digest_of,
    joint,
    member,
    of_shards,
    unit,
)


def blocks_of(manifest: Manifest) -> list[tuple[str, int]]:
    """Name every block by its path and its place in the unit."""
    return [(unit.path, block) for unit in manifest.units for block in range(unit.block_count)]


@st.composite
def members_drawn(draw: st.DrawFn) -> list[Member]:
    """Draw shards of which some files are in all, some in several, and some in one alone."""
    count = draw(st.integers(1, 5))
    criticalities, sizes = st.sampled_from(Criticality), st.integers(0, 4)
    phases = st.integers(0, 1)
    common = {path: draw(sizes) for path in (*SHARED, "common/a", "common/b")}
    found = []
    for index in draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True)):
        units = [
            unit(path, size, "", draw(criticalities), draw(phases))
            for path, size in common.items()
            if draw(st.booleans())
        ]
        units += [
            unit(f"rank-{index}/{name}", draw(sizes), "", draw(criticalities), draw(phases))
            for name in draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=4))
        ]
        units += [
            unit(f"layer-{layer}.of-{index}", draw(sizes), "", draw(criticalities))
            for layer in range(draw(st.integers(0, 3)))
        ]
        found.append(member(Shard(index, count), units, phases=("first", "second")))
    return found


@given(members_drawn())
def test_every_block_of_every_shard_is_there_once_and_found_both_ways(
    members: list[Member],
) -> None:
    found = joint(*members)
    check_manifest(found.manifest)
    names = blocks_of(found.manifest)
    assert len(set(names)) == len(names) == found.space.block_count
    assert set(names) == {name for each in members for name in blocks_of(each.manifest)}
    place = {name: block for block, name in enumerate(names)}
    for digest, manifest in members:
        own = blocks_of(manifest)
        assert found.block_counts[digest] == len(own)
        for block, name in enumerate(own):
            there, here = BlockSet.single(block), BlockSet.single(place[name])
            assert found.from_member(digest, there) == here
            assert found.to_member(digest, here) == there
        assert set(found.blocks_of(digest)) == {place[name] for name in own}
        paths = [found.manifest.units[at].path for at in found.units_of(digest)]
        assert paths == [each.path for each in manifest.units]


@given(members_drawn(), st.data())
def test_sets_of_blocks_are_mapped_block_by_block(
    members: list[Member], data: st.DataObject
) -> None:
    found = joint(*members)
    digest, manifest = data.draw(st.sampled_from(members))
    own, names = blocks_of(manifest), blocks_of(found.manifest)
    some = data.draw(st.sets(st.integers(0, len(own) + 2)))
    blocks = BlockSet((block, block + 1) for block in some)
    expected = {names.index(own[block]) for block in some if block < len(own)}
    assert set(found.from_member(digest, blocks)) == expected
    some = data.draw(st.sets(st.integers(0, len(names) + 2)))
    blocks = BlockSet((block, block + 1) for block in some)
    expected = {own.index(names[at]) for at in some if at < len(names) and names[at] in own}
    assert set(found.to_member(digest, blocks)) == expected


@given(members_drawn())
def test_a_run_within_a_piece_is_a_run_in_each_shard_that_has_it(members: list[Member]) -> None:
    found = joint(*members)
    names = blocks_of(found.manifest)
    own = {digest: blocks_of(manifest) for digest, manifest in members}
    start = 0
    for end in found.piece_ends:
        assert start < end
        there = found.to_members((start, end))
        assert [digest for digest, _ in there] == [
            digest for digest in found.shards if names[start] in own[digest]
        ]
        for digest, run in there:
            assert own[digest][run.start : run.end] == names[start:end]
        for block in range(start, end):
            assert found.piece_end(block) == end
        start = end
    assert start == len(names)
    for end in list(found.piece_ends)[:-1]:  # pieces are as long as can be
        before = found.to_members((end - 1, end))
        behind = found.to_members((end, end + 1))
        follows = [(digest, BlockRun(run.end, run.end + 1)) for digest, run in before]
        assert follows != behind
        with pytest.raises(ValueError, match="no run within a piece"):
            found.to_members((end - 1, end + 1))


@given(members_drawn())
def test_the_order_in_which_shards_are_given_does_not_matter(members: list[Member]) -> None:
    found, other = joint(*members), joint(*reversed(members))
    assert found.manifest == other.manifest
    assert list(found.shards.items()) == list(other.shards.items())
    assert found.piece_ends == other.piece_ends


def test_a_file_that_shards_have_alike_is_there_once_and_comes_from_each_of_them() -> None:
    found = of_shards([unit(CONFIG, 2), unit("w0", 3)], [unit(CONFIG, 2), unit("w1", 3)])
    assert [each.path for each in found.manifest.units] == [CONFIG, "w0", "w1"]
    first, second = found.shards
    assert found.to_members((0, 2)) == [(first, BlockRun(0, 2)), (second, BlockRun(0, 2))]
    assert found.to_members((2, 5)) == [(first, BlockRun(2, 5))]
    assert found.to_members((6, 8)) == [(second, BlockRun(3, 5))]
    assert list(found.piece_ends) == [2, 5, 8]
    assert list(found.units_of(second)) == [0, 2]


def test_what_are_not_shards_of_one_version_in_one_layout_is_not_joined() -> None:
    plain = member(Shard(0, 2), [])
    stranger = Manifest(format=1, checkpoint="mistral/shard-1-of-2", version=STEP, units=())
    older = Manifest(format=1, checkpoint="llama/shard-1-of-2", version=STEP - 1, units=())
    for wrong in (stranger, older):
        with pytest.raises(ValueError, match="is no shard of llama@1200"):
            joint(plain, Member(digest_of(Shard(1, 2)), wrong))
    with pytest.raises(ValueError, match="one layout"):
        joint(plain, member(Shard(1, 3), []))
    with pytest.raises(ValueError, match="one layout"):
        joint()
    with pytest.raises(ValueError, match="given twice"):
        joint(plain, plain)
    with pytest.raises(ValueError, match="given twice"):
        joint(plain, Member(Digest("f" * 64), plain.manifest))


def test_a_member_that_was_not_joined_is_not_known() -> None:
    found = of_shards([unit("w", 1)])
    for ask in (found.blocks_of, found.units_of):
        with pytest.raises(KeyError):
            ask(Digest("f" * 64))


def test_what_a_joint_costs_is_little_for_each_piece() -> None:
    found = of_shards(*([unit(f"w{at:02}", 1), unit(CONFIG, 1)] for at in range(64)))
    ends = [0, *found.piece_ends]
    assert len(ends) == 1 + 1 + 64
    assert all(end - start == 1 for start, end in pairwise(ends))
