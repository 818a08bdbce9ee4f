"""Headers of safetensors files: read as the reference library reads them, and refused as by it."""

from __future__ import annotations

import json
from typing import Any

import numpy
import pytest
import safetensors
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from ckptd.errors import InvalidFormat
from ckptd.model.formats.safetensors_header import (
    HEADER_BYTES_MAX,
    decode_header,
    values_start,
)
from ckptd.model.formats.tensors import Tensor
from ckptd.model.words import TensorContent

UNIT = "model.safetensors"
ENTRY = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}

ONLY_OF_THE_FORMAT = {"does not begin with '{'", "a name comes twice"}
"""The library does not always insist on it."""


def read(content: bytes) -> tuple[Tensor, ...]:
    at = values_start(content[:8], UNIT, len(content))
    return decode_header(content[8:at], UNIT, len(content))


def written(header: bytes, values: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + values


def document(entries: object, values: bytes = bytes(4)) -> bytes:
    return written(json.dumps(entries).encode(), values)


def is_read_by_the_library(content: bytes) -> bool:
    try:
        safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError:
        return False
    return True


@st.composite
def arrays(draw: st.DrawFn) -> numpy.ndarray[Any, Any]:
    dtype = draw(st.sampled_from(["uint8", "int16", "float16", "float32", "int64", "bool"]))
    shape = draw(st.lists(st.integers(0, 4), max_size=3))
    count = int(numpy.prod(shape))
    return numpy.arange(count).astype(dtype).reshape(shape)


@given(st.dictionaries(st.text(max_size=20).filter(lambda name: name != "__metadata__"), arrays()))
def test_what_the_library_writes_is_read_bit_for_bit(
    tensors: dict[str, numpy.ndarray[Any, Any]],
) -> None:
    content = save(tensors, metadata={"format": "np"})
    found = read(content)
    assert {tensor.name for tensor in found} == set(tensors)
    for tensor in found:
        expected = tensors[tensor.name]
        assert content[tensor.start : tensor.end] == expected.tobytes()
        assert tensor.shape == expected.shape
        assert (tensor.unit, tensor.content) == (UNIT, TensorContent.VALUES)
    assert [tensor.start for tensor in found] == sorted(tensor.start for tensor in found)
    assert load(content).keys() == tensors.keys()


_NUMBERS = st.one_of(st.integers(-1, 9), st.just(2**63), st.just(0.5), st.none(), st.booleans())
_ENTRIES = st.dictionaries(
    st.sampled_from(["a", "b", "c", "__metadata__", "\ud800"]),
    st.one_of(
        st.none(),
        st.dictionaries(st.text(max_size=1), st.one_of(st.text(max_size=1), st.integers(0, 1))),
        st.fixed_dictionaries(
            {
                "dtype": st.sampled_from(["U8", "F4", "F6_E2M3", "I16", "BF16", "F8_E8M0", ""]),
                "shape": st.lists(_NUMBERS, max_size=3),
                "data_offsets": st.lists(_NUMBERS, min_size=1, max_size=3),
            },
            optional={"more": st.just(1)},
        ),
        st.builds(  # most of the others are refused at once
            lambda start, length: {
                "dtype": "U8",
                "shape": [length],
                "data_offsets": [start, start + length],
            },
            st.integers(0, 4),
            st.integers(0, 4),
        ),
    ),
    max_size=3,
)


@given(_ENTRIES, st.integers(0, 8), st.sampled_from([b"", b"  ", b"\n", b"x"]))
def test_whatever_the_library_refuses_is_refused(
    entries: object, count: int, padding: bytes
) -> None:
    content = written(json.dumps(entries).encode() + padding, bytes(count))
    try:
        found = read(content)
    except InvalidFormat:
        return
    assert is_read_by_the_library(content)
    assert all(8 < tensor.start <= tensor.end <= len(content) for tensor in found)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "has 0 bytes"),
        (b"1234567", "has 7 bytes"),
        (b"\xff" * 9, "bytes of header in 9 bytes"),
        ((3).to_bytes(8, "little") + b"{}", "3 bytes of header in 10 bytes"),
        (written(b"{"), "1 bytes of header"),
        (written(b"[]"), "does not begin with '{'"),
        (written(b"  {}"), "does not begin with '{'"),
        (written(b"{}}"), "cannot be read"),
        (written(b'{"a":' * 100_000), "cannot be read"),
        (written(b'{"\xff": {}}'), "cannot be read"),
        (written(b'{"a": {"dtype": "U8", "shape": [NaN], "data_offsets": [0, 0]}}'), "NaN"),
        (written(b'{"a": ' + b"9" * 5000 + b"}"), "cannot be read"),
        (document({"\ud800": ENTRY}), "cannot be read"),
        (document({"a": None}), "cannot be read"),
        (document({"a": [ENTRY]}), "cannot be read"),
        (document({"a": ENTRY, "__metadata__": {"a": 1}}), "cannot be read"),
        (document({"a": ENTRY | {"shape": [True]}}), "cannot be read"),
        (document({"a": ENTRY | {"shape": [-1]}}), "cannot be read"),
        (document({"a": ENTRY | {"shape": [1] * 65}}), "cannot be read"),
        (document({"a": ENTRY | {"data_offsets": [0, 4, 4]}}), "cannot be read"),
        (document({"a": ENTRY | {"shape": [3]}}), "another length than its shape"),
        (document({"a": ENTRY | {"shape": [2**62, 2**62, 0]}}), "another length"),
        (document({"a": ENTRY | {"data_offsets": [4, 0]}}), "does not begin where"),
        (document({"a": ENTRY | {"shape": [5], "data_offsets": [0, 5]}}), "ends behind the file"),
        (document({"a": ENTRY, "b": ENTRY}), "does not begin where the one before it ends"),
        (
            document({"a": ENTRY, "b": ENTRY | {"data_offsets": [5, 9]}}, bytes(9)),
            "does not begin where the one before it ends",
        ),
        (document({"a": ENTRY}, bytes(5)), "end 1 bytes before it does"),
        (document({}, bytes(2)), "end 2 bytes before it does"),
        (document({"a": ENTRY | {"dtype": "F4"}}), "another length than its shape"),
        (
            written(b'{"a": %b, "a": %b}' % ((json.dumps(ENTRY).encode(),) * 2), bytes(4)),
            "a name comes twice",
        ),
        (
            written(b'{"a": {"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
            "a name comes twice",
        ),
    ],
)  # fmt: skip
def test_what_is_none_is_refused_as_the_library_does(content: bytes, problem: str) -> None:
    with pytest.raises(InvalidFormat, match=problem) as refused:
        read(content)
    assert refused.value.subject == "'model.safetensors'"
    if problem not in ONLY_OF_THE_FORMAT:
        assert not is_read_by_the_library(content)


def test_a_header_that_says_it_is_long_is_not_waited_for() -> None:
    prefix = (HEADER_BYTES_MAX + 1).to_bytes(8, "little")
    with pytest.raises(InvalidFormat, match="its header has 33554433 bytes, more than 33554432"):
        values_start(prefix, UNIT, 2**40)
    assert values_start(HEADER_BYTES_MAX.to_bytes(8, "little"), UNIT, 2**40) == HEADER_BYTES_MAX + 8


def test_values_are_counted_before_any_is_made() -> None:
    header = b'{"a": [' + b"0," * 2**21 + b"0]}"
    with pytest.raises(InvalidFormat, match="has more than 2097152 values"):
        read(written(header))


def test_a_type_that_is_not_known_is_believed_its_length() -> None:
    (tensor,) = read(document({"a": ENTRY | {"dtype": "F3_NEW", "shape": [7]}}))
    assert (tensor.dtype, tensor.shape, tensor.end - tensor.start) == ("F3_NEW", (7,), 4)


def test_parts_of_bytes_count() -> None:
    (tensor,) = read(document({"a": ENTRY | {"dtype": "F4", "shape": [2, 4]}}))
    assert tensor.shape == (2, 4)


def test_a_file_without_tensors_has_none() -> None:
    assert read(written(b"{}")) == ()
    assert read(written(b'{"__metadata__":{"format":"pt"}}   ')) == ()
