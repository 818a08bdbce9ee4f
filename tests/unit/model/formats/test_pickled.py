"""Pickles as outlines: what would be made, and nothing that is made."""

from __future__ import annotations

import os
import pickle
import pickletools
import sys
from collections import OrderedDict, deque
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.formats import pickled
from ckptd.model.formats.pickled import (
    Made,
    Name,
    Pairs,
    Unexpected,
    outline_of,
    persistent_ids_of,
)

_DATA = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary()
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=5),
    ),
    max_leaves=20,
)


def outlined(value: object) -> object:
    """Return the outline of plain data."""
    match value:
        case dict():
            return Pairs((outlined(key), outlined(each)) for key, each in value.items())
        case list():
            return [outlined(each) for each in value]
        case tuple():
            return tuple(outlined(each) for each in value)
        case _:
            return value


@given(_DATA, st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_data_is_what_it_is(value: object, protocol: int) -> None:
    assert outline_of(pickle.dumps(value, protocol)) == outlined(value)


def test_what_would_be_asked_for_by_its_id_is_listed_and_elsewhere_refused() -> None:
    asking = b"\x80\x02(X\x01\x00\x00\x00aQK\x07Q\x85Ql."  # ids: 'a', 7, and a tuple with it
    first, second, third = persistent_ids_of(asking)
    assert (first, second) == ("a", 7)
    assert isinstance(third, tuple)
    assert isinstance(third[0], Made)
    assert persistent_ids_of(pickle.dumps([1])) == []
    with pytest.raises(Unexpected, match="BINPERSID"):
        outline_of(asking)
    with pytest.raises(Unexpected, match="stack is empty"):
        persistent_ids_of(b"\x80\x02Q.")


def test_sets_are_lists_and_lists_know_themselves() -> None:
    assert outline_of(pickle.dumps({1})) == [1]
    assert outline_of(pickle.dumps(frozenset({1}))) == [1]
    assert outline_of(b"\x80\x02(K\x01K\x02l.") == [1, 2]
    assert outline_of(b"\x80\x02(K\x01K\x02d.") == Pairs([(1, 2)])
    assert outline_of(b"\x80\x02K\x0120.") == 1
    endless: list[object] = []
    endless.append(endless)
    found = outline_of(pickle.dumps(endless))
    assert isinstance(found, list)
    assert found[0] is found


class Thing:
    def __init__(self) -> None:
        self.size = 3


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_objects_are_written_down(protocol: int) -> None:
    thing = outline_of(pickle.dumps(Thing(), protocol))
    assert isinstance(thing, Made)
    assert thing.by == Name(__name__, "Thing")
    assert thing.state == Pairs([("size", 3)])
    path = outline_of(pickle.dumps(PurePosixPath("a/b"), protocol))
    assert isinstance(path, Made)
    assert path.arguments == ("a", "b")
    ordered = outline_of(pickle.dumps(OrderedDict(a=1), protocol))
    assert isinstance(ordered, Made)
    assert (ordered.by, ordered.pairs) == (Name("collections", "OrderedDict"), Pairs([("a", 1)]))
    queue = outline_of(pickle.dumps(deque([1, 2]), protocol))
    assert isinstance(queue, Made)
    assert (queue.by, queue.elements) == (Name("collections", "deque"), [1, 2])


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_nothing_is_called_and_nothing_is_imported(
    protocol: int, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(str(tmp_path))
    found = outline_of(pickle.dumps(Evil(), protocol))
    assert isinstance(found, Made)
    assert found.by == Name("posix", "mkdir")
    assert not os.path.exists("harmed")
    sys.modules.pop("this", None)
    assert outline_of(b"\x80\x02cthis\nd\n.") == Name("this", "d")
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    "data",
    [
        b"", b".", b"\x80\x04", b"N", b"hello", b"\x80\x02h\x00.", b"\x80\x02q\x00.",
        b"\x80\x04\x94.",
        b"\x80\x02u.", b"\x80\x02a.", b"\x80\x02t.", b"\x80\x02\x85.", b"\x80\x02K\x01K\x02s.",
        b"\x80\x02NK\x01a.", b"\x80\x02}K\x01a.", b"\x80\x02](K\x01u.", b"\x80\x02}(K\x01u.",
        b"\x80\x02NNb.", b"\x80\x02NN\x93.", b"\x80\x02R.", b"\x80\x020.", b"\x80\x022.",
        b"\x80\x02NNRK\x01bNb.", b"I1\n.", b"L1L\n.", b"S'a'\n.", b"P1\n.", b"\x80\x02NQ.",
        b"\x80\x02\x82\x01.", b"\x80\x05\x97.", b"(i__main__\nThing\n.", b"\x80\x02NM\x01",
        b"\x8d" + b"\xff" * 8 + b".", b"\x8a\xff.", b"X\x02\x00\x00\x00\xff\xff.",
    ],
)  # fmt: skip
def test_what_is_none_or_needs_more_is_refused(data: bytes) -> None:
    with pytest.raises(Unexpected):
        outline_of(data)


def test_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickled, "STEPS_MAX", 100)
    data = pickle.dumps([0] * 96, 2)
    assert sum(1 for _ in pickletools.genops(data)) > 100
    with pytest.raises(Unexpected, match="more than 100 steps"):
        outline_of(data)
    assert outline_of(b"\x80\x02" + b"N0" * 48 + b"N.") is None


def test_what_is_nested_without_end_costs_no_more_than_its_bytes() -> None:
    deep = outline_of(b"\x80\x02)" + b"\x85" * 100_000 + b".")
    assert isinstance(deep, tuple)
    doubled = outline_of(b"\x80\x02)" + b"2\x86" * 1000 + b"}" + b"K\x01K\x02s.")
    assert doubled == Pairs([(1, 2)])
    as_key = outline_of(b"\x80\x02})" + b"2\x86" * 1000 + b"Ns.")
    assert isinstance(as_key, Pairs)
    assert as_key[0][1] is None
