"""The files of a place as its row has them."""

from __future__ import annotations

import msgspec
import pytest
import zstandard

from ckptd.errors import DamagedState
from ckptd.store.files.fingerprints import Fingerprint, UnitFile
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.records.packed_files import pack_files, unpack_files

FILES = tuple(
    UnitFile(Fingerprint(64, 1000 + unit, 4096, 10**18, 10**18 + unit)) for unit in range(1000)
)


def test_what_is_packed_comes_back_and_is_short() -> None:
    packed = pack_files(UnitFiles(FILES))
    assert unpack_files(packed) == FILES
    assert len(packed) < 10 * len(FILES)


def test_what_an_older_ckptd_wrote_is_read() -> None:
    assert unpack_files(msgspec.msgpack.encode(FILES)) == FILES


def _claiming(size_bytes: int) -> bytes:
    """Return the beginning of what would be so long."""
    compressing = zstandard.ZstdCompressor().compressobj(size=size_bytes)
    return compressing.compress(b"x") + compressing.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        zstandard.compress(b""),
        zstandard.compress(b"\xc1"),
        pack_files(UnitFiles(FILES))[:-1],
        _claiming(2**40),
    ],
)
def test_what_is_damaged_is_named(packed: bytes) -> None:
    with pytest.raises(DamagedState, match="damaged"):
        unpack_files(packed)
