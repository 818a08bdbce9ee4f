"""A bounded set of open files, shared by threads."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator

from ckptd.errors import Shortage


class _OpenFile:
    """A descriptor and how many threads use it at the moment."""

    __slots__ = ("fd", "users")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.users = 0


class OpenFiles:
    """Keeps the most recently used files open; never closes one that is in use.

    Opening and closing happen outside the lock.
    """

    def __init__(self, open_file: Callable[[int], int], *, files_max: int) -> None:
        """Keep at most ``files_max`` files, or as many as are in use.

        Args:
            open_file: Returns a new descriptor for a number, here that of a unit.
            files_max: How many stay open while no thread uses them.
        """
        self._open_file = open_file
        self._files_max = files_max
        self._lock = threading.Lock()
        self._files: OrderedDict[int, _OpenFile] = OrderedDict()  # used last comes last

    @contextlib.contextmanager
    def borrow(self, number: int) -> Iterator[int]:
        """Lend a descriptor for as long as the context lasts.

        Raises:
            CkptdError: What ``open_file`` raises.
            OSError: A file that had to make room could not be closed.
        """
        file = self._take(number)
        try:
            yield file.fd
        finally:
            with self._lock:
                file.users -= 1

    def has_all(self, numbers: Collection[int]) -> bool:
        """Return whether all these files are open."""
        with self._lock:
            return all(number in self._files for number in numbers)

    def let_go(self, numbers: Iterable[int]) -> None:
        """Close some files, but for those that are in use.

        Raises:
            OSError: A file could not be closed; the others are closed nevertheless.
        """
        with self._lock, contextlib.ExitStack() as stack:
            for number in numbers:
                file = self._files.get(number)
                if file is not None and not file.users:
                    del self._files[number]
                    stack.callback(os.close, file.fd)

    def close(self) -> None:
        """Close all files. None may be in use, and no call may follow.

        Raises:
            OSError: A file could not be closed; the others are closed nevertheless.
        """
        with self._lock, contextlib.ExitStack() as stack:
            while self._files:
                _, file = self._files.popitem()
                assert not file.users, "a file is closed under its user"
                stack.callback(os.close, file.fd)

    def _take(self, number: int) -> _OpenFile:
        with self._lock:
            file = self._files.get(number)
            if file is not None:
                self._files.move_to_end(number)
                file.users += 1
                return file
        opened = _OpenFile(self._open(number))
        surplus: list[_OpenFile] = []
        with self._lock:
            # Another thread may have opened it in between; then its descriptor is used.
            file = self._files.setdefault(number, opened)
            file.users += 1
            if file is not opened:
                surplus.append(opened)
            surplus += self._evict()
        for unused in surplus:
            os.close(unused.fd)
        return file

    def _open(self, number: int) -> int:
        """Open a file, in place of all that nobody uses if there is no descriptor left."""
        try:
            return self._open_file(number)
        except Shortage:
            with self._lock:
                idle = [known for known, file in self._files.items() if not file.users]
                unused = [self._files.pop(known) for known in idle]
            if not unused:
                raise
        for file in unused:
            os.close(file.fd)
        return self._open_file(number)

    def _evict(self) -> list[_OpenFile]:
        if len(self._files) <= self._files_max:
            return []
        for number, file in self._files.items():
            if not file.users:
                del self._files[number]
                return [file]
        return []
