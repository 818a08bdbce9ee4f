"""Patterns are found by how they begin, and none is missed."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.policy.glob_index import GlobIndex

TEXT = st.text("ab/*?[]!", max_size=6)


@given(st.lists(TEXT, max_size=6), st.lists(TEXT, max_size=3))
def test_the_same_match_as_one_after_another(globs: list[str], names: list[str]) -> None:
    index = GlobIndex(enumerate(globs))
    expected = {
        (number, glob)
        for number, glob in enumerate(globs)
        if any(fnmatchcase(name, glob) for name in names)
    }
    assert set(index.matching(names)) == expected


def test_several_patterns_may_have_one_number() -> None:
    index = GlobIndex([(7, "a*"), (7, "*b"), (8, "c")])
    assert sorted(index.matching(["ab"])) == [(7, "*b"), (7, "a*")]
    assert list(index.matching(["d"])) == []
