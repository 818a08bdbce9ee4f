"""Runs over many files, by several threads: each file is hashed and must be still meanwhile.

Publishing hashes what it found, checking what was recorded. They make different things of a file;
how files are spread over threads, reported and cancelled is the same.

A file is fingerprinted before it is read and after. The first fingerprint is taken only when any
later write would change it: every write sets ``ctime``, and no call can set it back.
"""

from __future__ import annotations

import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, Protocol, TypeVar, overload

from ckptd.buffers import page_buffer
from ckptd.limits import MIB, MS, SECOND
from ckptd.store.files.hashing import Read
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.files.sparing_reading import SparingReading

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


class FilesOf(Sequence[_File]):
    """Files that are made when it is their turn, of some units.

    Args:
        units: Which ones, in their order.
        make: Makes the file of one.
    """

    def __init__(self, units: array[int], make: Callable[[int], _File]) -> None:
        self._units = units
        self._make = make

    def __len__(self) -> int:
        return len(self._units)

    @overload
    def __getitem__(self, index: int) -> _File: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[_File, ...]: ...
    def __getitem__(self, index: int | slice) -> _File | tuple[_File, ...]:
        if isinstance(index, slice):
            return tuple(map(self._make, self._units[index]))
        return self._make(self._units[index])


class Cancelled(Exception):
    """Another thread failed, or the caller no longer wants the result."""


class HashRun(Generic[_File]):
    """One run over all files.

    Args:
        root: Where they lie.
        files: What to hash; there may be very many, so one is made when it is its turn.
        hash_file: Hashes one, with this run to wait and to report with, the names of the root, and
            a buffer; called from the threads. What it raises ends the run.
        on_progress: Called from those threads, one call at a time. It may take its time: the next
            bytes are read when it returns.
        is_cancelled: Asked before each report; a true answer ends the run.
        breathe: Called after each few bytes that had to come from the disk, with how many; it may
            sleep. They do not stay in the page cache. ``None``: files are read as usual.
    """

    def __init__(
        self,
        root: Root,
        files: Sequence[_File],
        hash_file: Callable[[HashRun[_File], _File, Names, memoryview], None],
        *,
        on_progress: Callable[[HashingProgress], None],
        is_cancelled: Callable[[], bool],
        breathe: Callable[[int], None] | None = None,
    ) -> None:
        self._root = root
        self._files = files
        plan = _plan(files)
        self._batches = deque(plan.batches)
        self._buffer_bytes = max(_BUFFER_BYTES_MIN, 2 * plan.grain_bytes)
        self._hash_file = hash_file
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled
        self._breathe = breathe
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._files_done = self._bytes_done = 0
        self._files_total = len(files)
        self._bytes_total = plan.size_bytes

    def run(self, workers: int) -> None:
        """Hash everything.

        Args:
            workers: Threads; each needs a buffer of at least 8 MiB.

        Raises:
            Cancelled: Nobody wants it any more.
            CkptdError: What ``hash_file`` raised first.
        """
        with ThreadPoolExecutor(workers, "ckptd-hash") as threads:
            runs = [threads.submit(self._drain) for _ in range(min(workers, len(self._batches)))]
        for run in runs:
            run.result()
        if self._stopped.is_set():
            raise Cancelled

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

    def reader(self, fd: int) -> Read | None:
        """Return what reads a file; ``None``: it is read as usual."""
        return SparingReading(fd, self._breathe).read_exactly if self._breathe else None

    def reporting(self, file: _File) -> Callable[[int], None] | None:
        """Return what takes note of bytes that were read; ``None`` where its batch reports them."""
        return self._report_bytes if _is_long(file) else None

    def _drain(self) -> None:
        buffer = page_buffer(self._buffer_bytes)
        try:
            while self._batches:
                try:
                    batch = self._batches.popleft()
                except IndexError:  # another thread was faster
                    break
                self._hash_batch(batch, buffer)
        except Cancelled:
            pass
        except BaseException:
            self._stopped.set()
            raise

    def _hash_batch(self, batch: Sequence[int], buffer: memoryview) -> None:
        size_bytes = 0
        with Names(self._root) as names:
            for number in batch:
                file = self._files[number]
                self._hash_file(self, file, names, buffer)
                size_bytes += _reported_at_once(file)
        self._report(len(batch), size_bytes)

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


class _Plan(NamedTuple):
    """Which files are hashed together, by their numbers, and what they come to.

    Attributes:
        batches: The long files in front, each alone, and short ones together behind them.
        size_bytes: The length of all.
        grain_bytes: The longest blocks.
    """

    batches: list[Sequence[int]]
    size_bytes: int
    grain_bytes: int


def _plan(files: Sequence[HashedFile]) -> _Plan:
    """Go through all files, once."""
    long: list[tuple[int, int]] = []
    short: list[Sequence[int]] = []
    batch = array("I")
    batch_bytes = total_bytes = grain_bytes = 0
    for number, each in enumerate(files):
        total_bytes += each.size_bytes
        grain_bytes = max(grain_bytes, each.grain_bytes)
        if _is_long(each):
            long.append((each.size_bytes, number))
            continue
        if len(batch) == _BATCH_FILES or batch_bytes > _BATCH_BYTES:
            short.append(batch)
            batch, batch_bytes = array("I"), 0
        batch.append(number)
        batch_bytes += each.size_bytes
    if batch:
        short.append(batch)
    long.sort(key=lambda each: each[0], reverse=True)
    return _Plan([*([number] for _, number in long), *short], total_bytes, grain_bytes)
