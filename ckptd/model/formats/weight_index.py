"""The index beside sharded weights of Hugging Face: which file has which tensor."""

from __future__ import annotations

from typing import Final

import msgspec

from ckptd.limits import MIB
from ckptd.model.formats.tensors import invalid

INDEX_BYTES_MAX: Final = 32 * MIB
"""An index names each tensor: 10 MiB for 100,000 of them."""


class _Index(msgspec.Struct):
    weight_map: dict[str, str] = {}


def decode_index(content: bytes, path: str) -> dict[str, str]:
    """Return the file that each tensor is in, relative to the directory of the index.

    Args:
        content: Of the index.
        path: Of the index, for errors.

    Raises:
        InvalidFormat: It is none.
    """
    try:
        return msgspec.json.decode(content, type=_Index).weight_map
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(repr(path[:200]), "is not the index that it should be") from error
