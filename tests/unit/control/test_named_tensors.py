"""Tensors are found by their names, with no more read than their headers."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import save

from ckptd.control.messages.prioritized import NeedBytes, NeedEvent, NeedRequest, NeedResult
from ckptd.control.named_tensors import NamedTensors, find_tensor, open_tensors
from ckptd.control.range_reader import RangeReader
from ckptd.errors import Conflict, InvalidFormat, NotFound, UsageError

TARGET = "/data/llama/1200"
LAYERS = {f"layers.{at}": numpy.full(1000, at, dtype="int32") for at in range(4)}
WHOLE = save(LAYERS)
SHARDS = {
    "a/model-1.safetensors": save({name: LAYERS[name] for name in ("layers.0", "layers.1")}),
    "a/model-2.safetensors": save({name: LAYERS[name] for name in ("layers.2", "layers.3")}),
}
INDEX = {
    "weight_map": {
        **dict.fromkeys(("layers.0", "layers.1"), "model-1.safetensors"),
        **dict.fromkeys(("layers.2", "layers.3"), "model-2.safetensors"),
    }
}
(DCP,) = (Path(__file__).parents[1] / "model/formats/dcp").glob("plain-*")


class StandIn:
    """A version that is away; what is read of it is written down."""

    def __init__(self, units: Mapping[str, bytes], checkpoint: str = "llama") -> None:
        self.units = dict(units)
        self.digests = dict.fromkeys(units, "1" * 64)
        self.checkpoint = checkpoint
        self.read: list[tuple[str, int, int]] = []

    def open_range(self, path: str) -> RangeReader:
        return RangeReader(self.need, path)

    def need(self, request: NeedRequest) -> Iterator[NeedEvent | bytes]:
        unit = request.path.removeprefix(f"{TARGET}/").removeprefix(f"{self.checkpoint}:")
        if unit not in self.units:
            raise NotFound(f"unit {unit!r}", "is of no running recovery")
        if request.digest not in {"", self.digests[unit]}:
            raise Conflict(f"unit {unit!r}", "is another one by now")
        content, start = self.units[unit], request.offset or 0
        end = len(content) if request.length is None else start + request.length
        assert 0 <= start <= end <= len(content)
        if request.with_bytes and start < end:
            self.read.append((unit, start, end))
            yield NeedBytes(offset=start, size_bytes=end - start)
            yield content[start:end]
        yield NeedResult(
            recovery="01J9",
            unit=unit,
            path="",
            is_placed=False,
            stands_at=posixpath.join(TARGET, unit),
            unit_bytes=len(content),
            digest=self.digests[unit],
        )


def header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def test_of_a_file_only_the_header_and_the_tensor_are_read() -> None:
    daemon = StandIn({"m.safetensors": WHOLE})
    tensors = NamedTensors(daemon.open_range, "llama:m.safetensors")
    assert tensors.read("layers.2") == LAYERS["layers.2"].tobytes()
    tensor = tensors.named("layers.2")
    read = [(0, 8), (8, header_end(WHOLE)), (tensor.start, tensor.end)]
    assert daemon.read == [("m.safetensors", *each) for each in read]
    assert {each.name for each in tensors.listed()} == set(LAYERS)
    assert len(daemon.read) == 3
    with pytest.raises(NotFound, match=r"'layers.9' of m.safetensors: is not in it. Similar: 'lay"):
        tensors.read("layers.9")


def test_a_range_of_a_tensor_is_read_and_none_beside_it() -> None:
    tensors = NamedTensors(StandIn({"m.safetensors": WHOLE}).open_range, "m.safetensors")
    expected = LAYERS["layers.1"].tobytes()
    assert b"".join(tensors.pieces("layers.1", 10, 20)) == expected[10:30]
    assert b"".join(tensors.pieces("layers.1", 3990)) == expected[3990:]
    assert b"".join(tensors.pieces("layers.1", 4000)) == b""
    for wrong in ((4001, None), (0, 4001), (-1, 4), (4, -1)):
        with pytest.raises(UsageError, match=r"of tensor 'layers.1': are not there: it has 4000"):
            tensors.pieces("layers.1", *wrong)


def test_an_index_says_which_file_a_tensor_is_in() -> None:
    index = json.dumps(INDEX).encode()
    daemon = StandIn({**SHARDS, "a/model.safetensors.index.json": index})
    tensors = NamedTensors(daemon.open_range, "llama:a/model.safetensors.index.json")
    assert tensors.read("layers.3") == LAYERS["layers.3"].tobytes()
    assert {unit for unit, *_ in daemon.read} == {
        "a/model.safetensors.index.json", "a/model-2.safetensors",
    }  # fmt: skip
    assert [(each.unit, each.name) for each in tensors.listed()] == [
        ("a/model-1.safetensors", "layers.0"), ("a/model-1.safetensors", "layers.1"),
        ("a/model-2.safetensors", "layers.2"), ("a/model-2.safetensors", "layers.3"),
    ]  # fmt: skip
    with pytest.raises(NotFound, match="Similar"):
        tensors.named("layers")


@pytest.mark.parametrize(
    ("file", "error", "problem"),
    [
        ("../other", InvalidFormat, "leads out of the version's directory"),
        ("/etc/passwd", InvalidFormat, "leads out of the version's directory"),
        ("gone.safetensors", NotFound, "is of no running recovery"),
        ("i.index.json", InvalidFormat, "is no safetensors file"),
        ("other.safetensors", NotFound, "is not in it"),
    ],
)
def test_an_index_that_lies_leads_nowhere(file: str, error: type[Exception], problem: str) -> None:
    index = json.dumps({"weight_map": {"layers.0": file}}).encode()
    daemon = StandIn({"i.index.json": index, "other.safetensors": save({})})
    tensors = NamedTensors(daemon.open_range, "i.index.json")
    with pytest.raises(error, match=problem):
        tensors.read("layers.0")


def test_an_index_that_is_too_long_is_not_read() -> None:
    daemon = StandIn({"i.index.json": bytes(32 * 2**20 + 1)})
    with pytest.raises(InvalidFormat, match="has 33554433 bytes, more than 33554432"):
        NamedTensors(daemon.open_range, "i.index.json").listed()
    assert daemon.read == []


def dcp(prefix: str = "dcp/") -> StandIn:
    names = (".metadata", "__0_0.distcp", "__1_0.distcp")
    return StandIn({f"{prefix}{name}": (DCP / name).read_bytes() for name in names})


@pytest.mark.parametrize("prefix", ["dcp/", ""])
def test_an_item_of_dcp_is_read_from_the_file_that_has_it(prefix: str) -> None:
    daemon = dcp(prefix)
    tensors = NamedTensors(daemon.open_range, f"llama:{prefix}.metadata")
    (row,) = (
        row for row in json.loads((DCP / "said.json").read_text())
        if row["tensor"] == "model.layer.weight" and row["begins"] == [3, 0]
    )  # fmt: skip
    content = (DCP / row["file"]).read_bytes()
    start, end = row["start"], row["start"] + row["length"]
    assert tensors.read("model.layer.weight[3,0]") == content[start:end]
    assert daemon.read[1:] == [(f"{prefix}{row['file']}", start, end)]
    with pytest.raises(UsageError, match="is stored in 2 parts"):
        tensors.read("model.layer.weight")


def test_an_item_that_is_said_to_be_behind_the_end_of_its_file_is_not_asked_for() -> None:
    daemon = dcp()
    daemon.units["dcp/__1_0.distcp"] = b"short"
    tensors = NamedTensors(daemon.open_range, "dcp/.metadata")
    with pytest.raises(InvalidFormat, match="is said to end at"):
        tensors.read("step")


def test_files_are_of_one_version() -> None:
    daemon = dcp()
    tensors = NamedTensors(daemon.open_range, "dcp/.metadata")
    assert len(tensors.listed()) > 4
    daemon.digests = dict.fromkeys(daemon.units, "2" * 64)  # another version has its place
    with pytest.raises(Conflict, match=r"'dcp/.metadata': is another one by now"):
        tensors.read("step")


def test_a_checkpoint_alone_is_looked_for_where_tensors_usually_are() -> None:
    index = json.dumps(INDEX).encode()
    usual = {"model.safetensors": WHOLE, ".metadata": b"", "model.safetensors.index.json": index}
    for unit in ("model.safetensors.index.json", "model.safetensors", ".metadata"):
        assert open_tensors(StandIn(usual).open_range, "llama").unit == unit
        del usual[unit]
    with pytest.raises(NotFound, match="unit 'llama': is of no"):
        open_tensors(StandIn(usual).open_range, "llama")
    for text in ("llama:", "llama:x", "/data/x"):
        with pytest.raises(NotFound):
            open_tensors(StandIn({"model.safetensors": WHOLE}).open_range, text)
    versioned = StandIn({"model.safetensors": WHOLE}, "llama@7")
    assert open_tensors(versioned.open_range, "llama@7").unit == "model.safetensors"


def meant(daemon: StandIn, text: str) -> tuple[str, str] | None:
    found = find_tensor(daemon.open_range, text)
    return None if found is None else (found[0].unit, found[1])


def test_the_longest_unit_that_is_there_is_meant() -> None:
    daemon = StandIn({"m": WHOLE, "m#a": WHOLE, "m#a#b": WHOLE, "model.safetensors": WHOLE})
    assert meant(daemon, "llama:m") is None
    assert meant(daemon, "llama:m#a#b") is None
    assert meant(daemon, "llama:m#a#b#c") == ("m#a#b", "c")
    assert meant(daemon, "llama:m#a#c") == ("m#a", "c")
    assert meant(daemon, "m#b#c") == ("m", "b#c")
    assert meant(daemon, f"{TARGET}/m#c") == ("m", "c")
    assert meant(daemon, "llama#m#c") == ("model.safetensors", "m#c")
    assert meant(daemon, "m#:w:0-1") == ("m", ":w:0-1")
    with pytest.raises(NotFound, match="unit 'n'"):
        meant(daemon, "llama:n#a")
    assert daemon.read == [], "to know which unit is meant no byte of it is needed"
