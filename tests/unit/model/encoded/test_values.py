"""Where values end: msgspec is asked what they are, and has to agree."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import InvalidManifest
from ckptd.model.encoded.values import array_at, byte_string_end, map_at, value_end

NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(max_size=300)
    | st.binary(max_size=300),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=50,
)
EXTENSIONS = [1, 2, 4, 8, 16, 3, 300, 70_000]
LONG = [bytes(70_000), "x" * 70_000, [0] * 70_000, {str(n): 0 for n in range(70_000)}]


@given(NESTED, st.binary(max_size=3))
def test_a_value_ends_where_it_was_encoded_to(value: object, behind: bytes) -> None:
    encoded = msgspec.msgpack.encode(value)
    data = memoryview(encoded + behind)
    assert value_end(data, 0, len(data)) == len(encoded)
    assert value_end(memoryview(b"\x00" + data), 1, 1 + len(data)) == 1 + len(encoded)


@pytest.mark.parametrize("value", [*LONG, *(msgspec.msgpack.Ext(5, bytes(n)) for n in EXTENSIONS)])
def test_a_long_value_ends_where_it_was_encoded_to(value: object) -> None:
    data = memoryview(msgspec.msgpack.encode(value))
    assert value_end(data, 0, len(data)) == len(data)
    with pytest.raises(InvalidManifest, match="more in one place"):
        value_end(data, 0, len(data) - 1)
    with pytest.raises(InvalidManifest, match="cut off"):
        value_end(data[:-1], 0, len(data))


def test_a_byte_that_begins_no_value_is_refused() -> None:
    with pytest.raises(InvalidManifest, match="begins no value"):
        value_end(memoryview(b"\xc1"), 0, 1)


@pytest.mark.parametrize(
    ("encoded", "array", "pairs"),
    [
        (b"\x93", (3, 1), None),
        (b"\xdc\x01\x00", (256, 3), None),
        (b"\xdd\x00\x01\x00\x00", (65_536, 5), None),
        (b"\x83", None, (3, 1)),
        (b"\xde\x01\x00", None, (256, 3)),
        (b"\xdf\x00\x01\x00\x00", None, (65_536, 5)),
        (b"\xa0", None, None),
        (b"\x00", None, None),
        (b"\xc4", None, None),
    ],
)
def test_containers_say_how_much_they_claim_to_have(
    encoded: bytes, array: tuple[int, int] | None, pairs: tuple[int, int] | None
) -> None:
    assert (array_at(memoryview(encoded), 0), map_at(memoryview(encoded), 0)) == (array, pairs)


@pytest.mark.parametrize("encoded", [b"", b"\xdc", b"\xdd\x00\x00\x00"])
def test_a_container_that_is_cut_off_is_refused(encoded: bytes) -> None:
    with pytest.raises(InvalidManifest, match="cut off"):
        array_at(memoryview(encoded), 0)


@pytest.mark.parametrize("size", [0, 255, 256, 65_536])
def test_a_byte_string_ends_where_it_was_encoded_to(size: int) -> None:
    data = memoryview(msgspec.msgpack.encode(bytes(size)) + b"\x00")
    assert byte_string_end(data, 0) == len(data) - 1
    assert byte_string_end(data, len(data) - 1) is None
    assert byte_string_end(data, len(data)) is None
    with pytest.raises(InvalidManifest, match="cut off"):
        byte_string_end(data[: max(size, 1)], 0)
