"""Shards joined to one manifest, against a map made block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import Conflict, InvalidManifest
from ckptd.limits import BLOCK_BYTES_MIN, MANIFEST_LINKS_MAX
from ckptd.model import manifest as rules
from ckptd.model.bare_names import SymbolicLink, required_words
from ckptd.model.blocks import BlockRun, BlockSet
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.model.joint import Joint, Member
from ckptd.model.manifest import OPTIONAL_FLAG, Manifest, Unit, check_manifest, urgency
from ckptd.model.shards import Shard, shard_name
from ckptd.model.words import Criticality

LLAMA, STEP = CheckpointName("llama"), Version(1200)
CRITICAL, NORMAL, DEFERRED = Criticality
CONFIG, TOKENIZER = "config.json", "tokenizer/vocab"
SHARED = (CONFIG, TOKENIZER)


def unit(
    path: str,
    block_count: int,
    content: str = "",
    criticality: Criticality = NORMAL,
    phase: int = 0,
) -> Unit:
    """Lay out a unit whose digests say what is in it."""
    name = f"{path}{content}".encode()[-16:].rjust(16)
    blocks = b"".join(name + index.to_bytes(16) for index in range(block_count))
    return Unit(
        path=path,
        size_bytes=block_count * BLOCK_BYTES_MIN,
        digest=blocks if block_count == 1 else name * 2 if blocks else rules.DIGEST_OF_NOTHING,
        block_size_bytes=BLOCK_BYTES_MIN,
        block_digests=blocks,
        criticality=criticality,
        phase=phase,
    )


replaced = msgspec.structs.replace


def member(
    shard: Shard,
    units: Sequence[Unit],
    *,
    links: Mapping[str, str] | None = None,
    directories: Sequence[str] = (),
    **words: Any,  # noqa: ANN401 (fields of a manifest)
) -> Member:
    found = tuple(SymbolicLink(*each) for each in sorted((links or {}).items()))
    manifest = Manifest(
        format=1,
        checkpoint=shard_name(LLAMA, shard),
        version=STEP,
        units=tuple(sorted(units, key=urgency)),
        links=found,
        directories=tuple(directories),
        requires=required_words(found, directories),
        **words,
    )
    check_manifest(manifest)
    return Member(digest_of(shard), manifest)


def digest_of(shard: Shard) -> Digest:
    return Digest(f"{shard.index:064x}")


def joint(*members: Member) -> Joint:
    return Joint(LLAMA, STEP, members)


def of_shards(*units: Sequence[Unit]) -> Joint:
    """Join one shard for each list of units."""
    return joint(*(member(Shard(at, len(units)), each) for at, each in enumerate(units)))


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


def test_units_of_all_shards_stand_in_the_order_of_their_urgency() -> None:
    found = of_shards(
        [unit("a", 1, criticality=DEFERRED), unit("b", 1), unit("c", 1, criticality=CRITICAL)],
        [unit("d", 1, criticality=CRITICAL), unit("e", 1, criticality=DEFERRED)],
    )
    assert [each.path for each in found.manifest.units] == ["c", "d", "b", "a", "e"]
    assert (found.manifest.checkpoint, found.manifest.version) == (LLAMA, STEP)


def test_a_file_that_shards_have_alike_is_there_once_and_comes_from_each_of_them() -> None:
    found = of_shards([unit(CONFIG, 2), unit("w0", 3)], [unit(CONFIG, 2), unit("w1", 3)])
    assert [each.path for each in found.manifest.units] == [CONFIG, "w0", "w1"]
    first, second = found.shards
    assert found.to_members((0, 2)) == [(first, BlockRun(0, 2)), (second, BlockRun(0, 2))]
    assert found.to_members((2, 5)) == [(first, BlockRun(2, 5))]
    assert found.to_members((6, 8)) == [(second, BlockRun(3, 5))]
    assert list(found.piece_ends) == [2, 5, 8]
    assert list(found.shared()) == [(BlockRun(0, 2), (first, second))]
    assert list(found.units_of(second)) == [0, 2]


def test_a_file_of_several_shards_is_as_urgent_and_as_required_as_in_any() -> None:
    lax = unit(CONFIG, 1, criticality=DEFERRED, phase=1)
    lax = msgspec.structs.replace(lax, flags=(OPTIONAL_FLAG, "cold"), is_executable=True)
    strict = msgspec.structs.replace(unit(CONFIG, 1), flags=("cold",))
    phases = ("first", "second")
    found = joint(
        member(Shard(0, 2), [lax], phases=phases), member(Shard(1, 2), [strict], phases=phases)
    )
    (config,) = found.manifest.units
    assert (config.criticality, config.phase) == (NORMAL, 0)
    assert config.is_executable
    assert config.flags == ("cold",)
    (only,) = of_shards([lax := msgspec.structs.replace(lax, phase=0)], [lax]).manifest.units
    assert only.is_optional


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (unit(CONFIG, 2, "one"), unit(CONFIG, 2, "other")),
        (unit(CONFIG, 2), unit(CONFIG, 3)),
        (
            unit(CONFIG, 2),
            msgspec.structs.replace(
                unit(CONFIG, 2), block_size_bytes=2 * BLOCK_BYTES_MIN, block_digests=bytes(32)
            ),
        ),
        (
            unit(CONFIG, 2),
            msgspec.structs.replace(unit(CONFIG, 2), block_digests=bytes(64)),
        ),
    ],
    ids=["digest", "size", "block size", "digests of blocks"],
)
def test_a_path_with_other_content_is_a_conflict_that_names_both_shards(
    one: Unit, other: Unit
) -> None:
    plain = [unit("w", 1)]
    with pytest.raises(Conflict) as caught:
        joint(
            Member(digest_of(Shard(0, 3)), bare(Shard(0, 3), plain)),
            Member(digest_of(Shard(1, 3)), bare(Shard(1, 3), [one])),
            Member(digest_of(Shard(2, 3)), bare(Shard(2, 3), [other])),
        )
    assert caught.value.subject == "llama@1200"
    assert caught.value.problem == ("'config.json' is other content in shard 1/3 than in shard 2/3")


def bare(shard: Shard, units: Sequence[Unit]) -> Manifest:
    """Return a manifest without a look at its rules."""
    return Manifest(format=1, checkpoint=shard_name(LLAMA, shard), version=STEP, units=tuple(units))


@pytest.mark.parametrize(
    ("one", "other", "path", "kinds"),
    [
        ([unit("a", 1)], [unit("a/b", 1)], "a", ("a file", "a directory")),
        ([unit("a/b", 1)], [unit("a", 1)], "a", ("a directory", "a file")),
        (
            [unit("x/a", 0), unit("x/a-b", 1)],
            [unit("x/a/b/c", 1)],
            "x/a",
            ("a file", "a directory"),
        ),
    ],
)
def test_a_file_that_is_a_directory_in_another_shard_is_a_conflict(
    one: list[Unit], other: list[Unit], path: str, kinds: tuple[str, str]
) -> None:
    with pytest.raises(Conflict) as caught:
        of_shards(one, other)
    problem = caught.value.problem
    assert problem.startswith(repr(path))
    for shard, kind in enumerate(kinds):
        assert f"{kind} in shard {shard}/2" in problem


def test_links_and_empty_directories_are_joined_as_files_are() -> None:
    one = member(
        Shard(0, 2), [unit("step/w0", 1)], links={"latest": "step"}, directories=["logs", "out"]
    )
    other = member(
        Shard(1, 2), [unit("step/w1", 1), unit("logs/1", 1)], links={"latest": "step"},
        directories=["empty", "out"],
    )  # fmt: skip
    found = joint(one, other).manifest
    assert found.links == (SymbolicLink("latest", "step"),)
    assert found.directories == ("empty", "out")
    check_manifest(found)


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ({"links": {"x": "w"}}, {"links": {"x": "v"}}, "other content"),
        ({"links": {"x": "w"}}, {"directories": ["x"]}, "a symbolic link in shard 0/2"),
        ({"directories": ["x"]}, {"units": [unit("x", 1)]}, "a directory in shard 1/2"),
        ({"links": {"x": "w"}}, {"units": [unit("x/y", 1)]}, "a directory in shard 1/2"),
    ],
)
def test_links_and_directories_that_differ_are_a_conflict(
    one: dict[str, Any], other: dict[str, Any], said: str
) -> None:
    both = [unit("v", 1), unit("w", 1)]
    with pytest.raises(Conflict, match="'x' is") as caught:
        joint(
            *(
                member(Shard(at, 2), [*both, *each.pop("units", [])], **each)
                for at, each in enumerate(({**one}, {**other}))
            )
        )
    assert said in caught.value.problem or said.replace("1/2", "0/2") in caught.value.problem


def test_what_a_joined_manifest_says_is_what_all_shards_say() -> None:
    words: list[dict[str, Any]] = [
        {"annotations": {"a": "1", "b": "2"}, "run": "r", "created_at_s": 5},
        {"annotations": {"a": "1", "b": "3"}, "run": "r", "created_at_s": 7},
    ]
    found = joint(*(member(Shard(at, 2), [], **each) for at, each in enumerate(words))).manifest
    assert found.annotations == {"a": "1"}
    assert (found.run, found.created_at_s) == ("r", 7)
    words[1]["run"] = "other"
    assert not joint(
        *(member(Shard(at, 2), [], **each) for at, each in enumerate(words))
    ).manifest.run


def test_phases_are_joined_by_their_place() -> None:
    one = member(Shard(0, 2), [unit("a", 1)], phases=("weights",))
    other = member(Shard(1, 2), [unit("b", 1, phase=1)], phases=("model", "optimizer"))
    assert joint(one, other).manifest.phases == ("weights", "optimizer")


def test_what_a_shard_puts_after_something_is_so_in_the_joined_manifest() -> None:
    """A shared file is needed earlier by one shard than the other one has it."""
    after = {"after": (0,)}
    one = [unit(CONFIG, 1, phase=1), replaced(unit("model", 1, phase=1), **after)]
    other = [unit("arch", 1), replaced(unit(CONFIG, 1), **after), unit("rng", 1, phase=1)]
    phases = ("core", "rest")
    found = joint(
        member(Shard(0, 2), one, phases=phases), member(Shard(1, 2), other, phases=phases)
    )
    units = found.manifest.units
    assert [(each.path, each.phase, each.after) for each in units] == [
        ("arch", 0, ()),
        (CONFIG, 0, (0,)),
        ("model", 1, (1,)),
        ("rng", 1, ()),
    ]


def test_shards_that_put_units_after_themselves_together_are_refused() -> None:
    one = [replaced(unit("a", 1), after=(1,)), unit("b", 1)]
    other = [unit("a", 1), replaced(unit("b", 1), after=(0,))]
    with pytest.raises(InvalidManifest, match="after themselves: 'a' → 'b' → 'a'"):
        joint(member(Shard(0, 2), one), member(Shard(1, 2), other))


def test_shards_that_are_more_than_a_manifest_may_hold_are_refused() -> None:
    each = MANIFEST_LINKS_MAX // 2 + 1
    members = (
        member(Shard(at, 2), [unit("w", 1)], links={f"{at}-{index}": "w" for index in range(each)})
        for at in range(2)
    )
    with pytest.raises(InvalidManifest, match="links, more than"):
        joint(*members)


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
