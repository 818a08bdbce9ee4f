"""The standard streams of a command: there from the first line on, and never a reason to lie.

A shell can start a command with a descriptor closed (``>&-``); what is opened next would get its
number, and be written to by whoever prints. And whoever reads may go away, or the disk under the
output be full: then what is printed is dropped, what was asked for is waited for all the same,
and the exit code says how that ended.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, TextIO

from ckptd.errors import ExitCode

NOBODY_READS: Final = 128 + signal.SIGPIPE
"""What a shell makes of a command that its reader ended."""


class Outlet(io.TextIOWrapper):
    """Writes what another stream would, until that fails; what comes then is dropped.

    Attributes:
        failure: Why nothing is written any more; ``None`` while it is.
        is_only_for_readers: Nothing is left to do when nobody reads.

    Args:
        stream: Whose buffer it writes to; not used meanwhile.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors="backslashreplace",  # a name may not exist in this encoding
            line_buffering=bool(stream.line_buffering),
        )
        self.failure: OSError | None = None
        self.is_only_for_readers = False

    def write(self, text: str, /) -> int:
        """Write, or drop it.

        Raises:
            BrokenPipeError: Nobody reads, and there is nothing else to do.
        """
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Hand on what is buffered, or drop it.

        Raises:
            BrokenPipeError: Nobody reads, and there is nothing else to do.
        """
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        self.failure = self.failure or error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())  # takes what is buffered, too
        os.close(null)
        if self.is_only_for_readers and error.errno == errno.EPIPE:
            raise error


class StandardStreams:
    """Puts outlets in place of ``sys.stdout`` and ``sys.stderr``, unless others stand there."""

    def __enter__(self) -> Self:
        open_missing_descriptors()
        self._before = sys.stdout, sys.stderr
        self._output: Outlet | None = None
        if _is_own(sys.stdout, 1):
            sys.stdout = self._output = Outlet(sys.stdout)
        if _is_own(sys.stderr, 2):
            sys.stderr = Outlet(sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, Outlet):
                with suppress(BrokenPipeError):
                    stream.flush()
                stream.detach()  # the buffer stays open
        sys.stdout, sys.stderr = self._before

    def end_with_reader(self) -> None:
        """Raise ``BrokenPipeError`` when nobody reads the output: it is all there is to do."""
        if self._output is not None:
            self._output.is_only_for_readers = True

    def settle(self, code: int) -> tuple[int, str]:
        """Write what is left.

        Args:
            code: How what was asked for ended.

        Returns:
            How the command ends, and what is to be said about that, if anything is.

        Raises:
            BrokenPipeError: As :meth:`end_with_reader` says.
        """
        sys.stdout.flush()
        failure = self._output.failure if self._output is not None else None
        if failure is None or failure.errno == errno.EPIPE:
            return code, ""
        return code or ExitCode.FAILED, f"the output could not be written: {failure.strerror}"


def open_missing_descriptors() -> None:
    """Open the null device for each of the descriptors 0 to 2 that is closed."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(opened, True)  # noqa: FBT003 -- its only form
    # For as long as the process, like those that Python makes.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def _is_own(stream: TextIO, fd: int) -> bool:
    """Tell whether a stream is the process's own: tests put others there."""
    with suppress(OSError, ValueError):
        return type(stream) is io.TextIOWrapper and stream.fileno() == fd
    return False
