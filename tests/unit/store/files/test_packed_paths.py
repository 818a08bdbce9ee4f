"""Paths in pieces, compared with the same paths in a tuple."""

from __future__ import annotations

import tracemalloc
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.store.files.packed_paths import PackedPaths, PathIndex

names = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=3)


@given(st.lists(names, max_size=5), st.sampled_from([0, 255, 256, 257, 600]))
def test_paths_come_back_in_their_order(drawn: list[str], more: int) -> None:
    paths = (*drawn, *map(str, range(more)))
    packed = PackedPaths(iter(paths))
    assert tuple(packed) == paths
    assert len(packed) == len(paths)
    assert tuple(packed[index] for index in range(len(paths))) == paths
    assert packed[-2:] == paths[-2:]
    assert all(map(PathIndex(packed).has, paths))


def test_a_name_that_is_not_utf_8_comes_back() -> None:
    assert tuple(PackedPaths(["a\udcff"])) == ("a\udcff",)


def test_a_directory_with_paths_is_there_and_what_only_looks_like_one_is_not() -> None:
    packed = PackedPaths(["a/b", "cd", *map(str, range(1000)), "x/y/z", "x/y/w", "a/c/d", "x/z"])
    index = PathIndex(packed)
    assert all(map(index.has, ("a", "a/c", "x", "x/y")))
    assert not any(map(index.has, ("b", "c", "d", "", "x/y/", "y", "1000", "x/y/z/a")))


@given(st.lists(st.lists(st.sampled_from("ab"), min_size=1, max_size=4).map("/".join), max_size=9))
def test_whatever_the_order_every_directory_is_found(paths: list[str]) -> None:
    index = PathIndex(PackedPaths(paths))
    known = {
        "/".join(parts[:end])
        for path in paths
        for parts in [path.split("/")]
        for end in range(1, len(parts) + 1)
    }
    asked = {"/".join(parts) for length in range(1, 6) for parts in product("ab", repeat=length)}
    assert {path for path in asked if index.has(path)} == known


def test_paths_with_the_same_bits_of_their_hash_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ckptd.store.files.packed_paths._HASH", 0)
    index = PathIndex(PackedPaths(["a/b", "c"]))
    assert all(map(index.has, ("a/b", "a", "c")))
    assert not index.has("b")


def test_a_look_up_goes_through_no_other_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    index = PathIndex(PackedPaths(f"d/{number}" for number in range(5000)))
    taken: list[int] = []
    plain = PackedPaths.__getitem__

    def take(self: PackedPaths, at: int) -> str:
        taken.append(at)
        return plain(self, at)

    monkeypatch.setattr(PackedPaths, "__getitem__", take)
    assert [index.has(f"d/{number}") for number in (0, 4999, 5000)] == [True, True, False]
    assert len(taken) <= 3


@pytest.mark.parametrize("index", [2, -3])
def test_a_path_that_does_not_exist_is_an_index_error(index: int) -> None:
    with pytest.raises(IndexError):
        PackedPaths("ab")[index]


def test_memory_is_little_more_than_the_bytes_of_the_paths() -> None:
    def bytes_of(count: int) -> int:
        tracemalloc.start()
        packed = PackedPaths(f"{number:020}" for number in range(count))
        assert len(packed) == count
        size_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size_bytes

    assert bytes_of(8192) - bytes_of(4096) < 4096 * 24
