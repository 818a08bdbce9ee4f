"""A part says how long it is, in one way only."""

import pytest

from ckptd.errors import ProtocolViolation
from ckptd.wire.body_parts import LINE_BYTES_MAX, parse_part_line, part_line


@pytest.mark.parametrize("size_bytes", [0, 1, 9, 10, 255, 256, 2**24 + 8, 2**32 - 1])
def test_a_line_is_read_as_it_is_written(size_bytes: int) -> None:
    line = part_line(size_bytes)
    assert parse_part_line(line) == size_bytes
    assert len(line) <= LINE_BYTES_MAX


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\r\n", b"10", b"10\n", b"10\r", b" 10\r\n", b"10 \r\n", b"A\r\n", b"0x1\r\n",
        b"-1\r\n", b"1;a=b\r\n", b"123456789\r\n", b"1\r\n\r\n", b"\xb2\r\n",
    ],
)  # fmt: skip
def test_other_lines_are_violations(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        parse_part_line(line)
