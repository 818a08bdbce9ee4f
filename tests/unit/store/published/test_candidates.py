"""Files that were found, in columns, compared with the same in a list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.policy.assignment import Assignment, UnitWords
from ckptd.model.words import Criticality
from ckptd.store.published.candidates import Candidate, Candidates

FOUND = st.builds(
    Candidate,
    number=st.just(0),
    path=st.text("abc/", min_size=1, max_size=3),
    place=st.text("abc", min_size=1, max_size=3),
    is_symlink=st.booleans(),
    size_bytes=st.integers(0, 2**44),
    words=st.builds(
        UnitWords,
        phase=st.integers(0, 2),
        criticality=st.sampled_from(Criticality),
        is_optional=st.booleans(),
    ),
)


def candidates_of(found: list[Candidate]) -> Candidates:
    made = Candidates("v1")
    for each in found:
        if each.is_symlink:
            made.follow(each.place)
        made.add(each.path, each.size_bytes)
    kinds = list(dict.fromkeys(each.words for each in found))
    kind_of = [kinds.index(each.words) for each in found]
    made.describe(Assignment(("core", "serving", "rest"), tuple(kinds), kind_of))
    return made


@given(st.lists(FOUND, max_size=4), st.sampled_from([0, 254, 300]))
def test_what_was_added_comes_back(drawn: list[Candidate], more: int) -> None:
    plain = Candidate(0, "", "", False, 1)
    given_first = [*drawn, *(plain._replace(path=f"p{number}") for number in range(more))]
    found = [
        each._replace(number=number, place=each.place if each.is_symlink else f"v1/{each.path}")
        for number, each in enumerate(given_first)
    ]
    made = candidates_of(found)
    assert list(made) == found
    assert [made[number] for number in range(len(made))] == found
    assert made[-1:] == tuple(found[-1:])
    assert list(made.paths) == [each.path for each in found]
    assert made.size_bytes == sum(each.size_bytes for each in found)


@given(st.lists(FOUND, max_size=9, unique_by=lambda each: each.path))
def test_they_become_units_in_urgency_order(found: list[Candidate]) -> None:
    made = candidates_of(found)
    expected = sorted(made, key=lambda each: (each.words.phase, each.words.criticality, each.path))
    assert list(made.in_urgency_order()) == [each.number for each in expected]


def test_without_words_they_are_in_order_of_their_paths() -> None:
    made = Candidates("v1")
    made.add("b", 1)
    made.add("a", 1)
    assert list(made.in_urgency_order()) == [1, 0]
    assert (made[0].words, made.phases) == (UnitWords(), ("all",))


def test_where_one_lies_is_found_by_its_path() -> None:
    made = Candidates("v1")
    made.add("a", 1)
    made.follow("elsewhere/b")
    made.add("b", 1)
    assert [made.places().of(path) for path in "ab"] == ["v1/a", "elsewhere/b"]


def test_one_that_does_not_exist_is_an_index_error() -> None:
    made = candidates_of([])
    made.add("a", 1)
    with pytest.raises(IndexError):
        made[1]
