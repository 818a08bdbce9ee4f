"""Large buffers begin with a page, and one module makes them."""

from __future__ import annotations

import ast
import ctypes
import mmap
from pathlib import Path

import pytest

from ckptd.buffers import page_buffer
from ckptd.limits import KIB, MIB

PACKAGE = Path(__file__).parents[2] / "ckptd"

MAKERS = {"bytearray", "bytes", "mmap.mmap", "os.pread", "os.read"}
"""What makes memory of a size that is asked for. Of ``bytes`` also copies: syntax does not tell."""

ELSEWHERE = {
    "buffers.py": {"mmap.mmap"},  # the place
    "daemon/host/networks.py": {"bytearray", "bytes"},  # little ones, for ioctl(2)
    "daemon/host/off_loop.py": {"bytes"},  # a configured file, as it was read
    "net/lane/coded_bodies.py": {"bytes"},  # heads and ends, a few bytes each
    "net/source/sending.py": {"os.pread"},  # one byte
    "net/source/server.py": {"bytes"},  # one head
    "store/files/compressed_files.py": {"os.pread"},  # seek tables; frames, 128 KiB at once
    "store/files/hashing.py": {"bytes"},  # zeros: hashed, and copied nowhere
    "store/files/unit_files.py": {"bytearray", "bytes"},  # columns: facts of files
    "store/files/version_state.py": {"os.pread"},  # a few hundred bytes of JSON
    "store/files/watches.py": {"os.read"},  # events of inotify(7)
    "store/materialising/made_note.py": {"os.pread"},  # which files a copy has, as JSON
    "store/published/hashed_files.py": {"bytearray", "bytes"},  # likewise columns
    "store/published/chain_annotations.py": {"os.pread"},  # an index, as it was read
    "store/published/completeness.py": {"os.pread"},  # a marker, as it was read
    "store/published/policy_files.py": {"os.pread"},  # a policy, likewise
    "store/published/saved_listing.py": {"os.pread"},  # the name of a directory, likewise
    "store/published/recognising.py": {"os.pread"},  # files that name others, likewise
    "store/published/element_reading.py": {"os.pread"},  # headers, likewise
    "store/trees/equal_blocks.py": {"bytes"},  # digests
    "store/files/landlock.py": {"os.read"},  # the names of security modules
    "store/staging/held.py": {"bytearray"},  # a flag for each block
}


def makers(source: str) -> set[str]:
    """Return the calls in a module that make memory of some size."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return {ast.unparse(call.func) for call in calls if call.args} & MAKERS


def mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096


@pytest.mark.parametrize("size_bytes", [1, 4 * KIB, 128 * KIB, 256 * KIB, 8 * MIB + 1])
def test_a_buffer_begins_with_a_page(size_bytes: int) -> None:
    first = ctypes.addressof(ctypes.c_char.from_buffer(page_buffer(size_bytes)))
    assert first % mmap.PAGESIZE == 0


def test_a_buffer_has_zeros_and_can_be_written_over() -> None:
    buffer = page_buffer(8 * MIB)
    assert (len(buffer), buffer[0], buffer[-1], buffer.readonly) == (8 * MIB, 0, 0, False)
    buffer[-3:] = b"end"
    assert bytes(buffer[-3:]) == b"end"


def test_the_system_has_a_buffer_back_with_the_last_piece_of_it() -> None:
    buffer = page_buffer(512 * MIB)
    piece = buffer[:10]
    before = mapped_bytes()
    del buffer
    assert mapped_bytes() > before - 256 * MIB
    del piece
    assert mapped_bytes() < before - 256 * MIB


def test_nobody_who_moves_content_makes_buffers_elsewhere() -> None:
    rooms = ("net", "store", "daemon")
    paths = [
        PACKAGE / "buffers.py",
        *(path for room in rooms for path in (PACKAGE / room).rglob("*.py")),
    ]
    found = {path.relative_to(PACKAGE).as_posix(): makers(path.read_text()) for path in paths}
    assert {path: names for path, names in found.items() if names} == ELSEWHERE, (
        "use ckptd.buffers.page_buffer"
    )


@pytest.mark.parametrize(
    "source",
    ["memoryview(bytearray(size))", "mmap.mmap(-1, size)", "os.read(fd, size)", "x = bytes(size)"],
)
def test_the_scan_sees_who_makes_one(source: str) -> None:
    assert makers(source)
