"""Files that were found, in columns, compared with the same in a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.words import Criticality
from ckptd.store.published.candidates import Candidate, Candidates

FOUND = st.builds(
    Candidate,
    number=st.just(0),
    path=st.text("abc/", min_size=1, max_size=3),
    place=st.text("abc", min_size=1, max_size=3),
    is_symlink=st.booleans(),
    size_bytes=st.integers(0, 2**44),
    criticality=st.sampled_from(Criticality),
    is_optional=st.booleans(),
)


def candidates_of(found: list[Candidate]) -> Candidates:
    made = Candidates("v1")
    for each in found:
        if each.is_symlink:
            made.follow(each.place)
        made.add(each.path, each.size_bytes, each.criticality, is_optional=each.is_optional)
    return made


@given(st.lists(FOUND, max_size=4), st.sampled_from([0, 254, 300]))
def test_what_was_added_comes_back(drawn: list[Candidate], more: int) -> None:
    plain = Candidate(0, "", "", False, 1, Criticality.NORMAL, False)
    given_first = [*drawn, *(plain._replace(path=f"p{number}") for number in range(more))]
    found = [
        each._replace(number=number, place=each.place if each.is_symlink else f"v1/{each.path}")
        for number, each in enumerate(given_first)
    ]
    made = candidates_of(found)
    assert list(made) == found
    assert [made[number] for number in range(len(made))] == found
    assert made[-1:] == tuple(found[-1:])
    assert list(made.paths()) == [each.path for each in found]
    assert made.size_bytes == sum(each.size_bytes for each in found)


@given(st.lists(FOUND, max_size=9, unique_by=lambda each: each.path))
def test_they_become_units_in_urgency_order(found: list[Candidate]) -> None:
    made = candidates_of(found)
    expected = sorted(made, key=lambda each: (each.criticality, each.path))
    assert list(made.in_urgency_order()) == [each.number for each in expected]


def test_where_one_lies_is_found_by_its_path() -> None:
    made = Candidates("v1")
    made.add("a", 1, Criticality.NORMAL, is_optional=False)
    made.follow("elsewhere/b")
    made.add("b", 1, Criticality.NORMAL, is_optional=False)
    assert [made.places().of(path) for path in "ab"] == ["v1/a", "elsewhere/b"]


def test_one_that_does_not_exist_is_an_index_error() -> None:
    made = candidates_of([])
    made.add("a", 1, Criticality.NORMAL, is_optional=False)
    with pytest.raises(IndexError):
        made[1]
