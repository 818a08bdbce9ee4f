"""Whether a directory is complete as its own format says, before it is published."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from ckptd.errors import ContentChanged
from ckptd.model.completeness import MARKER_BYTES_MAX, what_is_lacking
from ckptd.store.files.kernel import mapping_os_errors
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.candidates import Places

_HINT: Final = (
    "Publish when the job has finished writing; a node that has only its own part of a version "
    "publishes that with --allow-incomplete."
)


def check_complete(root: Root, relative: str, paths: Iterable[str], places: Places) -> None:
    """Check that a directory is not known to lack anything.

    Args:
        root: Where it lies.
        relative: Its path below the root.
        paths: Of its files, in the directory.
        places: Where each of them lies below the root.

    Raises:
        ContentChanged: It lacks something.
        CkptdError: A file that says what is complete cannot be read.
    """
    problem = what_is_lacking(relative, paths, lambda path: _content(root, places.of(path)))
    if problem:
        raise ContentChanged(
            f"directory {root.absolute(relative)}", f"is not complete: {problem}", _HINT
        )


def _content(root: Root, place: str) -> bytes | None:
    with Names(root) as names, mapping_os_errors(root.absolute(place)):
        fd = names.open_file(place, os.O_RDONLY)
        try:
            content = os.pread(fd, MARKER_BYTES_MAX + 1, 0)
        finally:
            os.close(fd)
    return content if len(content) <= MARKER_BYTES_MAX else None
