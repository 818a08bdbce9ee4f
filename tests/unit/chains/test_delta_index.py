"""The index of a delta version, as slime and ModelExpress write it, and as nobody should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ckptd.chains import delta_index
from ckptd.chains.delta_index import (
    DeltaIndex,
    check_applicable,
    read_delta_index,
    tensor_sums,
)
from ckptd.errors import InvalidFormat
from ckptd.limits import VERSION_MAX
from ckptd.model.ids import Version

SLIME = {
    "version": "000042",
    "base_version": "000041",
    "delta_encoding": "xor",
    "compression_format": "zstd",
    "checksum_format": "xxh3-128",
}
FILES = {"layers.0.weight": "model-00000-of-00001.safetensors"}


def index(files: object = FILES, **metadata: object) -> bytes:
    kept = {key: value for key, value in {**SLIME, **metadata}.items() if value is not None}
    return json.dumps({"metadata": kept, "weight_map": files}).encode()


def test_the_index_that_slime_writes_is_read() -> None:
    read = read_delta_index(index())
    assert read == DeltaIndex(Version(42), Version(41), "xor", "zstd", "xxh3-128", FILES)
    check_applicable(read)


@pytest.mark.parametrize(
    "metadata",
    [
        {"version": 42, "base_version": 41},
        {"delta_encoding": "overwrite"},
        {"checksum_format": "adler32"},
        {"checksum_format": "blake3"},
        {"compression_format": "none"},
        {"compression_format": None},
        {"total_size": 17, "anything": {"else": [1, None]}},
    ],
)
def test_what_others_write_is_read_and_can_be_applied(metadata: dict[str, Any]) -> None:
    read = read_delta_index(index(**metadata))
    assert read is not None
    assert (read.version, read.base) == (42, 41)
    check_applicable(read)


def test_a_version_in_which_no_tensor_changed_is_one() -> None:
    read = read_delta_index(index(files={}))
    assert read is not None
    assert read.files == {}


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"weight_map": {"a": "m.safetensors"}}',
        b'{"metadata": {"total_size": 8}, "weight_map": {"a": "../m.safetensors"}}',
        b'{"metadata": null}',
        b'{"metadata": ["delta_encoding"]}',
        b'{"metadata": {"version": "1", "base_version": "x", "checksum_format": "adler32"}}',
    ],
)
def test_an_ordinary_index_is_none(content: bytes) -> None:
    assert read_delta_index(content) is None


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"version": None}, "does not say version"),
        ({"base_version": None}, "does not say base_version"),
        ({"version": "step-42"}, "version = 'step-42', which is no version number"),
        ({"version": True}, "version = 'True'"),
        ({"version": 42.0}, "version = '42.0'"),
        ({"version": "\uff14\uff12"}, "version = "),
        ({"version": -1}, "version = '-1'"),
        ({"version": VERSION_MAX + 1}, "which is no version number"),
        ({"version": "9" * 4000}, "which is no version number"),
        ({"base_version": 42}, "is a delta on 42, which is no earlier one"),
        ({"base_version": 43}, "is a delta on 43, which is no earlier one"),
        ({"delta_encoding": ""}, "delta_encoding = ''"),
        ({"delta_encoding": ["xor"]}, "which is no word"),
        ({"delta_encoding": "x" * 33}, "which is no word"),
        ({"compression_format": 1}, "compression_format = '1'"),
        ({"checksum_format": False}, "checksum_format = 'False'"),
    ],
)
def test_a_delta_that_does_not_say_on_what_is_refused(
    metadata: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidFormat, match="publish a full one") as caught:
        read_delta_index(
            json.dumps(
                {"metadata": {**SLIME, **metadata}, "weight_map": FILES}, ensure_ascii=False
            ).encode()
        )
    assert problem in caught.value.problem


@pytest.mark.parametrize(
    "file",
    ["../m.safetensors", "a/m.safetensors", "/m.safetensors", ".safetensors", "m.bin", "", "a\n"],
)
def test_a_tensor_elsewhere_than_in_a_file_beside_is_refused(file: str) -> None:
    with pytest.raises(InvalidFormat, match="puts tensor 'a' into"):
        read_delta_index(index(files={"a": file}))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"\xff", b"[" * 10**5, index(files=["a"]), index(files={"a": 1})]
)
def test_what_is_no_index_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidFormat, match="cannot be read"):
        read_delta_index(content)


def test_an_index_is_bounded_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_delta_index(index()) is not None
    monkeypatch.setattr(delta_index, "_VALUES_MAX", 3)
    with pytest.raises(InvalidFormat, match="more than 3 values"):
        read_delta_index(index())
    monkeypatch.setattr(delta_index, "INDEX_BYTES_MAX", 10)
    with pytest.raises(InvalidFormat, match="more than 10"):
        read_delta_index(index())


@pytest.mark.parametrize(
    ("metadata", "problem"),
    [
        ({"delta_encoding": "newer"}, "is encoded by 'newer'; known here are overwrite, xor"),
        ({"compression_format": "lz4"}, "is compressed by 'lz4'"),
        ({"checksum_format": "crc32"}, "is checked by 'crc32'"),
        ({"checksum_format": None}, "does not say by which sums"),
    ],
)
def test_what_is_not_known_here_is_carried_and_not_applied(
    metadata: dict[str, Any], problem: str
) -> None:
    read = read_delta_index(index(**metadata))
    assert read is not None
    assert (read.version, read.base) == (42, 41)
    with pytest.raises(InvalidFormat, match="recover a full version") as caught:
        check_applicable(read)
    assert problem in caught.value.problem


def test_the_sums_of_tensors_are_in_the_header_of_their_file() -> None:
    header = {
        "__metadata__": {"a": "0A1B", "format": "AB"},
        "a": {"dtype": "U8", "shape": [3], "data_offsets": [0, 3]},
    }
    assert tensor_sums(json.dumps(header).encode(), "m.safetensors") == {
        "a": "0a1b",
        "format": "ab",
    }
    assert tensor_sums(b"{}", "m.safetensors") == {}


@pytest.mark.parametrize(
    "header", [b"", b"[]", b'{"__metadata__": {"a": 1}}', b'{"__metadata__": []}', b"\xff"]
)
def test_a_header_that_cannot_be_read_is_refused(header: bytes) -> None:
    with pytest.raises(InvalidFormat, match="cannot be read"):
        tensor_sums(header, "m.safetensors")


@pytest.mark.parametrize("digits", ["", "xyz", "0" * 129, "0 1", "\uff11"])
def test_a_sum_that_is_none_is_refused(digits: str) -> None:
    header = json.dumps({"__metadata__": {"a": digits}}).encode()
    with pytest.raises(InvalidFormat, match="gives tensor 'a' the sum"):
        tensor_sums(header, "m.safetensors")
