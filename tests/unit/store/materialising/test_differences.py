from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import zstandard

from ckptd.errors import InvalidFormat
from ckptd.limits import MIB
from ckptd.store.files.roots import Root
from ckptd.store.materialising.differences import Difference
from ckptd.store.materialising.verified_blocks import VerifiedBlocks, VerifiedUnit
from tests.support.stores import publish, served_from, write_files

CONTENT = bytes(number * number % 253 for number in range(200_000))


def difference(tmp_path: Path, stored: bytes, compression: str = "zstd") -> Difference:
    """A difference in the middle of a file."""
    write_files(tmp_path / "v", {"a": b"before" + stored + b"behind"})
    root = Root.open("data", str(tmp_path))
    unit = VerifiedUnit(VerifiedBlocks(), served_from(root, publish(root, "v")), 0)
    return Difference(unit, 6, 6 + len(stored), compression)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_it_is_read_from_its_beginning_to_its_end(tmp_path: Path, compression: str) -> None:
    is_frame = compression == "zstd"
    stored = zstandard.ZstdCompressor().compress(CONTENT) if is_frame else CONTENT
    found = difference(tmp_path, stored, compression)
    reading, other = found.opened(), found.opened()
    assert reading.read(10) == CONTENT[:10]
    assert other.read(150_000) == CONTENT[:150_000]
    assert reading.read(300_000) == CONTENT[10:]
    assert reading.read(1) == b""


def test_what_is_no_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFormat, match=r"file a of \S+@\d+: has a frame that cannot be read"):
        difference(tmp_path, b"no frame").opened().read(1)


def test_a_frame_that_is_cut_off_ends_early(tmp_path: Path) -> None:
    found = difference(tmp_path, zstandard.ZstdCompressor().compress(CONTENT)[:-20])
    assert len(found.opened().read(len(CONTENT))) < len(CONTENT)


def test_a_window_beyond_what_readers_have_to_take_is_refused(tmp_path: Path) -> None:
    how = zstandard.ZstdCompressionParameters(window_log=24, write_content_size=False)
    compressor = zstandard.ZstdCompressor(compression_params=how).compressobj()
    stored = compressor.compress(CONTENT) + compressor.flush()
    with pytest.raises(InvalidFormat, match="cannot be read"):
        difference(tmp_path, stored).opened().read(1)


def test_a_bomb_takes_no_more_memory_than_was_asked_for(tmp_path: Path) -> None:
    found = difference(tmp_path, zstandard.ZstdCompressor().compress(bytes(256 * MIB)))
    tracemalloc.start()
    try:
        assert found.opened().read(1000) == bytes(1000)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
