"""A base is a whole block of the same length at the same place of the same path."""

from __future__ import annotations

import pytest

from ckptd.limits import BLOCK_BYTES_MIN
from ckptd.model import base_places
from ckptd.model.base_places import BasePlaces
from ckptd.model.space import AddressSpace, BlockPlace
from tests.support.manifests import make_manifest

SIZE = BLOCK_BYTES_MIN


def space_of(contents: dict[str, bytes], size: int = SIZE) -> AddressSpace:
    return AddressSpace(make_manifest(contents, block_size_bytes=size))


def bases_of(now: AddressSpace, base: AddressSpace) -> list[tuple[str, int] | None]:
    """Return of each block where its there lies: path, and offset in the unit."""
    found = BasePlaces(now, base)

    def where(place: BlockPlace | None) -> tuple[str, int] | None:
        return place and (base.manifest.units[place.unit].path, place.offset)

    return [where(found.of(place)) for place in now.places((0, now.block_count))]


def test_blocks_of_the_same_path_and_place_are_bases() -> None:
    now = space_of({"a": bytes(3 * SIZE), "b": bytes(SIZE + 5)})
    base = space_of({"0": bytes(SIZE), "a": b"x" * (3 * SIZE), "b": b"x" * (SIZE + 5)})
    assert bases_of(now, base) == [
        ("a", 0),
        ("a", SIZE),
        ("a", 2 * SIZE),
        ("b", 0),
        ("b", SIZE),
    ]


def test_what_grew_or_shrank_has_bases_as_far_as_blocks_are_as_long() -> None:
    now = space_of({"a": bytes(3 * SIZE)})
    assert bases_of(now, space_of({"a": bytes(SIZE + 7)})) == [("a", 0), None, None]
    base = space_of({"a": bytes(5 * SIZE)})
    assert bases_of(now, base) == [("a", 0), ("a", SIZE), ("a", 2 * SIZE)]
    now = space_of({"a": bytes(SIZE + 7)})
    assert bases_of(now, base) == [("a", 0), None]


def test_what_is_new_or_cut_otherwise_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    now = space_of({"a": bytes(2 * SIZE), "new": bytes(9)})
    assert bases_of(now, space_of({"a": bytes(2 * SIZE)}, 2 * SIZE)) == [None, None, None]
    assert bases_of(now, space_of({"a": bytes(2 * SIZE)})) == [("a", 0), ("a", SIZE), None]
    monkeypatch.setattr(base_places, "UNITS_MAX", 0)
    assert bases_of(now, space_of({"a": bytes(2 * SIZE)})) == [None, None, None]
