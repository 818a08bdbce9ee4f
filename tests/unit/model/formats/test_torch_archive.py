"""What ``torch.save`` wrote: types of its storages, by its index and without unpickling."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from ckptd.errors import InvalidFormat
from ckptd.limits import KIB
from ckptd.model.formats.contents import finished
from ckptd.model.formats.element_types import TypedBytes, fact_of, runs_of
from ckptd.model.formats.torch_archive import (
    DIRECTORY_BYTES_MAX,
    PICKLE_BYTES_MAX,
    STORAGES_READ_MAX,
    reading_types,
)

WRITTEN: Final = gzip.decompress((Path(__file__).parent / "torch/mixed-2.13.0.pt.gz").read_bytes())
"""By PyTorch 2.13.0: bf16, a short bias of it, two of fp32, a short one, and int64; all zeros."""
LONG: Final = 64 * KIB


class BFloat16Storage:
    """Named as PyTorch's own; only names are looked at."""


class FloatStorage:
    """The same."""


class UntypedStorage:
    """The same."""


class _Stored:
    """What a pickle asks for by an id."""

    def __init__(self, *asked: object) -> None:
        self.asked = asked


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return obj.asked if isinstance(obj, _Stored) else None


def pickled(*storages: _Stored) -> bytes:
    into = io.BytesIO()
    _Pickler(into, protocol=2).dump({f"w{n}": each for n, each in enumerate(storages)})
    return into.getvalue()


def storage(kind: object, key: object) -> _Stored:
    return _Stored("storage", kind, key, "cpu", 7)


def archive(pickle_bytes: bytes, sizes: list[int], *, method: int = zipfile.ZIP_STORED) -> bytes:
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w", method) as written:
        written.writestr("a/data.pkl", pickle_bytes)
        for key, size in enumerate(sizes):
            written.writestr(f"a/data/{key}", bytes(size))
        written.writestr("a/version", b"3\n")
    return into.getvalue()


def read(content: bytes) -> tuple[TypedBytes, ...]:
    return finished(reading_types("a.pt", len(content)), lambda start, end: content[start:end])


def test_what_pytorch_writes_is_understood() -> None:
    parts = read(WRITTEN)
    assert [(part.dtype, part.end - part.start) for part in parts] == [
        ("BF16", 128 * KIB), ("F32", 128 * KIB), ("F32", 128 * KIB), ("I64", 128 * KIB)
    ]  # fmt: skip
    assert all(part.start % 64 == 0 for part in parts), "as PyTorch lays storages out"
    assert all(not any(WRITTEN[part.start : part.end]) for part in parts)
    fact = fact_of(runs_of(parts))
    assert fact == f"BF16 F32@{parts[1].start} I64@{parts[3].start}"


def test_only_so_much_of_it_is_read_as_says_it() -> None:
    wanted = []

    def look(start: int, end: int) -> bytes:
        wanted.append(end - start)
        return WRITTEN[start:end]

    finished(reading_types("a.pt", len(WRITTEN)), look)
    assert sum(wanted) < 4 * KIB


def test_storages_without_a_type_or_with_two_are_not_known() -> None:
    content = archive(
        pickled(
            storage(BFloat16Storage, "0"),
            storage(UntypedStorage, "1"),
            storage(FloatStorage, "2"),
            storage(BFloat16Storage, "2"),
            storage("no class", "3"),
            storage(FloatStorage, 4),
            _Stored("module", FloatStorage, "5"),
            _Stored("storage", FloatStorage),
            _Stored(),
            _Stored("storage", FloatStorage, "6"),
        ),
        [LONG] * 7,
    )
    assert [part.dtype for part in read(content)] == ["BF16", "", "", "", "F32"]


def test_short_storages_are_not_looked_at() -> None:
    assert read(archive(pickled(storage(FloatStorage, "0")), [LONG - 1])) == ()


def test_nothing_of_the_pickle_is_run() -> None:
    program = b"\x80\x02cbuiltins\nexec\n(X\x11\x00\x00\x00raise SystemExit()tR."
    assert read(archive(program, [])) == ()


def _end_of(content: bytes) -> int:
    return content.rindex(b"PK\5\6")


def changed(offset: int, value: bytes) -> Callable[[bytes], bytes]:
    """Return what overwrites bytes behind the beginning of the record at the end."""

    def change(content: bytes) -> bytes:
        at = _end_of(content) + offset
        return content[:at] + value + content[at + len(value) :]

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content + b"\0",
        lambda content: content[: _end_of(content)],
        changed(12, struct.pack("<I", DIRECTORY_BYTES_MAX + 1)),
        changed(16, struct.pack("<I", 2**31)),
        changed(12, struct.pack("<I", 50)),
        changed(20, b"\x01\x00"),
        lambda content: content.replace(b"PK\1\2", b"PK\1\3"),
        lambda content: content.replace(b"PK\3\4", b"PK\3\5"),
        lambda content: content.replace(b"data.pkl", b"data.pkk"),
        lambda content: content.replace(b"a/data/0", b"a/data/1"),
        lambda content: b"PK\6\7" + bytes(16) + content[_end_of(content) :],
    ],
)
def test_what_is_no_such_archive_is_refused(spoil: Callable[[bytes], bytes]) -> None:
    content = archive(pickled(storage(FloatStorage, "0")), [LONG, LONG])
    assert len(read(content)) == 1
    with pytest.raises(InvalidFormat):
        read(spoil(content))


def test_what_has_no_end_is_refused_for_that() -> None:
    content = archive(pickled(storage(FloatStorage, "0")), [LONG])
    with pytest.raises(InvalidFormat, match="is no archive, or has a comment"):
        read(changed(0, b"PK\5\7")(content))
    long_numbers = bytearray(content)
    at = content.rindex(b"PK\1\2")
    long_numbers[at + 20 : at + 28] = b"\xff" * 8  # and nothing says them
    with pytest.raises(InvalidFormat, match="not stored as it is"):
        read(bytes(long_numbers))


def test_what_is_packed_or_too_long_to_look_at_is_refused() -> None:
    one = pickled(storage(FloatStorage, "0"))
    with pytest.raises(InvalidFormat, match="not stored as it is"):
        read(archive(one, [LONG], method=zipfile.ZIP_DEFLATED))
    with pytest.raises(InvalidFormat, match="its pickle has"):
        read(archive(one + bytes(PICKLE_BYTES_MAX), [LONG]))
    with pytest.raises(InvalidFormat, match="cannot be looked at"):
        read(archive(b"no pickle", [LONG]))
    count = STORAGES_READ_MAX + 1
    many = pickled(*(storage(FloatStorage, str(key)) for key in range(count)))
    content = archive(many, [0] * count)
    zeros = struct.pack("<2I", 0, 0)
    at = 0  # each has its bytes by what the directory says
    spoiled = bytearray(content)
    while (at := spoiled.find(b"PK\1\2", at)) >= 0:
        if spoiled[at + 20 : at + 28] == zeros:
            spoiled[at + 20 : at + 28] = struct.pack("<2I", LONG, LONG)
        at += 4
    with pytest.raises(InvalidFormat, match="long storages"):
        read(bytes(spoiled))


def test_an_archive_with_long_numbers_is_read() -> None:
    """As PyTorch writes it from 4 GiB on, and its end always."""
    assert WRITTEN[_end_of(WRITTEN) - 20 :].startswith(b"PK\6\7")
    content = archive(pickled(storage(FloatStorage, "0")), [LONG])
    at = content.rindex(b"PK\1\2", 0, content.rindex(b"PK\1\2"))
    name_bytes, extra_bytes = struct.unpack_from("<2H", content, at + 28)
    entry = bytearray(content[at : at + 46 + name_bytes])
    assert extra_bytes == 0
    size_bytes, _, head_at = LONG, LONG, struct.unpack_from("<I", entry, 42)[0]
    entry[20:28] = b"\xff" * 8
    entry[42:46] = b"\xff" * 4
    extra = struct.pack("<2HH", 9, 2, 7) + struct.pack("<2H3Q", 1, 24, size_bytes, LONG, head_at)
    entry[30:32] = struct.pack("<H", len(extra))
    directory_at = struct.unpack_from("<I", content, _end_of(content) + 16)[0]
    longer = bytearray(content[:at] + entry + extra + content[at + 46 + name_bytes :])
    end = _end_of(bytes(longer))
    longer[end + 12 : end + 16] = struct.pack("<I", end - directory_at)
    assert read(bytes(longer)) == read(content)
