"""Files of units that are kept compressed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from ckptd.buffers import page_buffer
from ckptd.coding.seek_tables import SeekTable
from ckptd.errors import ContentChanged
from ckptd.limits import BLOCK_BYTES_MAX, KIB, MIB
from ckptd.store.files.compressed_files import PIECE_BYTES, CompressedFile, compressed_block
from tests.support.compressing import compressed_bytes, half_random
from tests.support.manifests import make_manifest

CONTENT = half_random(3 * MIB + 5)
GRAIN = MIB


def blocks_of(content: bytes, grain_bytes: int = GRAIN) -> list[bytes]:
    return [content[at : at + grain_bytes] for at in range(0, len(content), grain_bytes)]


@contextmanager
def opened(data: bytes) -> Iterator[int]:
    fd = os.memfd_create("test")
    try:
        os.write(fd, data)
        yield fd
    finally:
        os.close(fd)


def read(file: CompressedFile, start: int, end: int) -> bytes:
    return b"".join(map(bytes, file.pieces(start, end)))


def test_any_part_of_the_content_is_read() -> None:
    with opened(compressed_bytes(blocks_of(CONTENT))) as fd:
        file = CompressedFile(fd)
        assert file.table.plain_bytes == len(CONTENT)
        for start, end in (
            (0, len(CONTENT)),
            (0, 1),
            (GRAIN - 1, GRAIN + 1),
            (GRAIN, 2 * GRAIN),
            (5, 2 * GRAIN + 5),
            (len(CONTENT) - 1, len(CONTENT)),
            (7, 7),
        ):
            assert read(file, start, end) == CONTENT[start:end]
        room = page_buffer(100)
        assert file.read_exactly(GRAIN - 50, 100, room) == CONTENT[GRAIN - 50 : GRAIN + 50]


def test_a_long_block_is_read_in_pieces_that_need_little_memory() -> None:
    long = half_random(BLOCK_BYTES_MAX)
    with opened(compressed_bytes([long])) as fd:
        pieces = [len(piece) for piece in CompressedFile(fd).pieces(0, len(long))]
    assert pieces == [PIECE_BYTES] * (BLOCK_BYTES_MAX // PIECE_BYTES)


def test_the_zstd_command_gives_the_content(tmp_path: Path) -> None:
    path = tmp_path / "model.zst"
    path.write_bytes(compressed_bytes(blocks_of(CONTENT)))
    try:
        done = subprocess.run(["zstd", "-dc", str(path)], capture_output=True, check=True)
    except FileNotFoundError:  # not everybody has it; then what it is made of says the same
        reader = zstandard.ZstdDecompressor().stream_reader(
            path.read_bytes(), read_across_frames=True
        )
        assert reader.read() == CONTENT
    else:
        assert done.stdout == CONTENT


def test_more_is_not_read_than_there_is() -> None:
    with opened(compressed_bytes(blocks_of(CONTENT))) as fd, pytest.raises(ContentChanged):
        read(CompressedFile(fd), 0, len(CONTENT) + 1)


@pytest.mark.parametrize("data", [b"", b"plain", bytes(100), CONTENT])
def test_what_has_no_table_is_refused(data: bytes) -> None:
    with opened(data) as fd, pytest.raises(ContentChanged):
        CompressedFile(fd)


def test_a_frame_of_another_length_than_the_table_says_is_wrong() -> None:
    frame = compressed_block(memoryview(CONTENT[:3000]))
    for said_bytes in (2999, 3001):
        data = frame + SeekTable([(len(frame), said_bytes)]).encoded()
        with opened(data) as fd, pytest.raises(ContentChanged):
            read(CompressedFile(fd), 0, said_bytes)


def test_bytes_behind_a_frame_are_wrong() -> None:
    frame = compressed_block(memoryview(CONTENT[:3000]))
    data = frame + b"more" + SeekTable([(len(frame) + 4, 3000)]).encoded()
    with opened(data) as fd, pytest.raises(ContentChanged):
        read(CompressedFile(fd), 0, 3000)


def test_a_frame_that_wants_a_longer_window_is_wrong() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=24)
    content = half_random(8 * MIB)
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(content)
    data = frame + SeekTable([(len(frame), len(content))]).encoded()
    with opened(data) as fd, pytest.raises(ContentChanged, match="cannot be decoded"):
        read(CompressedFile(fd), 0, 1)


def test_a_changed_byte_is_noticed_by_who_reads_its_block() -> None:
    data = bytearray(compressed_bytes(blocks_of(CONTENT)))
    data[1000] ^= 0x01  # among bytes that stand for themselves: only the checksum shows it
    with opened(bytes(data)) as fd:
        file = CompressedFile(fd)
        with pytest.raises(ContentChanged):
            read(file, 0, GRAIN)
        assert read(file, GRAIN, 2 * GRAIN) == CONTENT[GRAIN : 2 * GRAIN]


def test_blocks_are_compared_with_their_digests() -> None:
    (unit,) = make_manifest({"model": CONTENT}).units
    grain_bytes = unit.block_size_bytes
    right = blocks_of(CONTENT, grain_bytes)
    with opened(compressed_bytes(right)) as fd:
        found = list(CompressedFile(fd).wrong_blocks(unit))
    assert found == [(len(block), False) for block in right]
    other = [*right[:-2], bytes(grain_bytes), right[-1]]
    with opened(compressed_bytes(other)) as fd:
        wrong = [is_wrong for _, is_wrong in CompressedFile(fd).wrong_blocks(unit)]
    assert wrong == [False] * (len(right) - 2) + [True, False]
    data = bytearray(compressed_bytes(right))
    data[1000] ^= 0x01
    with opened(bytes(data)) as fd:
        wrong = [is_wrong for _, is_wrong in CompressedFile(fd).wrong_blocks(unit)]
    assert wrong == [True] + [False] * (len(right) - 1)


@pytest.mark.parametrize(
    "blocks", [[CONTENT], [CONTENT[:-1]], blocks_of(CONTENT, 100 * KIB), blocks_of(CONTENT)[:-1]]
)
def test_a_file_with_other_blocks_is_not_of_a_unit(blocks: list[bytes]) -> None:
    (unit,) = make_manifest({"model": CONTENT}).units
    with opened(compressed_bytes(blocks)) as fd, pytest.raises(ContentChanged, match="blocks"):
        list(CompressedFile(fd).wrong_blocks(unit))
