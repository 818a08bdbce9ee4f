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


def full(version: int, content: str = "0") -> KnownVersion:
    return KnownVersion(Version(version), digest(version, content))


def delta(version: int, base: int, on: str | None = "0", *, content: str = "0") -> KnownVersion:
    link = ChainLink(Version(base), None if on is None else digest(base, on), "xor")
    return KnownVersion(Version(version), digest(version, content), link)


def standing_on(series: Series, *digests: Digest) -> list[int]:
    return [each.version for each in series.standing_on(digests)]


def chain_of(series: Series, member: KnownVersion) -> tuple[list[KnownVersion], ChainLink | None]:
    """Return a version and what it stands on, and to what that leads which is not known."""
    members = [member]
    while member.link is not None:
        base = series.base(member.link)
        if base is None:
            return members, member.link
        members.append(member := base)
    return members, None


def test_a_chain_goes_down_to_the_nearest_full_version() -> None:
    known = [full(36), delta(37, 36), full(38), delta(39, 38), delta(41, 39)]
    assert chain_of(Series(known), known[4]) == ([known[4], known[3], known[2]], None)


def test_a_full_version_is_a_chain_by_itself() -> None:
    assert chain_of(Series([full(7), delta(8, 7)]), full(7)) == ([full(7)], None)


def test_a_base_that_is_not_known_is_said() -> None:
    series = Series([delta(41, 40), delta(42, 41)])
    members, lacking = chain_of(series, delta(42, 41))
    assert members == [delta(42, 41), delta(41, 40)]
    assert lacking == ChainLink(Version(40), digest(40), "xor")


def test_other_content_than_the_delta_was_made_on_is_no_base() -> None:
    _, lacking = chain_of(Series([full(41, "1"), delta(42, 41)]), delta(42, 41))
    assert lacking is not None
    assert lacking.base == 41


def test_of_rivals_the_one_that_is_named_is_the_base() -> None:
    series = Series([full(41), full(41, "1"), delta(42, 41, "1")])
    members, lacking = chain_of(series, delta(42, 41, "1"))
    assert (members[-1], lacking) == (full(41, "1"), None)
    assert standing_on(series, digest(41)) == []
    assert standing_on(series, digest(41, "1")) == [42]


def test_where_no_content_is_named_a_single_one_is_the_base_and_rivals_are_all_needed() -> None:
    one = Series([full(41), delta(42, 41, None)])
    members, lacking = chain_of(one, delta(42, 41, None))
    assert (members[-1], lacking) == (full(41), None)
    rivals = Series([full(41), full(41, "1"), delta(42, 41, None)])
    _, lacking = chain_of(rivals, delta(42, 41, None))
    assert lacking == ChainLink(Version(41), None, "xor")
    for content in "01":
        assert standing_on(rivals, digest(41, content)) == [42]


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
    chains = {each.version: chain_of(series, each)[0] for each in known}
    for each in known:
        standing = standing_on(series, each.digest)
        expected = [version for version, chain in sorted(chains.items()) if each in chain[1:]]
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
