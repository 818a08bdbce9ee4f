"""What is said of a chain when a delta version is published."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.chains.chain_links import ChainLink, link_of, made_of
from ckptd.errors import UsageError
from ckptd.model.ids import CheckpointName, Digest, Version
from ckptd.store.files.roots import Root
from ckptd.store.published import publishing
from ckptd.store.published.finding import found_files
from ckptd.store.published.scanning import PublishOrder
from tests.support.stores import publish, write_files

INDEX = "model.safetensors.index.json"
SHARD = "model-00000-of-00001.safetensors"
DIGEST, OTHER = Digest("ab" * 32), Digest("cd" * 32)


def index(**metadata: object) -> bytes:
    said = {"version": "000100", "base_version": "000099", "delta_encoding": "xor", **metadata}
    return json.dumps({"metadata": said, "weight_map": {"w": SHARD}}).encode()


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    write_files(inside / "v1", {INDEX: index(), SHARD: b"delta"})
    yield opened
    opened.close()


def test_a_delta_version_says_on_what_it_stands_and_requires_nothing(root: Root) -> None:
    manifest = publish(root, "v1").manifest
    assert manifest.annotations == {"chain.base": "99", "chain.encoding": "xor"}
    assert manifest.requires == ()


def test_it_names_the_content_of_its_base_that_is_here(root: Root) -> None:
    bases = {Version(98): OTHER, Version(99): DIGEST}
    manifest = publish(root, "v1", bases=bases).manifest
    assert link_of(manifest.annotations, 100) == ChainLink(Version(99), DIGEST, "xor")


@pytest.mark.parametrize("name", ["other.index.json", f"inside/{INDEX}"])
def test_an_index_elsewhere_says_nothing(root: Root, inside: Path, name: str) -> None:
    write_files(inside / "v2", {name: index(), f"inside/{SHARD}": b"", SHARD: b"delta"})
    assert publish(root, "v2", allows_incomplete=True).manifest.annotations == {}


def test_a_full_version_and_a_single_file_say_nothing(root: Root, inside: Path) -> None:
    full = b'{"metadata": {"total_size": 8}, "weight_map": {}}'
    write_files(inside / "v2", {INDEX: full})
    assert publish(root, "v2").manifest.annotations == {}
    assert publish(root, f"v1/{INDEX}").manifest.annotations == {}


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"version": "000042", "base_version": "000041"}, "is version 42, a delta on 41. Publish"),
        ({"base_version": "000100"}, "which is no earlier one"),
        ({"base_version": "step-99"}, "which is no version number"),
    ],
)
def test_one_that_does_not_say_on_what_is_refused_or_stands_on_nothing(
    root: Root, inside: Path, metadata: dict[str, object], problem: str
) -> None:
    write_files(inside / "v1", {INDEX: index(**metadata)})
    with pytest.raises(UsageError, match="With --allow-incomplete") as caught:
        publish(root, "v1")
    assert problem in str(caught.value)
    assert publish(root, "v1", allows_incomplete=True).manifest.annotations == {}


def test_it_is_refused_before_anything_is_hashed(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publishing, "HashedFiles", None)
    write_files(inside / "v1", {INDEX: index(version="7", base_version="6")})
    with pytest.raises(UsageError, match="Publish it as llama/rank-0@7"):
        publish(root, "v1")


def test_what_is_published_again_is_the_same_content_without_its_base(root: Root) -> None:
    first = publish(root, "v1", bases={Version(99): DIGEST})
    link = link_of(first.manifest.annotations, 100)
    assert link is not None
    links = {OTHER: ChainLink(Version(99), OTHER, "xor"), first.digest: link}
    assert publish(root, "v1", links=links).digest == first.digest
    assert publish(root, "v1", bases={Version(99): OTHER}, links=links).digest == first.digest
    assert publish(root, "v1").digest != first.digest


def test_other_files_under_the_same_name_stand_on_what_is_here_now(
    root: Root, inside: Path
) -> None:
    first = publish(root, "v1", bases={Version(99): DIGEST})
    link = link_of(first.manifest.annotations, 100)
    assert link is not None
    write_files(inside / "v1", {SHARD: b"another"})
    again = publish(root, "v1", bases={Version(99): OTHER}, links={first.digest: link})
    assert link_of(again.manifest.annotations, 100) == ChainLink(Version(99), OTHER, "xor")


def test_an_index_that_a_link_names_counts(root: Root, inside: Path) -> None:
    write_files(inside / "v2", {"blobs/1": index(), SHARD: b"delta"})
    (inside / "v2" / INDEX).symlink_to("blobs/1")
    annotations = publish(root, "v2", keeps_links=True).manifest.annotations
    assert annotations == {"chain.base": "99", "chain.encoding": "xor"}


def test_what_would_be_published_is_refused_as_well(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {INDEX: index(version="7", base_version="6")})
    order = PublishOrder(root.absolute("v1"), CheckpointName("llama"), Version(100))
    with pytest.raises(UsageError, match="a delta on 6"):
        found_files(root, "v1", order)
    assert found_files(root, "v1", replace(order, version=Version(7))).directory == "v1"


def test_a_copy_says_of_what_it_was_made_and_stands_on_nothing(root: Root, inside: Path) -> None:
    full = b'{"metadata": {"total_size": 8}, "weight_map": {}}'
    write_files(inside / "v2", {INDEX: full})
    manifest = publish(root, "v2", made_of=DIGEST).manifest
    assert made_of(manifest.annotations) == DIGEST
    assert link_of(manifest.annotations, 100) is None
