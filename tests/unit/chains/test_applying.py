from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.chains.applying import Change, Differing, Overwriting
from ckptd.errors import InvalidFormat


class Content:
    """Reads bytes from their beginning, as a stream of decompressed ones is read."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def read(self, count: int) -> bytes:
        start, self._at = self._at, min(self._at + count, len(self._content))
        return self._content[start : self._at]


def overwriting(delta: bytes, tensor_bytes: int) -> Overwriting:
    return Overwriting(Content(delta).read, Content(delta).read, "w", tensor_bytes)


def differing(delta: bytes) -> Differing:
    return Differing(Content(delta).read, "w")


def xor_of(base: bytes, new: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(base, new, strict=True))


def overwrite_of(base: bytes, new: bytes) -> bytes:
    places = [at for at in range(len(new)) if base[at] != new[at]]
    values = bytes(new[at] for at in places)
    return numpy.array([len(places), *places], "<u4").tobytes() + values


def applied(change: Change, base: bytes, slice_bytes: int) -> bytes:
    content = memoryview(bytearray(base))
    for start in range(0, len(base), slice_bytes):
        change.apply(content[start : start + slice_bytes])
    change.finish()
    return bytes(content)


contents = st.binary(max_size=300).flatmap(
    lambda base: st.tuples(st.just(base), st.binary(min_size=len(base), max_size=len(base)))
)


@given(contents, st.integers(1, 320))
def test_applying_gives_the_new_tensor_whatever_the_slices_are(
    versions: tuple[bytes, bytes], slice_bytes: int
) -> None:
    base, new = versions
    assert applied(differing(xor_of(base, new)), base, slice_bytes) == new
    change = overwriting(overwrite_of(base, new), len(base))
    assert applied(change, base, slice_bytes) == new


def test_many_changes_are_read_bit_by_bit() -> None:
    base, new = bytes(300_000), bytes([1]) * 300_000
    assert applied(overwriting(overwrite_of(base, new), len(base)), base, 70_000) == new


@pytest.mark.parametrize("delta", [b"\1" * 9, b"\1" * 11], ids=["short", "long"])
def test_a_difference_of_another_length_is_refused(delta: bytes) -> None:
    with pytest.raises(InvalidFormat, match="end"):
        applied(differing(delta), bytes(10), 4)


@pytest.mark.parametrize(
    ("delta", "problem"),
    [
        (b"\1\0", "changes 1 of 10"),
        (b"\x0b\0\0\0", "changes 11 of 10"),
        (numpy.array([2, 3, 3], "<u4").tobytes() + b"ab", "ascend"),
        (numpy.array([2, 4, 3], "<u4").tobytes() + b"ab", "ascend"),
        (numpy.array([1, 10], "<u4").tobytes() + b"a", "behind its end"),
        (numpy.array([2, 3], "<u4").tobytes(), "ends within"),
        (numpy.array([2, 3, 4], "<u4").tobytes() + b"a", "ends within"),
        (numpy.array([1, 4], "<u4").tobytes() + b"ab", "goes on"),
    ],
    ids=["no count", "too many", "twice", "back", "behind", "no places", "no values", "more"],
)
def test_what_cannot_be_of_this_tensor_is_refused(delta: bytes, problem: str) -> None:
    with pytest.raises(InvalidFormat, match=problem):
        applied(overwriting(delta, 10), bytes(10), 4)
