"""The order in which units become visible: prerequisites first, markers last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from ckptd.model.completeness import is_commit_marker
from ckptd.model.manifest import Manifest, check_manifest, urgency
from ckptd.model.visible_order import visible_order
from tests.support.manifests import make_unit

NAMES = (".metadata", "a", "b.safetensors", "c/latest", "model.safetensors.index.json", "z")


def manifest_of(paths: Sequence[str], after: Mapping[str, Sequence[str]]) -> Manifest:
    units = sorted((make_unit(path, b"") for path in paths), key=urgency)
    places = {unit.path: index for index, unit in enumerate(units)}
    found = tuple(
        msgspec.structs.replace(
            unit, after=tuple(sorted(places[each] for each in after.get(unit.path, ())))
        )
        for unit in units
    )
    manifest = Manifest(format=1, checkpoint="c", version=1, units=found)
    check_manifest(manifest)
    return manifest


def ordered(manifest: Manifest, only: Sequence[str] | None = None) -> list[str]:
    paths = [unit.path for unit in manifest.units]
    units = range(len(paths)) if only is None else [paths.index(path) for path in only]
    return [paths[index] for index in visible_order(manifest, units)]


def test_without_prerequisites_it_is_the_order_of_addresses_with_markers_last() -> None:
    assert ordered(manifest_of(NAMES, {})) == [
        "a",
        "b.safetensors",
        "z",
        "model.safetensors.index.json",
        ".metadata",
        "c/latest",
    ]


def test_prerequisites_come_first_and_what_does_not_matter_stays_where_it_is() -> None:
    after = {"a": ("z",), "b.safetensors": ("a",)}
    assert ordered(manifest_of(NAMES, after))[:3] == ["z", "a", "b.safetensors"]


def test_what_the_manifest_puts_after_a_marker_comes_behind_it() -> None:
    order = ordered(manifest_of(NAMES, {"a": (".metadata",)}))
    assert order == [
        "b.safetensors",
        "z",
        "model.safetensors.index.json",
        ".metadata",
        "a",
        "c/latest",
    ]


def test_of_some_units_only_what_is_among_them_counts() -> None:
    manifest = manifest_of(NAMES, {"a": ("z",), "z": ("b.safetensors",)})
    assert ordered(manifest, ["z", "a"]) == ["z", "a"]
    assert ordered(manifest, ["a", "b.safetensors"]) == ["a", "b.safetensors"]
    assert ordered(manifest, []) == []


@given(st.data())
def test_any_prerequisites_are_kept_and_markers_that_nothing_needs_are_last(
    data: st.DataObject,
) -> None:
    paths = data.draw(st.permutations([*NAMES, *(f"u{index}" for index in range(6))]))
    after = {
        path: data.draw(st.lists(st.sampled_from(paths[:index]), unique=True, max_size=3))
        for index, path in enumerate(paths)
        if index
    }
    order = ordered(manifest_of(paths, after))
    assert sorted(order) == sorted(paths)
    for path, needed in after.items():
        assert all(order.index(each) < order.index(path) for each in needed)
    wanted = {each for some in after.values() for each in some}
    free = [path for path in order if is_commit_marker(path) and path not in wanted]
    behind_markers = {path for path in paths if is_commit_marker(path)}
    for path in paths:  # with all that comes after a marker, however far away
        if any(each in behind_markers for each in after.get(path, ())):
            behind_markers.add(path)
    for marker in free:
        assert set(order[order.index(marker) :]) <= behind_markers
