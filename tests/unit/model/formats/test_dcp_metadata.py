"""What ``.metadata`` of PyTorch DCP says, read without PyTorch and without unpickling.

The directories below ``dcp`` were made by ``tests.support.making_dcp``; ``said.json`` is what
PyTorch itself read from them.
"""

from __future__ import annotations

import io
import json
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import zstandard

from ckptd.errors import InvalidFormat
from ckptd.model.formats import dcp_metadata
from ckptd.model.formats.dcp_metadata import METADATA_BYTES_MAX, decode_metadata
from ckptd.model.words import TensorContent
from tests.support.dcp_files import (
    BytesStorageMetadata,
    MetadataIndex,
    Size,
    TensorStorageMetadata,
    index,
    info,
    metadata,
    tensor,
)

MADE = sorted((Path(__file__).parent / "dcp").iterdir())


def test_something_was_made() -> None:
    assert [path.name.partition("-")[0] for path in MADE] == ["compressed", "plain"]


@pytest.mark.parametrize("directory", MADE, ids=lambda path: path.name)
def test_what_pytorch_reads_is_read(directory: Path) -> None:
    found = decode_metadata((directory / ".metadata").read_bytes(), "step/.metadata")
    said = json.loads((directory / "said.json").read_text())
    assert len(found) == len(said) > 4
    for item, row in zip(found, said, strict=True):
        is_sharded = row["tensor"] == "model.layer.weight"
        place = f"[{row['begins'][0]},{row['begins'][1]}]" if is_sharded else ""
        assert item.name == row["tensor"] + place
        assert item.part_of == (row["tensor"] if is_sharded else "")
        assert item.unit == f"step/{row['file']}"
        assert (item.start, item.end) == (row["start"], row["start"] + row["length"])
        assert list(item.transforms) == row["transforms"]
        assert item.dtype == row.get("dtype", "").removeprefix("torch.")
        assert list(item.shape) == row.get("shape", [])
        assert item.content is TensorContent.ITEM


@pytest.mark.parametrize("directory", MADE, ids=lambda path: path.name)
def test_the_bytes_of_an_item_are_an_archive_of_torch_save(directory: Path) -> None:
    for item in decode_metadata((directory / ".metadata").read_bytes(), ".metadata"):
        content = (directory / item.unit).read_bytes()[item.start : item.end]
        if item.transforms:
            content = zstandard.ZstdDecompressor().decompressobj().decompress(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            assert any(name.endswith("/data.pkl") for name in archive.namelist())


def test_other_versions_have_other_fields() -> None:
    data = metadata(
        {index("w", Size((0, 0))): info(), index("o"): info(offset=8, transform_descriptors=None)},
        {"w": tensor((2, 1), ((0, 0), (2, 1))), "o": BytesStorageMetadata(), 7: None},
        version="9",
        planner_data={("w",): [object()]},
    )
    weight, other = decode_metadata(data, ".metadata")
    assert (weight.name, weight.dtype, weight.shape) == ("w", "float32", (2, 1))
    assert (other.name, other.dtype, other.shape, other.start) == ("o", "", (), 8)


def test_dictionaries_may_be_of_classes_of_their_own() -> None:
    data = metadata(OrderedDict({index("w"): info()}), OrderedDict({"w": tensor((3,))}))
    (item,) = decode_metadata(data, ".metadata")
    assert (item.name, item.dtype, item.shape) == ("w", "float32", (3,))
    assert decode_metadata(metadata(OrderedDict()), ".metadata") == ()


def test_what_is_said_of_a_tensor_may_be_missing() -> None:
    (item,) = decode_metadata(metadata({index("w", (4,)): info()}), ".metadata")
    assert (item.name, item.dtype, item.shape) == ("w", "", ())


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no pickle"),
        (pickle.dumps({}), "in place of an object of class Metadata"),
        (pickle.dumps(MetadataIndex()), "in place of an object of class Metadata"),
        (metadata(None), "in place of a dictionary"),
        (metadata([]), "in place of a dictionary"),
        (metadata({}, [1]), "in place of a dictionary"),
        (metadata({1: info()}), "in place of an object of class MetadataIndex"),
        (metadata({index("w"): 1}), "in place of an object of class _StorageInfo"),
        (metadata({index(1): info()}), "in place of a name"),
        (metadata({index("\ud800"): info()}), "halves of characters"),
        (metadata({index("w" * 5000): info()}), "a name has 5000 characters"),
        (metadata({index("w"): info("../w")}), "leads out of the version's directory"),
        (metadata({index("w"): info("/w")}), "leads out of the version's directory"),
        (metadata({index("w"): info("")}), "a path of 0 bytes"),
        (metadata({index("w"): info(offset=-1)}), "in place of a length"),
        (metadata({index("w"): info(length=2**63)}), "in place of a length"),
        (metadata({index("w"): info(length=True)}), "in place of a length"),
        (metadata({index("w"): info(length=2**62)}), "ends behind any file"),
        (metadata({index("w"): info(transform_descriptors="zstd")}), "no short list"),
        (metadata({index("w"): info(transform_descriptors=["z"] * 17)}), "no short list"),
        (
            metadata({index("w"): info(**{f"field_{number}": 0 for number in range(62)})}),
            "a dictionary has more than 64 items",
        ),
        (metadata({index("w", 3): info()}), "no short list of numbers"),
        (metadata({index("w", (0,) * 65): info()}), "no short list of numbers"),
        (metadata({index("w", ("0",)): info()}), "in place of a length"),
        (metadata({index("w"): info(), index("w"): info()}), "has an item twice"),
        (metadata({}, {"w": TensorStorageMetadata(chunks=1)}), "no list of chunks"),
        (metadata({}, {"w": TensorStorageMetadata(chunks=[])}), "has no type"),
        (metadata({}, {"w": TensorStorageMetadata(chunks=[1])}), "has no type"),
    ],
)
def test_what_cannot_be_is_refused(data: bytes, problem: str) -> None:
    with pytest.raises(InvalidFormat, match=problem) as refused:
        decode_metadata(data, ".metadata")
    assert "is no metadata of PyTorch DCP" in refused.value.problem


def test_more_than_a_bound_is_not_looked_at() -> None:
    with pytest.raises(InvalidFormat, match="more than 33554432"):
        decode_metadata(bytes(METADATA_BYTES_MAX + 1), ".metadata")


def test_chunks_that_many_tensors_share_are_counted_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dcp_metadata, "_CHUNKS_MAX", 1000)
    shared = tensor((1,), *[((0,), (1,))])
    (chunk,) = shared.__dict__["chunks"]
    shared.__dict__["chunks"] = [chunk] * 20
    state = {f"w{number}": shared for number in range(100)}
    with pytest.raises(InvalidFormat, match="more than 1000 chunks"):
        decode_metadata(metadata({}, state), ".metadata")


def test_texts_that_many_items_share_are_counted_for_each() -> None:
    name = "w" * 4000
    items = {index(name, (number,)): info() for number in range(2000)}
    data = metadata(items)
    tracemalloc.start()
    try:
        with pytest.raises(InvalidFormat, match="many times as long as itself"):
            decode_metadata(data, ".metadata")
        assert tracemalloc.get_traced_memory()[1] < 100 * len(data)
    finally:
        tracemalloc.stop()
