"""The table at the end of a seekable zstd file."""

from __future__ import annotations

import struct

import pytest

from ckptd.coding.seek_tables import FOOTER_BYTES, Frame, SeekTable, read_seek_table, table_bytes
from ckptd.errors import InvalidFormat
from ckptd.limits import BLOCK_BYTES_MAX, MANIFEST_BLOCKS_MAX

TABLE = SeekTable([(10, 100), (20, 100), (5, 40)])


def test_a_table_says_which_frames_hold_a_part_of_the_content() -> None:
    assert list(TABLE.frames(0, 240)) == [
        Frame(0, 10, 0, 100),
        Frame(10, 30, 100, 100),
        Frame(30, 35, 200, 40),
    ]
    assert [frame.start for frame in TABLE.frames(99, 100)] == [0]
    assert [frame.start for frame in TABLE.frames(99, 101)] == [0, 10]
    assert [frame.start for frame in TABLE.frames(239, 10_000)] == [30]
    assert list(TABLE.frames(240, 300)) == []
    assert (len(TABLE), TABLE.frames_bytes, TABLE.plain_bytes) == (3, 35, 240)


def test_a_table_has_the_grain_of_blocks_of_which_only_the_last_one_is_short() -> None:
    assert TABLE.has_grain(100)
    assert not TABLE.has_grain(120)
    assert not TABLE.has_grain(99)
    assert SeekTable([(1, 7)]).has_grain(100)
    assert not SeekTable([(1, 101)]).has_grain(100)
    assert not SeekTable([(1, 100), (1, 40), (1, 100)]).has_grain(100)
    assert SeekTable([]).has_grain(100)


def test_a_table_is_read_as_it_was_written() -> None:
    data = TABLE.encoded()
    assert table_bytes(data[-FOOTER_BYTES:]) == len(data) == 8 + 3 * 8 + 9
    read = read_seek_table(data, 35 + len(data))
    assert list(read.frames(0, 240)) == list(TABLE.frames(0, 240))
    assert read.encoded() == data


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0x184D2A5D),  # no skippable frame, or another one
        (4, 32),  # of another length
        (8, 0),  # a frame without bytes
        (8, 11),  # that is not all of the file
        (12, 0),  # a frame that holds nothing
        (12, BLOCK_BYTES_MAX + 1),  # or more than any block
        (12, 2**32 - 1),
    ],
)
def test_a_table_that_does_not_fit_its_file_is_refused(at: int, value: int) -> None:
    data = bytearray(TABLE.encoded())
    struct.pack_into("<I", data, at, value)
    with pytest.raises(InvalidFormat):
        read_seek_table(bytes(data), 35 + len(data))


def test_a_table_with_checksums_or_too_many_frames_is_refused_before_it_is_read() -> None:
    for footer in (
        struct.pack("<IBI", 3, 0x80, 0x8F92EAB1),
        struct.pack("<IBI", 3, 0, 0x8F92EAB0),
        struct.pack("<IBI", MANIFEST_BLOCKS_MAX + 1, 0, 0x8F92EAB1),
        b"",
    ):
        with pytest.raises(InvalidFormat):
            table_bytes(footer)


def test_a_table_that_is_cut_off_is_refused() -> None:
    data = TABLE.encoded()
    with pytest.raises(InvalidFormat):
        read_seek_table(data[1:], 35 + len(data))
    with pytest.raises(InvalidFormat):
        read_seek_table(data, 34 + len(data))
