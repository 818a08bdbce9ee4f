import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import ProtocolViolation
from ckptd.wire.byte_ranges import (
    ByteRange,
    format_content_range,
    format_range,
    parse_content_range,
    parse_range,
)

SIZES = st.integers(0, 2**62)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 1000)),
        ("bytes=0-0", (0, 1)),
        ("bytes=999-999", (999, 1000)),
        ("bytes=999-", (999, 1000)),
        ("bytes=5-99", (5, 100)),
        ("bytes=0-1000", (0, 1000)),
        (f"bytes=1-{10**19 - 1}", (1, 1000)),
        ("bytes=-1", (999, 1000)),
        ("bytes=-1000", (0, 1000)),
        ("bytes=-1001", (0, 1000)),
        ("BYTES=007-8", (7, 9)),
    ],
)
def test_a_range_is_read(value: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(value, 1000) == expected


@pytest.mark.parametrize(
    "value",
    [
        "", "bytes", "bytes=", "bytes=-", "bytes=--1", "bytes=5-2", "bytes=a-b", "bytes=0x1-2",
        "bytes=0-0,2-3", "bytes=0-,", ",bytes=0-1", "bytes=0-0, 0-0", "bytes=1 - 2", " bytes=0-1",
        "bytes=0-1 ", "bytes =0-1", "bytes= 0-1", "bytes=+0-1", "bytes=0-1-2", "bytes=1.0-2",
        "bytes=1e3-", "bytes=-1-2", "items=0-1", "bytes:0-1", f"bytes=0-{2**64}",
        f"bytes={2**64}-", f"bytes=-{2**64}", f"bytes={'9' * 5000}-",
        "bytes=\u0660-\u0661", "bytes=0-1\n", "bytes=0-1\0",
    ],
)  # fmt: skip
def test_a_range_that_is_none_is_answered_400(value: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse_range(value, 1000)
    assert refused.value.status == 400
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("value", ["bytes=1000-", "bytes=1000-1000", "bytes=-0", "bytes=5000-6000"])
def test_a_range_past_the_end_is_answered_416(value: str) -> None:
    with pytest.raises(ProtocolViolation, match="1000 bytes") as refused:
        parse_range(value, 1000)
    assert refused.value.status == 416


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"])
def test_nothing_has_no_range(value: str) -> None:
    with pytest.raises(ProtocolViolation) as refused:
        parse_range(value, 0)
    assert refused.value.status == 416


def test_several_ranges_are_refused_in_words() -> None:
    with pytest.raises(ProtocolViolation, match="one range per request"):
        parse_range("bytes=0-0,2-3", 1000)


@given(st.integers(0, 2**62), st.integers(1, 2**62))
def test_a_range_is_read_as_it_was_written(start: int, length: int) -> None:
    byte_range = ByteRange(start, start + length)
    assert parse_range(format_range(byte_range), start + length) == byte_range
    assert byte_range.size_bytes == length
    written = format_content_range(byte_range, start + length + 1)
    assert parse_content_range(written) == (byte_range, start + length + 1)


def test_the_field_of_an_answer_416_has_the_size_alone() -> None:
    assert format_content_range(None, 7) == "bytes */7"


@pytest.mark.parametrize(
    "value",
    [None, "", "bytes */7", "bytes 0-6/*", "bytes 5-4/7", "bytes 0-7/7", "bytes 0-6", "0-6/7",
     "bytes=0-6/7", f"bytes 0-{2**64}/{2**65}", "bytes 0-6/7 ", "items 0-6/7"],
)  # fmt: skip
def test_a_content_range_that_is_none_is_a_violation(value: str | None) -> None:
    with pytest.raises(ProtocolViolation):
        parse_content_range(value)


@given(st.text(max_size=60) | st.from_regex(r"bytes=[0-9,\- ]{0,40}"), SIZES)
def test_arbitrary_text_is_a_range_within_or_a_violation(value: str, size: int) -> None:
    try:
        found = parse_range(value, size)
    except ProtocolViolation:
        return
    assert found is not None
    assert 0 <= found.start < found.end <= size


@given(st.text(max_size=60) | st.from_regex(r"bytes [0-9\-/ *]{0,40}"))
def test_arbitrary_text_is_a_content_range_or_a_violation(value: str) -> None:
    try:
        found, size = parse_content_range(value)
    except ProtocolViolation:
        return
    assert 0 <= found.start < found.end <= size


@pytest.mark.parametrize(
    ("byte_range", "written"),
    [((0, 1), "0-0"), ((5, 100), "5-99"), ((999, 1000), "999-999"), ((0, 1000), "0-999")],
)
def test_a_range_is_written_with_its_last_byte(byte_range: tuple[int, int], written: str) -> None:
    assert format_range(ByteRange(*byte_range)) == f"bytes={written}"
    assert format_content_range(ByteRange(*byte_range), 1000) == f"bytes {written}/1000"
