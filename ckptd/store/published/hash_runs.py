"""Runs over many files, by several threads: each file is hashed and must be still meanwhile.

Publishing hashes what it found, checking what was recorded. They make different things of a file;
how files are spread over threads, reported and cancelled is the same.

A file is fingerprinted before it is read and after. The first fingerprint is taken only when any
later write would change it: every write sets ``ctime``, and no call can set it back.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from ckptd.buffers import page_buffer
from ckptd.limits import MIB, MS, SECOND
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root

_BATCH_FILES: Final = 64
_BATCH_BYTES: Final = 16 * MIB
"""What a thread takes at once: enough that taking costs little, few enough to spread the load."""
_BUFFER_BYTES_MIN: Final = 8 * MIB
_RACY_NS: Final = 20 * MS
"""Two writes within one tick of the kernel's clock (10 ms at 100 Hz) leave one timestamp."""
_RACY_LOOKS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class HashingProgress:
    """How far hashing is."""

    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int


class HashedFile(Protocol):
    """A file that is to be hashed."""

    @property
    def place(self) -> str:
        """Where it lies, relative to the root."""

    @property
    def size_bytes(self) -> int:
        """About how long it is."""

    @property
    def grain_bytes(self) -> int:
        """How long its blocks are."""


_File = TypeVar("_File", bound=HashedFile)
_Result = TypeVar("_Result")


class Cancelled(Exception):
    """Another thread failed, or the caller no longer wants the result."""


class HashRun(Generic[_File, _Result]):
    """One run over all files.

    Args:
        root: Where they lie.
        files: What to hash.
        hash_file: Hashes one, with this run to wait and to report with, the names of the root, and
            a buffer; called from the threads. What it raises ends the run.
        on_progress: Called from those threads, one call at a time. It may take its time: the next
            bytes are read when it returns.
        is_cancelled: Asked before each report; a true answer ends the run.
    """

    def __init__(
        self,
        root: Root,
        files: Sequence[_File],
        hash_file: Callable[[HashRun[_File, _Result], _File, Names, memoryview], _Result],
        *,
        on_progress: Callable[[HashingProgress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._root = root
        self._batches = deque(_batches(files))
        self._buffer_bytes = max(
            _BUFFER_BYTES_MIN, 2 * max((each.grain_bytes for each in files), default=0)
        )
        self._hash_file = hash_file
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._files_done = self._bytes_done = 0
        self._files_total = len(files)
        self._bytes_total = sum(each.size_bytes for each in files)

    def run(self, workers: int) -> list[_Result]:
        """Hash everything; return what each file gave, in no order.

        Args:
            workers: Threads; each needs a buffer of at least 8 MiB.

        Raises:
            Cancelled: Nobody wants it any more.
            CkptdError: What ``hash_file`` raised first.
        """
        with ThreadPoolExecutor(workers, "ckptd-hash") as threads:
            runs = [threads.submit(self._drain) for _ in range(min(workers, len(self._batches)))]
        hashed = [result for run in runs for result in run.result()]
        if self._stopped.is_set():
            raise Cancelled
        return hashed

    def settled(self, fd: int) -> os.stat_result | None:
        """Return the facts of a file when any later write will change them.

        Returns:
            ``None`` if it is written to again and again.

        Raises:
            Cancelled: Nobody waits for it any more.
            OSError: The file system refused.
        """
        for _ in range(_RACY_LOOKS_MAX):
            facts = os.fstat(fd)
            age_ns = time.time_ns() - facts.st_ctime_ns
            if not -_RACY_NS < age_ns < _RACY_NS:
                return facts
            if self._stopped.wait((_RACY_NS - age_ns) / SECOND):
                raise Cancelled
        return None

    def reporting(self, file: _File) -> Callable[[int], None] | None:
        """Return what takes note of bytes that were read; ``None`` where its batch reports them."""
        return self._report_bytes if _is_long(file) else None

    def _drain(self) -> list[_Result]:
        buffer = page_buffer(self._buffer_bytes)
        done: list[_Result] = []
        try:
            while self._batches:
                try:
                    batch = self._batches.popleft()
                except IndexError:  # another thread was faster
                    break
                with Names(self._root) as names:
                    done += [self._hash_file(self, file, names, buffer) for file in batch]
                self._report(len(batch), sum(map(_reported_at_once, batch)))
        except Cancelled:
            pass
        except BaseException:
            self._stopped.set()
            raise
        return done

    def _report_bytes(self, size_bytes: int) -> None:
        self._report(0, size_bytes)

    def _report(self, files: int, size_bytes: int) -> None:
        if self._is_cancelled():
            self._stopped.set()
        if self._stopped.is_set():
            raise Cancelled
        with self._lock:
            self._files_done += files
            self._bytes_done += size_bytes
            self._on_progress(
                HashingProgress(
                    self._files_done, self._files_total, self._bytes_done, self._bytes_total
                )
            )


def _is_long(file: HashedFile) -> bool:
    return file.size_bytes >= _BATCH_BYTES


def _reported_at_once(file: HashedFile) -> int:
    """Return the bytes that are reported with the batch; long files report as they go."""
    return 0 if _is_long(file) else file.size_bytes


def _batches(files: Sequence[_File]) -> Iterator[list[_File]]:
    """Put long files in front, each alone, and short ones together behind them."""
    long = sorted(filter(_is_long, files), key=lambda each: each.size_bytes, reverse=True)
    yield from ([each] for each in long)
    batch: list[_File] = []
    batch_bytes = 0
    for each in itertools.filterfalse(_is_long, files):
        if len(batch) == _BATCH_FILES or batch_bytes > _BATCH_BYTES:
            yield batch
            batch, batch_bytes = [], 0
        batch.append(each)
        batch_bytes += each.size_bytes
    if batch:
        yield batch
