"""Asks recognisers what a directory that is published is, and reads what they need to know it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from ckptd.errors import CkptdError
from ckptd.model.policy.recognition import RECOGNISED_BYTES_MAX, Proposal
from ckptd.model.recognisers.recognise import recognise
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Candidates, Places
from ckptd.store.published.inner_names import InnerNames

RECOGNISED_FILES_MAX: Final = 100_000
"""Of a directory with more files nothing is recognised: their paths are compared as objects."""

_READ_MAX: Final = 1024
"""Files that are read: those that name others, one or two in a directory."""


def recognised(root: Root, files: Candidates, inner: InnerNames) -> Proposal | None:
    """Return what a recogniser proposes; ``None`` if no format is known.

    Args:
        root: Where the files lie.
        files: All that are published.
        inner: Links that name some of them.
    """
    if len(files) > RECOGNISED_FILES_MAX:
        return None
    sizes = dict(zip(files.paths, files.sizes, strict=True))
    for path, names in inner.also_called.items():
        sizes.update(dict.fromkeys(names, sizes[path]))
    places = inner.places(files.places())
    return recognise(sizes, _Reader(root, places, sizes))


class _Reader:
    """Reads files that say what is in others."""

    def __init__(self, root: Root, places: Places, sizes: Mapping[str, int]) -> None:
        self._root = root
        self._places = places
        self._sizes = sizes
        self._left_bytes = RECOGNISED_BYTES_MAX
        self._left = _READ_MAX

    def __call__(self, path: str) -> bytes | None:
        size_bytes = self._sizes.get(path)
        if size_bytes is None or size_bytes > self._left_bytes or not self._left:
            return None
        self._left -= 1
        self._left_bytes -= size_bytes
        try:
            content = _content(self._root, self._places.of(path), size_bytes)
        except CkptdError:
            return None  # who hashes it will say why
        return content if len(content) == size_bytes else None


def _content(root: Root, place: str, size_bytes: int) -> bytes:
    with Names(root) as names, mapping_os_errors(root.absolute(place)):
        fd = names.open_file(place, os.O_RDONLY)
        try:
            return os.pread(fd, size_bytes + 1, 0)
        finally:
            os.close(fd)
