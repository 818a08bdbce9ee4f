from pathlib import Path

from ckptd.buffers import page_buffer
from ckptd.limits import MIB


def mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096


def test_a_buffer_begins_with_a_page_and_can_be_written_over() -> None:
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
