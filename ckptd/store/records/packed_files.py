"""The files of a place as its row has them: columns, compressed."""

from __future__ import annotations

from typing import Final

import zstandard

from ckptd.errors import DamagedState
from ckptd.limits import MANIFEST_UNITS_MAX, MIB
from ckptd.store.files.unit_files import UnitFiles

_MAGIC: Final = bytes.fromhex("28b52ffd")
_BYTES_MAX: Final = MANIFEST_UNITS_MAX * 64 + 64 * MIB
"""41 for each unit, and the paths that links lead to."""


def pack_files(files: UnitFiles) -> bytes:
    """Return the files of a place as its row has them: half a megabyte for 100,000."""
    return zstandard.compress(files.encoded())


def unpack_files(packed: bytes) -> UnitFiles:
    """Return the files of a place; an older ckptd did not compress them.

    Raises:
        DamagedState: They are none.
    """
    if not packed.startswith(_MAGIC):
        return UnitFiles.decoded(packed)
    try:
        if zstandard.frame_content_size(packed) > _BYTES_MAX:
            raise _damaged()
        return UnitFiles.decoded(zstandard.decompress(packed))
    except zstandard.ZstdError as error:
        raise _damaged() from error


def _damaged() -> DamagedState:
    return DamagedState("files of a place", "are damaged")
