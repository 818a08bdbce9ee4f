"""The files of units in columns, compared with the same files as objects."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import DamagedState
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.unit_files import UnitFiles

BYTES_PER_UNIT_MAX = 50

unsigned = st.integers(0, 2**64 - 1)
times = st.integers(-(2**63), 2**63 - 1)
unit_files = st.builds(
    UnitFile,
    st.builds(Fingerprint, unsigned, unsigned, unsigned, times, times),
    st.sampled_from(["", "elsewhere/file", "\udcff"]),
    st.booleans(),
    st.just(0) | st.integers(1, 2**44),
)
several = st.lists(st.none() | unit_files, max_size=8).map(tuple)

FILE = UnitFile(Fingerprint(1, 2, 3, -4, 5))
LINK = UnitFile(Fingerprint(6, 7, 8, 9, 10), "there")
COMPRESSED = UnitFile(Fingerprint(1, 2, 30, 4, 5), plain_bytes=100)
WRONG = UnitFile(Fingerprint(1, 3, 3, 4, 12), is_wrong=True)


@given(several)
def test_each_file_is_what_it_was(files: tuple[UnitFile | None, ...]) -> None:
    columns = UnitFiles(files)
    assert tuple(columns) == files == columns
    assert [columns[unit] for unit in range(len(files))] == list(files)
    assert columns[1:] == files[1:]
    assert [columns.has(unit) for unit in range(len(files))] == [file is not None for file in files]
    assert columns.is_whole == all(files)
    assert list(columns.units()) == [unit for unit, file in enumerate(files) if file]
    assert columns.absent() == {unit for unit, file in enumerate(files) if not file}
    assert columns.wrong() == {unit for unit, file in enumerate(files) if file and file.is_wrong}
    assert columns.devices() == {file.fingerprint.device for file in files if file}
    assert columns.changed_at_ns == max(
        (file.fingerprint.mtime_ns for file in files if file), default=None
    )
    assert columns.copied() == columns


@given(several)
def test_what_is_encoded_column_by_column_comes_back(files: tuple[UnitFile | None, ...]) -> None:
    if any(file and file.link_target == "\udcff" for file in files):
        return  # nor can a path of a unit be encoded that is not UTF-8
    assert UnitFiles.decoded(UnitFiles(files).encoded()) == files


def test_a_compressed_unit_lies_under_a_name_of_its_own_and_saves_room() -> None:
    files = UnitFiles([FILE, COMPRESSED, None, LINK])
    assert [files.path_of(unit, "v/x") for unit in range(4)] == ["v/x", "v/x.zst", "v/x", "there"]
    assert files.compressed() == [1]
    assert [files.is_compressed(unit) for unit in range(4)] == [False, True, False, False]
    assert files.saved_bytes == 70
    files[1] = FILE
    assert files.compressed() == []
    assert files.saved_bytes == 0


def test_who_has_nothing_compressed_encodes_as_an_older_ckptd_does() -> None:
    fields = msgspec.msgpack.decode(UnitFiles([FILE, None]).encoded())
    assert sorted(fields) == ["columns", "links", "states"]


@pytest.mark.parametrize("plain", [{1: 5}, {0: 0}, {0: -1}, {2: 5}])
def test_a_compressed_unit_without_a_file_or_a_length_is_damage(plain: dict[int, int]) -> None:
    fields = msgspec.msgpack.decode(UnitFiles([COMPRESSED, None]).encoded())
    encoded = msgspec.msgpack.encode(fields | {"plain": plain})
    with pytest.raises(DamagedState):
        UnitFiles.decoded(encoded)


def test_what_an_older_ckptd_encoded_one_by_one_is_read() -> None:
    for files in ((), (FILE, None, LINK), (FILE,) * 16, (WRONG, *(None,) * 70_000)):
        assert UnitFiles.decoded(msgspec.msgpack.encode(files)) == files


def test_a_file_can_be_put_in_the_place_of_another() -> None:
    files = UnitFiles.of_none(3)
    files[1] = LINK
    assert files == (None, LINK, None)
    assert files.links() == {1: "there"}
    files[1] = FILE
    assert files == (None, FILE, None)
    assert files.facts(1) == (2, 3, 2**64 - 4, 5)
    copied = files.copied()
    copied[1] = None
    assert (files[1], copied[1]) == (FILE, None)
    assert (files.latest_ctime_ns(), copied.latest_ctime_ns()) == (5, 0)
    assert files.mtimes_ns()[1] == -4


def test_of_a_unit_without_a_file_nothing_counts() -> None:
    one, other = UnitFiles([FILE, FILE]), UnitFiles([LINK, FILE])
    one[0] = other[0] = None
    assert one == other
    assert one != UnitFiles([None, WRONG])
    assert one != (None, FILE, None)
    assert one != [None, FILE]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"\xc1",
        lambda data: msgspec.msgpack.encode({"states": b"", "columns": [], "links": {}}),
        lambda data: data.replace(b"\x01\x01\x02", b"\x01\x01\x03"),
        lambda data: data.replace(b"\xc4\x03\x01\x01\x02", b"\xc4\x02\x01\x01"),
        lambda data: data.replace(b"\x81\x01\xa5there", b"\x81\x03\xa5there"),
        lambda data: msgspec.msgpack.encode([[[1, 2, 3, 4, 2**63], "", False]]),
    ],
)
def test_what_is_damaged_is_named(damage: Callable[[bytes], bytes]) -> None:
    encoded = UnitFiles([FILE, LINK, WRONG]).encoded()
    assert damage(encoded) != encoded
    with pytest.raises(DamagedState, match="damaged"):
        UnitFiles.decoded(damage(encoded))


def test_memory_is_that_of_the_columns() -> None:
    def bytes_of(count: int) -> int:
        tracemalloc.start()
        files = UnitFiles.of_none(count)
        for unit in range(count):
            files[unit] = UnitFile(Fingerprint(2**40, 2**40 + unit, 2**40, 2**60 + unit, 2**60))
        again = UnitFiles.decoded(files.encoded())
        assert len(again) == count
        size_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return size_bytes

    assert bytes_of(4000) - bytes_of(2000) < 2 * 2000 * BYTES_PER_UNIT_MAX
