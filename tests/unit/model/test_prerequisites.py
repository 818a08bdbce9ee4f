"""What comes before what: rounds are found, and ways followed to their beginning."""

from __future__ import annotations

import tracemalloc
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import InvalidManifest
from ckptd.limits import MANIFEST_PREREQUISITES_MAX, MANIFEST_UNITS_MAX, MIB, UNIT_PREREQUISITES_MAX
from ckptd.model.prerequisites import (
    PrerequisitesCheck,
    all_prerequisites,
    find_cycle,
    way_round,
)

graphs = st.dictionaries(
    st.integers(0, 9), st.lists(st.integers(0, 9), max_size=4, unique=True), max_size=10
)


@given(graphs)
def test_a_round_is_found_where_there_is_one_and_is_one(after: Mapping[int, Sequence[int]]) -> None:
    try:
        TopologicalSorter(after).prepare()
    except CycleError:
        way = find_cycle(after)
        assert way[0] == way[-1]
        assert len(way) > 1
        assert all(later in after[unit] for unit, later in pairwise(way))
        assert len(set(way[1:])) == len(way) - 1, "it goes round once"
    else:
        assert find_cycle(after) == ()


def test_a_long_way_is_no_round_and_needs_no_recursion() -> None:
    count = 200_000
    after = {unit: (unit + 1,) for unit in range(count)}
    assert find_cycle(after) == ()
    assert len(find_cycle({**after, count: (0,)})) == count + 2


@given(graphs, st.sets(st.integers(0, 9)))
def test_all_that_must_be_there_before_is_found(
    after: Mapping[int, Sequence[int]], units: set[int]
) -> None:
    found = all_prerequisites(units, lambda unit: after.get(unit, ()))
    entered = {needed for unit in units | found for needed in after.get(unit, ())}
    assert found == entered


def test_the_way_round_is_shown_with_its_end_however_long() -> None:
    assert way_round(["a", "b", "a"], 3) == "'a' → 'b' → 'a'"
    paths = [str(at) for at in range(1000)] + ["0"]
    assert way_round(paths, 1001).endswith("'7' → (992 more) → '0'")
    assert len(way_round(["x" * 4096] * 1001, 1001)) < 1000


def test_so_many_prerequisites_are_refused_before_they_take_memory() -> None:
    each = tuple(range(UNIT_PREREQUISITES_MAX))
    check = PrerequisitesCheck()
    full = MANIFEST_PREREQUISITES_MAX // UNIT_PREREQUISITES_MAX
    tracemalloc.start()
    try:
        for index in range(full):
            check.take(1000 + index, "u", each, MANIFEST_UNITS_MAX)
        with pytest.raises(InvalidManifest, match="puts units after more than 1048576 others"):
            check.take(1000 + full, "u", each, MANIFEST_UNITS_MAX)
        assert tracemalloc.get_traced_memory()[1] < 10 * MIB
    finally:
        tracemalloc.stop()
