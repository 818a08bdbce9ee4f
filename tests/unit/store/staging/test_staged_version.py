"""What a recovery has is served from its staging, and its end holds up and misleads nobody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ckptd.errors import Conflict, ContentChanged, NotFound
from ckptd.limits import KIB
from ckptd.model.blocks import BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.space import AddressSpace
from ckptd.store.staging.area import Staging
from ckptd.store.staging.staged_version import StagedVersion
from tests.support.manifests import make_manifest
from tests.support.stagings import NOTHING, TARGET, Site, content_of
from tests.support.standing import flip, known
from tests.support.stores import bytes_of, open_descriptors

CONTENTS = {
    "a.bin": content_of(600 * KIB, seed=1),
    "b/empty": b"",
    "b/one.bin": content_of(256 * KIB, seed=2),
    "b/two.bin": content_of(256 * KIB + 1, seed=3),
}
"""Three blocks, none, one, two."""
A, ONE, TWO = BlockSet([(0, 3)]), BlockSet([(3, 4)]), BlockSet([(4, 5)])
SIZE_BYTES = sum(map(len, CONTENTS.values()))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS)
    yield made
    made.close()


@pytest.fixture
def staging(site: Site) -> Staging:
    made = site.staging()
    made.prepare(NOTHING)
    return made


@pytest.fixture
def whole(site: Site, staging: Staging) -> Iterator[Staging]:
    """A recovery that has everything and is not placed; at the end nothing may be open."""
    site.deliver(staging, site.everything)
    yield staging
    staging.close()
    assert not [target for target in open_descriptors() if f"{site.path}/" in target]


def read(served: StagedVersion, start: int, end: int) -> bytes:
    return b"".join(bytes_of(piece) for piece in served.pieces(start, end))


def test_a_block_is_served_when_the_journal_has_it(site: Site, staging: Staging) -> None:
    start, end = site.space.block_start(3), site.space.block_start(4)
    site.deliver_run(staging, 3, 4)
    staging.commit(ONE)
    assert staging.served.blocks == NOTHING
    assert not staging.served.holds(start, end)
    staging.release(ONE)
    assert staging.served.blocks == ONE
    assert staging.served.holds(start, end)
    assert not staging.served.holds(start - 1, end)
    assert not staging.served.holds(start, end + 1)
    assert read(staging.served, start, end) == CONTENTS["b/one.bin"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(0, 5)), st.tuples(*[st.integers(-1, SIZE_BYTES + 1)] * 2))
def test_a_range_is_held_if_all_its_blocks_are(
    site: Site, numbers: set[int], ends: tuple[int, int]
) -> None:
    served = StagedVersion(site.root, "x", "y", site.space)
    served.add(BlockSet((number, number + 1) for number in numbers))
    start, end = ends
    touched = {
        block
        for block in range(6)
        if site.space.block_start(block) < end and start < site.space.block_start(block + 1)
    }
    is_range = 0 <= start < end <= SIZE_BYTES
    assert served.holds(start, end) is (is_range and touched <= numbers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.tuples(*[st.integers(0, SIZE_BYTES)] * 2).filter(lambda ends: ends[0] != ends[1]))
def test_any_held_range_can_be_read(site: Site, whole: Staging, ends: tuple[int, int]) -> None:
    start, end = sorted(ends)
    assert read(whole.served, start, end) == site.bytes[start:end]


def test_a_recovery_that_goes_on_serves_what_it_hashed_again(site: Site) -> None:
    first = site.staging()
    first.prepare(NOTHING)
    site.deliver(first, A | ONE)
    first.close()
    with site.staged("a.bin").open("r+b") as file:
        file.seek(256 * KIB)
        file.write(b"rotten")
    again = site.staging()
    again.prepare(A | ONE | TWO)
    assert again.served.blocks == BlockSet([(0, 1), (2, 4)])


def test_a_response_under_way_when_the_version_is_placed_comes_to_its_end(
    site: Site, whole: Staging
) -> None:
    pieces = whole.served.pieces(0, SIZE_BYTES)
    got = bytearray()
    for piece in pieces:
        if not got:
            whole.place(NOTHING)
            whole.close()
        got += bytes_of(piece)
    assert bytes(got) == site.bytes
    assert read(whole.served, 0, SIZE_BYTES) == site.bytes


@pytest.mark.parametrize("path", ["a.bin", "b/one.bin"])
@pytest.mark.parametrize("how", ["overwrite", "touch", "replace", "remove"])
def test_a_placed_file_that_changes_is_noticed(
    site: Site, whole: Staging, path: str, how: str
) -> None:
    pieces = whole.served.pieces(0, SIZE_BYTES)
    next(pieces)
    whole.place(NOTHING)
    placed = site.placed(path)
    match how:
        case "overwrite":
            with placed.open("r+b") as file:
                file.write(b"new")
        case "touch":
            os.utime(placed)
        case "replace":
            placed.unlink()
            placed.write_bytes(CONTENTS[path])
        case _:
            placed.unlink()
    with pytest.raises(ContentChanged, match=f"{TARGET}/{path}: "):
        list(pieces)


def test_a_response_under_way_when_the_recovery_is_given_up_ends_short(
    site: Site, whole: Staging
) -> None:
    pieces = whole.served.pieces(0, SIZE_BYTES)
    piece = next(pieces)
    whole.discard()
    assert site.files() == {}
    assert bytes_of(piece) == CONTENTS["a.bin"]
    with pytest.raises(NotFound):
        next(pieces)
    with pytest.raises(NotFound):
        next(whole.served.pieces(0, 1))


def test_a_unit_that_is_left_out_goes_away(site: Site, staging: Staging) -> None:
    site.deliver(staging, A | TWO)
    staging.place(ONE | BlockSet([(5, 6)]))
    start = site.space.block_start(4)
    with pytest.raises(NotFound):
        next(staging.served.pieces(start, start + 1))
    assert read(staging.served, 0, 600 * KIB) == CONTENTS["a.bin"]


def test_a_placement_that_fails_and_is_tried_again_changes_nothing(
    site: Site, whole: Staging
) -> None:
    site.placed("mine").mkdir(parents=True)
    with pytest.raises(Conflict):
        whole.place(NOTHING)
    assert read(whole.served, 0, SIZE_BYTES) == site.bytes
    pieces = whole.served.pieces(0, 1)
    next(pieces)
    site.placed("mine").rmdir()
    whole.place(NOTHING)
    assert list(pieces) == []
    assert read(whole.served, 0, SIZE_BYTES) == site.bytes


def test_a_target_that_stands_already_is_not_served_from_staging(
    site: Site, whole: Staging
) -> None:
    whole.place(NOTHING)
    again = site.staging()
    assert again.prepare(site.everything) == site.everything
    again.close()
    assert again.served.blocks == NOTHING


def test_what_is_joined_is_served_as_each_of_its_members(tmp_path: Path) -> None:
    shared, first, second = (content_of(300 * KIB, seed=seed) for seed in (1, 2, 3))
    contents = [{"config": shared, "0/a": first}, {"config": shared, "1/b": second}]
    members = [
        Member(
            Digest(f"{index:064x}"),
            make_manifest(each, checkpoint=f"llama/shard-{index}-of-2", critical=["config"]),
        )
        for index, each in enumerate(contents)
    ]
    joint = Joint(CheckpointName("llama"), Version(100), members)
    site = Site(tmp_path, contents[0] | contents[1], manifest=joint.manifest)
    staging = site.staging()
    staging.prepare(NOTHING)
    site.deliver(staging, site.blocks_of("config"))
    spaces = {member.digest: AddressSpace(member.manifest) for member in members}
    zero, one = staging.served.split(joint, spaces).values()
    assert zero.blocks == one.blocks == BlockSet([(0, 2)])
    assert read(zero, 0, len(shared)) == read(one, 0, len(shared)) == shared
    site.deliver(staging, site.blocks_of("1/b"))
    assert zero.blocks == BlockSet([(0, 2)])
    assert read(one, 5, one.size_bytes) == (shared + second)[5:]
    site.deliver(staging, site.blocks_of("0/a"))
    staging.place(NOTHING)
    assert read(zero, 0, zero.size_bytes) == shared + first
    site.placed("1/b").write_bytes(b"of somebody else")
    with pytest.raises(ContentChanged):
        read(one, 0, one.size_bytes)
    assert read(zero, 0, zero.size_bytes) == shared + first
    site.close()


def test_a_file_that_moves_at_this_moment_is_served(site: Site, whole: Staging) -> None:
    served = whole.served
    moved = site.placed("b/one.bin")
    moved.parent.mkdir(parents=True)
    site.staged("b/one.bin").rename(moved)
    run = (site.space.block_start(3), site.space.block_start(4))
    with pytest.raises(NotFound):
        read(served, *run)
    served.begin_moving()
    assert read(served, *run) == CONTENTS["b/one.bin"]
    served.end_moving(known(site).files)
    assert read(served, *run) == CONTENTS["b/one.bin"]
    flip(moved)
    with pytest.raises(ContentChanged):
        read(served, *run)
    moved.unlink()
