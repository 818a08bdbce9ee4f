"""Which versions a version needs, and which stand on it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.chains.chain import KnownVersion, Series, deltas_text, runs_text
from ckptd.chains.chain_links import ChainLink
from ckptd.model.ids import Digest, Version


def digest(version: int, content: str = "0") -> Digest:
    return Digest(f"{content}{version:063d}")


def full(version: int, content: str = "0", *, is_here: bool = True) -> KnownVersion:
    return KnownVersion(Version(version), digest(version, content), is_here=is_here)


def delta(
    version: int, base: int, on: str | None = "0", *, content: str = "0", is_here: bool = True
) -> KnownVersion:
    link = ChainLink(Version(base), None if on is None else digest(base, on), "xor")
    return KnownVersion(Version(version), digest(version, content), link, is_here)


def standing_on(series: Series, *digests: Digest) -> list[int]:
    return [each.version for each in series.standing_on(digests)]


def test_a_chain_goes_down_to_the_nearest_full_version() -> None:
    known = [full(36), delta(37, 36), full(38), delta(39, 38), delta(41, 39)]
    chain = Series(known).chain(digest(41), Version(41))
    assert chain is not None
    assert chain.versions == (41, 39, 38)
    assert chain.is_whole
    assert chain.is_here
    assert chain.full == full(38)
    assert [each.version for each in chain.deltas] == [39, 41]


def test_a_full_version_is_a_chain_by_itself() -> None:
    chain = Series([full(7), delta(8, 7)]).chain(digest(7), Version(7))
    assert chain is not None
    assert (chain.versions, chain.deltas, chain.is_whole) == ((7,), (), True)


def test_a_base_that_is_not_known_is_said() -> None:
    chain = Series([delta(41, 40), delta(42, 41)]).chain(digest(42), Version(42))
    assert chain is not None
    assert chain.versions == (42, 41)
    assert (chain.lacking, chain.lacking_digest) == (40, digest(40))
    assert not chain.is_whole
    assert chain.full is None


def test_other_content_than_the_delta_was_made_on_is_no_base() -> None:
    chain = Series([full(41, "1"), delta(42, 41)]).chain(digest(42), Version(42))
    assert chain is not None
    assert chain.lacking == 41


def test_of_rivals_the_one_that_is_named_is_the_base() -> None:
    series = Series([full(41), full(41, "1"), delta(42, 41, "1")])
    chain = series.chain(digest(42), Version(42))
    assert chain is not None
    assert chain.full == full(41, "1")
    assert standing_on(series, digest(41)) == []
    assert standing_on(series, digest(41, "1")) == [42]


def test_where_no_content_is_named_a_single_one_is_the_base_and_rivals_are_all_needed() -> None:
    one = Series([full(41), delta(42, 41, None)])
    chain = one.chain(digest(42), Version(42))
    assert chain is not None
    assert chain.full == full(41)
    rivals = Series([full(41), full(41, "1"), delta(42, 41, None)])
    chain = rivals.chain(digest(42), Version(42))
    assert chain is not None
    assert (chain.lacking, chain.lacking_digest) == (41, None)
    for content in "01":
        assert standing_on(rivals, digest(41, content)) == [42]


def test_what_is_not_here_makes_a_chain_that_is_not_here() -> None:
    series = Series([full(41, is_here=False), delta(42, 41)])
    chain = series.chain(digest(42), Version(42))
    assert chain is not None
    assert chain.is_whole
    assert not chain.is_here


def test_a_version_that_is_not_known_has_no_chain() -> None:
    assert Series([full(41)]).chain(digest(42), Version(42)) is None
    assert Series([full(41)]).chain(digest(41, "1"), Version(41)) is None


def test_what_stands_on_a_version_stands_on_its_base_as_well() -> None:
    series = Series([full(41), delta(42, 41), delta(43, 42), full(44), delta(45, 44)])
    assert standing_on(series, digest(41)) == [42, 43]
    assert standing_on(series, digest(42)) == [43]
    assert standing_on(series, digest(43)) == []
    assert standing_on(series, digest(41), digest(44)) == [42, 43, 45]


def test_what_goes_together_is_not_in_the_way_of_itself() -> None:
    series = Series([full(41), delta(42, 41), delta(43, 42)])
    assert standing_on(series, digest(41), digest(42)) == [43]
    assert standing_on(series, digest(41), digest(42), digest(43)) == []


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=12, unique=True).flatmap(
        lambda versions: st.tuples(
            st.just(sorted(versions)),
            st.lists(st.integers(-1, 11), min_size=len(versions), max_size=len(versions)),
        )
    )
)
def test_chains_and_what_stands_on_a_version_agree(drawn: tuple[list[int], list[int]]) -> None:
    known = [
        delta(version, base) if 0 <= base < version else full(version)
        for version, base in zip(*drawn, strict=True)
    ]
    series = Series(known)
    chains = {each.version: series.chain(each.digest, each.version) for each in known}
    for each in known:
        standing = standing_on(series, each.digest)
        expected = [
            version
            for version, chain in sorted(chains.items())
            if chain is not None and each.version in chain.versions[1:]
        ]
        assert standing == expected


@pytest.mark.parametrize(
    ("versions", "text"),
    [
        ([], ""),
        ([43], "43"),
        ([44, 43], "43, 44"),
        ([43, 44, 45, 46], "43 to 46"),
        ([1, 3, 4, 5, 9], "1, 3 to 5, 9"),
        ([1, 3, 5, 7, 9, 10], "1, 3, 5, 7, 2 more"),
    ],
)
def test_versions_are_said_in_runs(versions: list[int], text: str) -> None:
    assert runs_text(map(Version, versions)) == text


@pytest.mark.parametrize(
    ("versions", "text"),
    [([], ""), ([43], "43 is a delta on it"), ([43, 44, 45, 46], "43 to 46 are deltas on it")],
)
def test_what_stands_on_a_version_is_said(versions: list[int], text: str) -> None:
    assert deltas_text(list(map(Version, versions))) == text
