"""Names that came to a directory after it was published: a job that had not finished, for example.

They are no part of the version, and nothing of it changed. Logs are expected to come and go.
"""

from __future__ import annotations

import os
import time
from typing import Final, NamedTuple

from ckptd.limits import SECOND
from ckptd.model.patterns import is_log
from ckptd.store.files.layout import inside, is_own
from ckptd.store.files.roots import Root
from ckptd.store.published.checking import Recorded

NAMES_MAX: Final = 1000
"""Of a directory that has more beside its version nothing is said."""


class Beside(NamedTuple):
    """What is in the directories of a version beside its files.

    Attributes:
        names: Relative to the root; empty if there are too many.
        changed_ns: When a name last came or went; 0: so lately that more may have come since.
    """

    names: frozenset[str]
    changed_ns: int


def look_beside(root: Root, recorded: Recorded, before: Beside | None) -> Beside:
    """Look what is beside the files of a version. Blocks.

    Args:
        root: Where the version lies.
        recorded: Its files.
        before: What was there at the last look.

    Raises:
        CkptdError: A directory is gone or cannot be read.
    """
    directories = recorded.directories() | {recorded.directory}
    now_ns = time.time_ns()
    changed_ns = max(_changed_ns(root, path) for path in directories)
    if before is not None and changed_ns == before.changed_ns:
        return before
    names: set[str] = set()
    for directory in directories:
        for name in root.names(directory):
            path = inside(directory, name)
            if not (is_own(name) or recorded.has(path) or is_log(name) or path in directories):
                names.add(path)
        if len(names) > NAMES_MAX:
            names.clear()
            break
    return Beside(frozenset(names), changed_ns if now_ns - changed_ns > SECOND else 0)


def _changed_ns(root: Root, directory: str) -> int:
    fd = root.open_directory(directory)
    try:
        return os.fstat(fd).st_ctime_ns
    finally:
        os.close(fd)
