"""The state directory and the one SQLite file in it, which catalog and journal share.

A transaction is durable when :meth:`Database.run` returns: write-ahead log, ``synchronous=FULL``.
A crash loses the transactions that had not returned, and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import itertools
import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ckptd.errors import (
    CkptdError,
    DamagedState,
    OutOfSpace,
    StateDirectoryInUse,
    StorageError,
)
from ckptd.limits import MIB
from ckptd.store.files import confined, layout
from ckptd.store.files.kernel import storage_error
from ckptd.store.records.schema import SCHEMA_VERSION, Connection, bring_up_to_date

T = TypeVar("T")

_LOG_BYTES_MAX: Final = 64 * MIB
"""What the write-ahead log is cut to after a large transaction, such as a long manifest."""


class StateDirectory:
    """The directory of one daemon, locked while it is open.

    Attributes:
        path: Where it is.
    """

    def __init__(self, path: str, lock_fd: int) -> None:
        self.path = path
        self._lock_fd = lock_fd

    @classmethod
    def open(cls, path: str) -> StateDirectory:
        """Open and lock the directory, created if it is missing. The lock ends with the process.

        Raises:
            StateDirectoryInUse: Another daemon has it.
            StorageError: It cannot be made or written, or others may write to it.
        """
        subject = f"state directory {path}"
        try:
            directory = confined.open_configured(path, create_mode=0o700)
            try:
                _check_own(directory, subject)
                fd = confined.open_file(
                    directory,
                    layout.LOCK,
                    os.O_RDWR | os.O_CREAT,
                    0o600,
                    subject=f"{subject}/{layout.LOCK}",
                )
            finally:
                os.close(directory)
        except OSError as error:
            raise storage_error(subject, error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise StateDirectoryInUse(
                subject,
                "another ckptd uses it",
                "Stop that one, or give this one a state directory of its own.",
            ) from error
        except OSError as error:
            os.close(fd)
            raise storage_error(subject, error) from error
        return cls(path, fd)

    @staticmethod
    def check(path: str) -> None:
        """Check the directory, if it is there, and leave it as it is.

        Raises:
            StorageError: It cannot be opened, or others may write to it.
        """
        subject = f"state directory {path}"
        try:
            directory = confined.open_configured(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise storage_error(subject, error) from error
        try:
            _check_own(directory, subject)
        finally:
            os.close(directory)

    def close(self) -> None:
        """Unlock the directory."""
        os.close(self._lock_fd)

    @property
    def database_path(self) -> str:
        """Where the database lies."""
        return layout.database_in(self.path)


class Database:
    """One SQLite file and the thread that works on it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._thread = ThreadPoolExecutor(1, "ckptd-database")
        self._connection: Connection | None = None

    async def open(self) -> None:
        """Open the file, created if it is missing, and check it.

        Raises:
            DamagedState: It is no database, or a damaged one. :func:`move_aside` may follow.
            StorageError: It cannot be opened, or a newer ckptd has written it.
        """
        try:
            await self._in_thread(self._open)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Wait for the transaction that is running, then close the file."""
        await self._in_thread(self._close)
        self._thread.shutdown()

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run some statements as one transaction, durable on return.

        A cancelled caller waits until the transaction has ended, committed or not.

        Args:
            work: Called in the database's thread; what it raises rolls back.

        Raises:
            OutOfSpace: No room; nothing was changed.
            DamagedState: The file turned out to be damaged.
            StorageError: The disk refused; nothing was changed.
        """
        return await self._in_thread(lambda: self._transact(work))

    def run_blocking(self, work: Callable[[Connection], T]) -> T:
        """Do what :meth:`run` does, from a thread that may block; never from the event loop."""
        return self._thread.submit(self._transact, work).result()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        future = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    def _open(self) -> None:
        with _mapping_errors(self.path):
            connection = sqlite3.connect(self.path, isolation_level=None)
            self._connection = connection
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA temp_store = MEMORY")  # no file outside the directory
            connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES_MAX}")
            (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                raise _damaged(self.path, verdict.splitlines()[-1])
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA_VERSION:
                raise StorageError(
                    f"state database {self.path}",
                    f"was written by a newer ckptd (schema {version}, not {SCHEMA_VERSION})",
                    "Use that one, or give this one a state directory of its own.",
                )
            if version < SCHEMA_VERSION:
                bring_up_to_date(connection, version)

    def _close(self) -> None:
        if self._connection:
            with _mapping_errors(self.path):
                self._connection.close()
            self._connection = None

    def _transact(self, work: Callable[[Connection], T]) -> T:
        connection = self._connection
        assert connection, "the database is not open"
        with _mapping_errors(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result


def move_aside(path: str) -> str:
    """Give a damaged database another name, so that a new one can be created.

    Its write-ahead log goes along: tools that salvage a database need both.

    Returns:
        The new path.

    Raises:
        StorageError: The system refused.
    """
    directory_path, _, database = path.rpartition("/")
    try:
        directory = confined.open_configured(directory_path)
        try:
            taken = {name for name, _ in confined.entries(directory)}
            aside = next(
                name
                for number in itertools.count(1)
                if (name := layout.damaged_database(database, number)) not in taken
            )
            for suffix in layout.DATABASE_SUFFIXES:
                with contextlib.suppress(FileNotFoundError):
                    confined.rename_noreplace(
                        directory, database + suffix, directory, aside + suffix
                    )
        finally:
            os.close(directory)
    except OSError as error:
        raise storage_error(f"state database {path}", error) from error
    return f"{directory_path}/{aside}"


def _check_own(directory: int, subject: str) -> None:
    """Check that no other user can place files here: SQLite opens its files by path.

    Raises:
        StorageError: Every user may write to it, or a file of the database is a link or no
            regular file.
    """
    if os.fstat(directory).st_mode & stat.S_IWOTH:
        raise StorageError(subject, "may be written by everybody", "Close it: chmod 700.")
    for name, facts in confined.entries(directory):
        is_own = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
        if layout.is_of_database(name) and not is_own:
            raise StorageError(f"{subject}: {name!r}", "is a link or no regular file", "Remove it.")


@contextlib.contextmanager
def _mapping_errors(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _mapped(path, error) from error


def _mapped(path: str, error: sqlite3.Error) -> CkptdError:
    subject = f"state database {path}"
    # The low byte is the primary result code: https://www.sqlite.org/rescode.html
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, str(error))
        case sqlite3.SQLITE_FULL:
            return OutOfSpace(subject, "there is no room left", "Make room and try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return StorageError(
                subject, f"cannot be opened for writing: {error}", "Give the daemon's user access."
            )
        case sqlite3.SQLITE_IOERR:
            return StorageError(subject, f"the disk refused: {error}", "Check the disk.")
        case _:
            return StorageError(subject, str(error))


def _damaged(path: str, problem: str) -> DamagedState:
    return DamagedState(
        f"state database {path}",
        f"is damaged: {problem}",
        "Run 'ckptd run --move-damaged-state' once: it moves the file aside and starts over.",
    )
