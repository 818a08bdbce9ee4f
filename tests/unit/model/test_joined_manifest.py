"""What one manifest says that several shards were joined to, and when they cannot be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ckptd.errors import Conflict, InvalidManifest
from ckptd.limits import BLOCK_BYTES_MIN, MANIFEST_LINKS_MAX
from ckptd.model.bare_names import SymbolicLink
from ckptd.model.joint import Member
from ckptd.model.manifest import OPTIONAL_FLAG, Unit, check_manifest
from ckptd.model.shards import Shard
from tests.support.joints import (
    CONFIG,
    CRITICAL,
    DEFERRED,
    LLAMA,
    NORMAL,
    STEP,
    bare,
    digest_of,
    joint,
    member,
    of_shards,
    unit,
)

replaced = msgspec.structs.replace


def test_units_of_all_shards_stand_in_the_order_of_their_urgency() -> None:
    found = of_shards(
        [unit("a", 1, criticality=DEFERRED), unit("b", 1), unit("c", 1, criticality=CRITICAL)],
        [unit("d", 1, criticality=CRITICAL), unit("e", 1, criticality=DEFERRED)],
    )
    assert [each.path for each in found.manifest.units] == ["c", "d", "b", "a", "e"]
    assert (found.manifest.checkpoint, found.manifest.version) == (LLAMA, STEP)


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
