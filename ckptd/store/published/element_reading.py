"""Finds out of which type the elements of a file are that is published: as said, or by its header.

Only where the publisher asks for it: what is said of a unit is part of a version's identity.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from ckptd.errors import InvalidFormat
from ckptd.limits import KIB, MIB
from ckptd.model.formats.contents import finished, reading_tensors
from ckptd.model.formats.element_types import (
    AUTO,
    NOTHING,
    ElementRun,
    TypedBytes,
    fact_of,
    runs_of,
)
from ckptd.model.formats.tensors import invalid
from ckptd.model.formats.torch_archive import reading_types
from ckptd.model.patterns import compile_pattern

HEADER_BYTES_MAX: Final = 4 * MIB
"""Of a longer header nothing is read: several files are read at once."""
_FILE_BYTES_MIN: Final = 64 * KIB
"""A shorter file is one block that is short."""
_SAFETENSORS: Final = ".safetensors"
_ARCHIVES: Final = (".pt", ".pth", ".bin", ".ckpt")


class ElementReading:
    """Says the types of files. Any thread.

    Args:
        said: Patterns of paths, each with a type, ``auto`` or ``none``; the first one that matches
            counts.
    """

    def __init__(self, said: Sequence[tuple[str, str]]) -> None:
        self._said = [(compile_pattern(pattern), dtype) for pattern, dtype in said]

    def fact(self, fd: int, path: str, size_bytes: int) -> str:
        """Return what is said of a file; empty: nothing. Blocks.

        Args:
            fd: The file.
            path: Of the unit.
            size_bytes: Its length.

        Raises:
            OSError: Refused by the file system.
        """
        dtype = next((dtype for pattern, dtype in self._said if pattern.match(path)), NOTHING)
        if dtype != AUTO:
            return "" if dtype == NOTHING else fact_of((ElementRun(0, dtype),))
        if size_bytes < _FILE_BYTES_MIN:
            return ""

        def read(start: int, end: int) -> bytes:
            if end - start > HEADER_BYTES_MAX:
                raise invalid(repr(path[:200]), f"has a header of {end - start} bytes")
            content = os.pread(fd, end - start, start)
            if len(content) != end - start:
                raise invalid(repr(path[:200]), "is shorter than it was")
            return content

        try:
            if path.endswith(_SAFETENSORS):
                tensors = finished(reading_tensors(path, size_bytes), read)
                return fact_of(runs_of(TypedBytes(t.start, t.end, t.dtype) for t in tensors))
            if path.endswith(_ARCHIVES):
                return fact_of(runs_of(finished(reading_types(path, size_bytes), read)))
        except InvalidFormat:
            return ""
        return ""
