"""The interpreter lock of a process, seen from outside."""

from __future__ import annotations

import os
import struct

import pytest

from tests.benchmarks.instruments.interpreter_lock import (
    Looks,
    Region,
    base_of,
    end_behind,
    find_lock,
    looks_at,
    parse_regions,
    places_of,
)

MAPS = """\
00400000-00500000 r-xp 00000000 fe:00 1234                       /usr/bin/python3 (deleted)
00500000-00600000 rw-p 00100000 fe:00 1234                       /usr/bin/python3 (deleted)
00600000-00700000 rw-p 00000000 00:00 0
00800000-00900000 rw-p 00000000 00:00 0                          [heap]
"""


def test_regions_are_read_with_the_names_of_their_files() -> None:
    regions = parse_regions(MAPS)
    assert regions[0] == Region(0x400000, 0x500000, "/usr/bin/python3 (deleted)")
    assert regions[2].name == ""
    assert base_of(regions, "/usr/bin/python3 (deleted)") == 0x400000


def test_a_file_begins_at_the_first_of_its_regions_whatever_their_order() -> None:
    regions = parse_regions(MAPS)[::-1]
    assert base_of(regions, "/usr/bin/python3 (deleted)") == 0x400000
    with pytest.raises(StopIteration):
        base_of(regions, "/usr/bin/python2")


def test_memory_ends_at_the_first_gap() -> None:
    regions = parse_regions(MAPS)
    assert end_behind(regions, 0x500010) == 0x700000
    assert end_behind(regions, 0x800000) == 0x900000
    assert end_behind(regions, 0x750000) == 0x750000


def test_a_number_is_found_where_it_is_aligned() -> None:
    number = struct.pack("@L", 912_347)
    assert places_of(bytes(8) + number + bytes(3) + number + bytes(13) + number, 912_347) == {8, 40}
    assert places_of(b"", 912_347) == set()


def test_a_lock_held_at_a_quarter_of_the_looks_was_held_a_quarter_of_the_time() -> None:
    assert Looks(looks=200, held=50, switches=3, seconds=2.0).held_s == 0.5
    assert Looks(looks=0, held=0, switches=0, seconds=2.0).held_s == 0


def test_our_own_lock_is_found_and_the_thread_that_looks_takes_it() -> None:
    place = find_lock()
    if place is None:
        pytest.skip("this build of Python has its interpreter lock somewhere else")
    try:
        looking = looks_at(place, [os.getpid()])
    except PermissionError:
        pytest.skip("no process may look into itself here")
    with looking as seen:
        pass
    assert seen[os.getpid()].switches >= 1
