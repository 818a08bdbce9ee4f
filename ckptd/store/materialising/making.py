"""Makes a materialised copy: everything in staging, durably, and then one rename.

So under its name it is absent or whole at every instant. What a crash leaves in staging is removed
by the next start, as what recoveries left is: it has the name of a recovery that no journal knows.
All calls block.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from ckptd.errors import CkptdError, Conflict, OutOfSpace, Shortage
from ckptd.model.ids import CheckpointName, Digest, RecoveryId, Version
from ckptd.model.unit_paths import directories_of
from ckptd.store.files.kernel import mapping_os_errors, reserve, sync_file
from ckptd.store.files.layout import MADE_NOTE, staging_of
from ckptd.store.files.roots import Root
from ckptd.store.materialising.chain_files import ChainFiles, MadeFile
from ckptd.store.materialising.made_note import (
    FORMAT,
    MadeNote,
    NotedFile,
    differing_file,
    read_note,
)
from ckptd.store.staging.placing import rename
from ckptd.store.staging.preparing import check_target
from ckptd.store.trees.directories import (
    CREATE,
    STAGED_FILE_MODE,
    as_directory,
    inherit_access,
    is_free,
    make_staging,
    remove_empty_staging_directory,
)
from ckptd.store.trees.finishing import Finishing
from ckptd.store.trees.own_files import stage_own
from ckptd.store.trees.ownership import Owner

if TYPE_CHECKING:
    from ckptd.store.materialising.applied_tensors import FileWriting


_WRITERS_MAX: Final = 4
"""Files written at once: each has a slice in memory, and for each delta a window."""


@dataclass(frozen=True, slots=True)
class CopyTarget:
    """What is made, and where.

    Attributes:
        root: Where the copy will stand.
        directory: Its own, relative to the root.
        staging: What its directory in staging is called after.
        checkpoint: Of what it is a version.
        version: Which version.
        of: The delta version that it is made of.
        owner: Whose it becomes; ``None``: it stays this process's.
    """

    root: Root
    directory: str
    staging: RecoveryId
    checkpoint: CheckpointName
    version: Version
    of: Digest
    owner: Owner | None = None


def standing_copy(target: CopyTarget, on_progress: Callable[[int], None]) -> MadeNote | None:
    """Return what stands at a target already, if that is the copy; ``None``: nothing does.

    Args:
        target: Where it would be made.
        on_progress: Called with how many bytes were hashed; what it raises ends that.

    Raises:
        Conflict: Something else stands there.
        UsageError: It is where recoveries are staged.
        StorageError: The disk refused.
    """
    root, directory = target.root, target.directory
    root.check_in_place()
    check_target(root, directory)
    if is_free(root, directory):
        return None
    note = read_note(root, directory)
    problem = "exists already, and is no materialised copy"
    if note is not None:
        problem = f"has what was made of {note.checkpoint}@{note.version}"
        if note.of == target.of:
            differing = differing_file(root, directory, note, on_progress)
            if differing is None:
                return note
            problem = f"has the copy already, but its file {differing[:200]} changed since"
    raise Conflict(
        f"target {root.absolute(directory)}", problem, "Remove it or choose another target."
    )


def make_copy(
    target: CopyTarget,
    files: ChainFiles,
    finishings: Sequence[Finishing],
    on_progress: Callable[[int], None],
) -> MadeNote:
    """Make a copy under its name, where nothing stands.

    Args:
        target: Where.
        files: What it consists of.
        finishings: What files of each version of the chain get last.
        on_progress: Called by several threads with how many bytes were written since the last call
            of that one; what it raises ends the making, and nothing of it stays.

    Raises:
        Conflict: Something stands at the target by now.
        OutOfSpace: There is no room for it.
        VerificationFailed: A tensor is not what it should be.
        InvalidFormat: A delta is of no tensor of that length.
        ContentChanged: What is read is not what was published.
        StorageError: The disk refused.
    """
    root, path = target.root, staging_of(target.staging)
    new_writing = _loaded_writing()
    free_bytes = root.free_bytes()
    if files.size_bytes > free_bytes:
        raise OutOfSpace(
            f"target {root.absolute(target.directory)}",
            f"needs {files.size_bytes} bytes, and {free_bytes} are free",
            "Make room and try again.",
        )
    tree = make_staging(root, path)
    try:
        is_other = target.owner is not None and target.owner.is_other
        inherit_access(root, tree, target.directory, opens_group=is_other)
        with _Writers(files, on_progress, new_writing) as writers:
            note = _made(tree, target, files, finishings, writers)
        rename(root, path, target.directory, tree, target.owner)
    except BaseException:
        with contextlib.suppress(CkptdError):  # the next start removes it
            root.remove_tree(path)
        raise
    finally:
        tree.close()
        with contextlib.suppress(CkptdError, OSError):
            remove_empty_staging_directory(root)
    return note


def _loaded_writing() -> type[FileWriting]:
    """Load what applies deltas, which takes 25 MiB that a daemon can do without.

    Raises:
        Shortage: It cannot be loaded now: there is no memory or descriptor left, for instance.
    """
    try:
        from ckptd.store.materialising.applied_tensors import FileWriting  # noqa: PLC0415
    except (ImportError, OSError, MemoryError) as error:
        raise Shortage("numpy and xxhash", f"cannot be loaded: {error}") from error
    return FileWriting


class _Writers:
    """Threads that write files side by side; when it is left, all of them have ended.

    Args:
        files: What is made.
        on_progress: As for :func:`make_copy`.
        new_writing: Makes what writes a file.
    """

    def __init__(
        self,
        files: ChainFiles,
        on_progress: Callable[[int], None],
        new_writing: type[FileWriting],
    ) -> None:
        self._files = files
        self._on_progress = on_progress
        self._new_writing = new_writing
        self._is_over = threading.Event()
        count = min(os.cpu_count() or 1, _WRITERS_MAX, max(len(files.files), 1))
        self._threads = ThreadPoolExecutor(count, "materialise-file")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._threads.shutdown(cancel_futures=True)

    def each(self, write: Callable[[str, MadeFile, FileWriting], str]) -> Iterator[str]:
        """Write all files; yield what comes of each, in order."""

        def begin(path: str, file: MadeFile) -> str:
            return write(path, file, self._new_writing(self._files, self._note))

        files = self._files.files
        yield from self._threads.map(begin, files.keys(), files.values())

    def _note(self, size_bytes: int) -> None:
        if self._is_over.is_set():
            raise CkptdError("materialising", "was ended by another file")
        self._on_progress(size_bytes)


def _made(
    tree: Root,
    target: CopyTarget,
    files: ChainFiles,
    finishings: Sequence[Finishing],
    writers: _Writers,
) -> MadeNote:
    """Make everything in a staging directory, durably."""
    for path in directories_of(files.files):
        os.close(tree.open_directory(path, create=True))

    def write(path: str, file: MadeFile, writing: FileWriting) -> str:
        return _write(tree, path, file, finishings[file.origin], writing)

    noted = [
        NotedFile(path, file.source.size_bytes, digest)
        for (path, file), digest in zip(files.files.items(), writers.each(write), strict=True)
    ]
    note = MadeNote(
        FORMAT, target.checkpoint, target.version, target.of, files.left_out, tuple(noted)
    )
    stage_own(tree, MADE_NOTE, note.encoded())
    for path in reversed(["", *directories_of(files.files)]):
        with as_directory(tree, path) as fd:
            finishings[0].give(fd, finishings[0].of_directory(path))
            sync_file(fd)
    return note


def _write(
    tree: Root, path: str, file: MadeFile, finishing: Finishing, writing: FileWriting
) -> str:
    """Write one file, give it what it gets last, make it durable; return its digest."""
    fd = tree.open_file(path, CREATE, STAGED_FILE_MODE)

    def put(at: int, content: memoryview) -> None:
        with mapping_os_errors(tree.absolute(path)):
            while len(content):
                count = os.pwrite(fd, content, at)
                at, content = at + count, content[count:]

    try:
        with mapping_os_errors(tree.absolute(path)):
            if file.source.size_bytes:
                reserve(fd, file.source.size_bytes)
        digest = writing.write(file, put)
        with mapping_os_errors(tree.absolute(path)):
            last = finishing.of_unit(file.unit)
            finishing.give(fd, last._replace(mtime_ns=None) if file.tensors else last)
            sync_file(fd)
    finally:
        os.close(fd)
    return digest
