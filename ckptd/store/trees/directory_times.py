"""Directories of a version that is put right: what it does there is no modification by a job.

Tools remove old checkpoints by the times of their directories, so a repair must not make an old one
the newest. Only the owner of a directory may put its time back, though.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator

from ckptd.errors import CkptdError
from ckptd.store.files.kernel import set_modified, sync_file
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import as_directory
from ckptd.store.trees.finishing import Finish, Finishing


@contextlib.contextmanager
def kept_times(
    root: Root, target: str, paths: Iterable[str], finishing: Finishing
) -> Iterator[None]:
    """Let files take their places for a block of code; the directories look then as before.

    Args:
        root: Where the version stands.
        target: Its directory, relative to the root; it exists.
        paths: The files, relative to the root.
        finishing: What a directory gets that is made for them.

    Raises:
        CkptdError: The system refused.
    """
    made: list[str] = []
    before: dict[str, int] = {}
    for path in _directories(target, paths):
        found = root.stat(path)
        if found is None:
            made.append(path)
        else:
            before[path] = found.st_mtime_ns
    for path in made:  # before there is a file in it that others could reach
        os.close(root.open_directory(path, create=True))
        with as_directory(root, path) as fd:
            Finish(finishing.of_directory(_within(target, path)).mode).give_to(fd)
    try:
        yield
    except CkptdError:
        with contextlib.suppress(CkptdError):
            _put_back(root, target, made, before, finishing)
        raise
    _put_back(root, target, made, before, finishing)


def _put_back(
    root: Root, target: str, made: Iterable[str], before: dict[str, int], finishing: Finishing
) -> None:
    for path in made:
        with as_directory(root, path) as fd:
            finishing.give(fd, finishing.of_directory(_within(target, path)))
            sync_file(fd)
    for path, mtime_ns in before.items():
        with as_directory(root, path) as fd:
            if os.fstat(fd).st_uid == os.geteuid() or os.geteuid() == 0:  # nobody else may
                set_modified(fd, mtime_ns)
            sync_file(fd)


def _directories(target: str, paths: Iterable[str]) -> list[str]:
    """Return the directories in which names appear or vanish, parents first."""
    found = {target}
    for path in paths:
        directory = path.rpartition("/")[0]
        while directory not in found and _is_within(target, directory):
            found.add(directory)
            directory = directory.rpartition("/")[0]
        found.add(directory)  # of a link, it may lie elsewhere
    return sorted(found)


def _is_within(target: str, path: str) -> bool:
    return not target or path.startswith(f"{target}/")


def _within(target: str, path: str) -> str:
    return path.removeprefix(f"{target}/") if _is_within(target, path) else ""
