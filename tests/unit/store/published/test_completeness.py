"""Whether a directory is complete as its own format says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.errors import ContentChanged, UsageError
from ckptd.model.completeness import MARKER_BYTES_MAX
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Places
from ckptd.store.published.completeness import check_complete
from tests.support.stores import publish, write_files

SHARDS = {"__0_0.distcp": b"0", "__1_0.distcp": b"1"}


def test_a_directory_without_its_marker_is_not_published(root: Root, inside: Path) -> None:
    write_files(inside / "v1", SHARDS)
    with pytest.raises(
        ContentChanged, match=r"v1: is not complete: '\.metadata' is not there"
    ) as no:
        publish(root, "v1")
    assert "--allow-incomplete" in no.value.hint
    assert len(publish(root, "v1", allows_incomplete=True).manifest.units) == 2
    write_files(inside / "v1", {".metadata": b"plan"})
    assert len(publish(root, "v1").manifest.units) == 3


def test_a_single_shard_is_published_for_whoever_names_it(root: Root, inside: Path) -> None:
    write_files(inside / "v1", SHARDS)
    assert len(publish(root, "v1/__0_0.distcp").manifest.units) == 1


def test_a_marker_that_is_a_link_is_read_where_it_lies(root: Root, inside: Path) -> None:
    write_files(
        inside, {"blobs/1": b'{"weight_map": {"a": "gone.safetensors"}}', "v1/m.safetensors": b""}
    )
    (inside / "v1/m.safetensors.index.json").symlink_to("../blobs/1")
    with pytest.raises(ContentChanged, match=r"gone\.safetensors' is not there"):
        publish(root, "v1")


def test_a_marker_is_read_up_to_a_limit(root: Root, inside: Path) -> None:
    write_files(inside, {"m.safetensors.index.json": b"{}"})
    paths, places = ["m.safetensors.index.json"], Places("", {})
    with (inside / "m.safetensors.index.json").open("r+b") as file:
        file.write(b"{}" + b" " * 10)
        check_complete(root, "", paths, places)
        file.truncate(MARKER_BYTES_MAX + 1)
    with pytest.raises(ContentChanged, match="too much to be looked at"):
        check_complete(root, "", paths, places)


def test_what_is_left_out_does_not_make_complete(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {**SHARDS, ".metadata": b"plan"})
    with pytest.raises(ContentChanged):
        publish(root, "v1", exclude=(".metadata",))
    with pytest.raises(UsageError):
        publish(root, "v1", exclude=("*",))
