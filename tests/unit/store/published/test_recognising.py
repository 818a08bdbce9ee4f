"""What recognisers are given, and that they only propose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ckptd.model.ids import CheckpointName, Version
from ckptd.model.policy.recognition import Proposal, Read
from ckptd.store.files.roots import Root
from ckptd.store.published import recognising
from ckptd.store.published.finding import found_files, outlook_of
from ckptd.store.published.recognising import recognised
from ckptd.store.published.scanning import PublishOrder
from tests.support.somebody import somebody
from tests.support.stores import publish, write_files

INDEX = json.dumps({"weight_map": {"layers.0.w": "model-1.safetensors"}}).encode()
FILES = {
    "config.json": b"{}",
    "model.safetensors.index.json": INDEX,
    "model-1.safetensors": b"w" * 100,
    "optimizer.pt": b"o" * 200,
}


def proposal_of(root: Root, directory: str = "v1", *, keeps_links: bool = False) -> Proposal | None:
    order = PublishOrder(
        root.absolute(directory), CheckpointName("a"), Version(1), keeps_links=keeps_links
    )
    found = found_files(root, directory, order)
    return recognised(root, found.files, found.inner)


def test_what_is_recognised_is_proposed_and_does_not_count(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    proposal = proposal_of(root)
    assert proposal is not None
    assert proposal.format == "Hugging Face"
    assert publish(root, "v1").manifest.phases == ("all",)


def test_where_it_counts_it_does_behind_all_others(root: Root, inside: Path) -> None:
    write_files(inside / "v1", FILES)
    manifest = publish(root, "v1", recognises=True, phases=(("rest", "config.json"),)).manifest
    assert manifest.phases == ("core", "rest")
    assert {unit.path: manifest.phases[unit.phase] for unit in manifest.units} == {
        "model.safetensors.index.json": "core",
        "model-1.safetensors": "core",
        "config.json": "rest",
        "optimizer.pt": "rest",
    }


def test_of_what_is_of_no_format_nothing_is_said(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1"})
    assert proposal_of(root) is None
    assert publish(root, "v1", recognises=True).manifest.phases == ("all",)


def test_links_are_names_too(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"blobs/1": b"{}", "blobs/2": b"w"})
    for name, blob in (("config.json", "1"), ("model.safetensors", "2")):
        (inside / "v1" / name).symlink_to(f"blobs/{blob}")
    proposal = proposal_of(root, keeps_links=True)
    assert proposal is not None
    assert "config.json" in {path for rule in proposal.policy.rules for path in rule.paths}


def test_files_are_read_within_bounds(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes | None] = []

    def recognise(sizes: dict[str, int], read: Read) -> None:
        seen.extend(read(path) for path in [*sorted(sizes), "gone"])

    monkeypatch.setattr(recognising, "recognise", recognise)
    write_files(inside / "v1", {"a": b"1", "b": b"22", "c": b"333"})
    proposal_of(root)
    assert seen == [b"1", b"22", b"333", None]
    seen.clear()
    monkeypatch.setattr(recognising, "RECOGNISED_BYTES_MAX", 5)
    proposal_of(root)
    assert seen == [b"1", b"22", None, None]
    seen.clear()
    order = PublishOrder(root.absolute("v1"), CheckpointName("a"), Version(1))
    found = found_files(root, "v1", order)
    (inside / "v1/a").chmod(0)
    with somebody():
        recognised(root, found.files, found.inner)
    assert seen == [None, b"22", None, None]
    monkeypatch.setattr(recognising, "RECOGNISED_FILES_MAX", 2)
    seen.clear()
    assert proposal_of(root) is None
    assert seen == []


@pytest.mark.parametrize("counts", [False, True])
def test_a_dry_run_asks_once(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch, *, counts: bool
) -> None:
    asked: list[int] = []

    def recognise(sizes: dict[str, int], _: Read) -> None:
        asked.append(len(sizes))

    monkeypatch.setattr(recognising, "recognise", recognise)
    write_files(inside / "v1", FILES)
    order = PublishOrder(root.absolute("v1"), CheckpointName("a"), Version(1), recognises=counts)
    assert outlook_of(root, "v1", order).proposed is None
    assert asked == [len(FILES)]
