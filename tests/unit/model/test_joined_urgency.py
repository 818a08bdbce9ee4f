"""Phases and prerequisites of several shards as one."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.joined_urgency import JoinedPhases, JoinedUnits
from ckptd.model.manifest import ONE_PHASE, Unit, urgency
from ckptd.model.words import Criticality
from tests.support.manifests import make_unit

CRITICAL, NORMAL, DEFERRED = Criticality


def unit(
    path: str, phase: int = 0, criticality: Criticality = NORMAL, after: tuple[int, ...] = ()
) -> Unit:
    plain = make_unit(path, path.encode(), criticality=criticality)
    return msgspec.structs.replace(plain, phase=phase, after=after)


@pytest.mark.parametrize(
    ("phases", "names", "places"),
    [
        ([ONE_PHASE, ONE_PHASE], ONE_PHASE, [(0,), (0,)]),
        ([("core", "rest")] * 2, ("core", "rest"), [(0, 1)] * 2),
        ([ONE_PHASE, ("core", "rest")], ("core", "rest"), [(0,), (0, 1)]),
        (
            [("core", "rest"), ("core", "serving", "rest")],
            ("core", "serving", "rest"),
            [(0, 2), (0, 1, 2)],
        ),
        ([("rest",), ("core", "rest")], ("core", "rest"), [(1,), (0, 1)]),
        ([("weights",), ("model", "optimizer")], ("weights", "optimizer"), [(0,), (0, 1)]),
        ([("core", "rest"), ("rest", "core")], ("core", "rest"), [(0, 1), (0, 1)]),
        ([("core",), ("rest", "core")], ("rest", "core"), [(1,), (0, 1)]),
        ([("a", "b"), ("c", "a", "a2")], ("a", "b", "a2"), [(0, 1), (0, 1, 2)]),
        ([("b",), ("a", "b"), ("b", "a")], ("b", "a"), [(0,), (0, 1), (0, 1)]),
        ([("x", "b"), ("y", "x")], ("x", "b"), [(0, 1), (0, 1)]),
        ([("x", "y"), ("z", "x"), ("x", "z", "x2")], ("x", "y", "x2"), [(0, 1)] * 2),
    ],
)
def test_phases_are_joined_by_name_where_one_shard_has_all_else_by_place(
    phases: list[tuple[str, ...]], names: tuple[str, ...], places: list[tuple[int, ...]]
) -> None:
    joined = JoinedPhases(phases)
    assert joined.names == names
    for member, expected in enumerate(places):
        found = [joined.place(member, phase) for phase in range(len(expected))]
        assert tuple(found) == expected


@given(
    st.lists(
        st.permutations(("a", "b", "c", "phase-2", "phase-3")).flatmap(
            lambda names: st.integers(1, 5).map(lambda count: tuple(names[:count]))
        ),
        min_size=1,
    )
)
def test_names_of_joined_phases_are_different_and_there_is_one_for_each(
    phases: list[tuple[str, ...]],
) -> None:
    joined = JoinedPhases(phases)
    assert len(set(joined.names)) == len(joined.names) == max(map(len, phases))
    for member, each in enumerate(phases):
        places = [joined.place(member, phase) for phase in range(len(each))]
        assert places == sorted(set(places)), "the order of a shard stays"


def test_prerequisites_of_all_members_are_mapped_and_lifted() -> None:
    """What one shard puts late is needed early by another one."""
    joined = JoinedUnits([("core", "rest")] * 2)
    late = unit("late", phase=1, criticality=DEFERRED)
    later = unit("later", phase=1, criticality=DEFERRED, after=(5,))
    shared, shared_early = unit("shared", phase=1), unit("shared", criticality=CRITICAL, after=(7,))
    joined.take([unit("first")], ((0, 0),))
    joined.take([late], ((0, 5),))
    joined.take([later, msgspec.structs.replace(later, after=())], ((0, 6), (1, 7)))
    joined.take([shared, shared_early], ((0, 2), (1, 0)))
    units = [each for each, _ in joined.in_order()]
    assert units == sorted(units, key=urgency)
    assert [(each.path, each.after) for each in units] == [
        ("late", ()),
        ("later", (0,)),
        ("shared", (1,)),
        ("first", ()),
    ]
    assert all((each.phase, each.criticality) == (0, CRITICAL) for each in units[:3])


def test_a_unit_comes_once_after_what_several_members_put_it_after() -> None:
    joined = JoinedUnits([ONE_PHASE] * 2)
    joined.take([unit("a"), unit("a")], ((0, 0), (1, 3)))
    joined.take([unit("b", after=(0,)), unit("b", after=(3,))], ((0, 1), (1, 4)))
    assert [each.after for each, _ in joined.in_order()] == [(), (0,)]
