"""What is in a watched directory: names, and when something changed last below them.

All of it blocks for as long as the disk does. Links are looked at and never followed.
"""

from __future__ import annotations

import os
import stat
from typing import Final, NamedTuple

from ckptd.errors import CkptdError
from ckptd.limits import KIB, SECOND
from ckptd.store.files.kernel import (
    LOCAL_FILE_SYSTEMS,
    file_system_type,
    mapping_os_errors,
)
from ckptd.store.files.layout import inside
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root

LOOKS_MAX: Final = 4096
"""So many names below a save are looked at; publishing looks at all of them."""

_POINTER_BYTES_MAX: Final = 4 * KIB


class Stamp(NamedTuple):
    """What would be another one if something had changed.

    Attributes:
        changed_at_s: When something changed last, in Unix time.
        entries: How many names were looked at.
        size_bytes: How long files are together.
    """

    changed_at_s: float
    entries: int
    size_bytes: int


def is_plain_directory(root: Root, relative: str) -> bool:
    """Return whether a directory stands there, and no link to one."""
    facts = root.stat(relative)
    return facts is not None and stat.S_ISDIR(facts.st_mode)


def is_on_local_disk(root: Root, relative: str) -> bool:
    """Return whether nothing but this machine writes to a directory, so its kernel knows of all.

    Raises:
        NotFound: There is no such directory.
        StorageError: It cannot be opened.
    """
    fd = root.open_directory(relative)
    try:
        with mapping_os_errors(root.absolute(relative)):
            return file_system_type(fd) in LOCAL_FILE_SYSTEMS
    finally:
        os.close(fd)


def stamp_of(root: Root, relative: str) -> Stamp | None:
    """Return when something below a directory changed last; ``None`` if that cannot be known."""
    try:
        facts = root.stat(relative)
        if facts is None:
            return None
        changed_ns, entries, size_bytes = facts.st_ctime_ns, 0, 0
        for found in root.walk(relative, with_directories=True):
            inner = root.stat(inside(relative, found.path))
            if inner is None:
                return None
            changed_ns = max(changed_ns, inner.st_ctime_ns)
            entries += 1
            size_bytes += found.size_bytes
            if entries == LOOKS_MAX:
                break
    except CkptdError:
        return None
    return Stamp(changed_ns / SECOND, entries, size_bytes)


def pointer_text(root: Root, relative: str) -> str | None:
    """Return what is in a short file; ``None`` if it is not there, or is none."""
    try:
        with Names(root) as names, mapping_os_errors(root.absolute(relative)):
            fd = names.open_file(relative, os.O_RDONLY | os.O_NONBLOCK)
            try:
                if not stat.S_ISREG(os.fstat(fd).st_mode):
                    return None
                content = os.pread(fd, _POINTER_BYTES_MAX + 1, 0)
            finally:
                os.close(fd)
    except CkptdError:
        return None
    return content.decode("utf-8", "replace") if len(content) <= _POINTER_BYTES_MAX else None
