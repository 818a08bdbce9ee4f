import asyncio
import errno
import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ckptd.errors import (
    CkptdError,
    Conflict,
    DamagedState,
    ExitCode,
    OutOfSpace,
    StateDirectoryInUse,
    StorageError,
)
from ckptd.store.records.database import _LOG_BYTES_MAX, Database, StateDirectory, move_aside
from ckptd.store.records.schema import SCHEMA_VERSION, Connection
from tests.support.stores import open_descriptors


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    database = Database(str(path))
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def add_record(connection: Connection) -> None:
    connection.execute("INSERT INTO ended (format, record) VALUES (1, ?)", (b"r" * 1000,))


def count_records(connection: Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM ended").fetchone()
    return int(count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ckptd.db"


def test_a_state_directory_is_made_for_its_owner_only(tmp_path: Path) -> None:
    directory = StateDirectory.open(str(tmp_path / "var/ckptd"))
    assert stat.S_IMODE(os.stat(directory.path).st_mode) == 0o700
    assert directory.database_path == f"{tmp_path}/var/ckptd/ckptd.db"
    directory.close()


def test_a_state_directory_has_one_daemon(tmp_path: Path) -> None:
    first = StateDirectory.open(str(tmp_path))
    with pytest.raises(StateDirectoryInUse, match="another ckptd uses it") as caught:
        StateDirectory.open(str(tmp_path))
    assert caught.value.exit_code is ExitCode.STATE_IN_USE
    first.close()
    StateDirectory.open(str(tmp_path)).close()


def test_a_state_directory_that_is_refused_is_not_kept_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StateDirectory.open(str(tmp_path))
    before = open_descriptors()
    with pytest.raises(StateDirectoryInUse):
        StateDirectory.open(str(tmp_path))
    assert open_descriptors() == before
    first.close()

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = open_descriptors()
    with pytest.raises(StorageError, match="No locks available"):
        StateDirectory.open(str(tmp_path))
    assert open_descriptors() == before


def test_a_killed_daemon_leaves_its_state_directory_free(tmp_path: Path) -> None:
    program = (
        "import os, signal; from ckptd.store.records.database import StateDirectory;"
        f"StateDirectory.open({str(tmp_path)!r}); os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode < 0
    StateDirectory.open(str(tmp_path)).close()


@pytest.mark.parametrize("path", ["/sys/ckptd", "/dev/null", "/dev/null/ckptd"])
def test_a_state_directory_that_cannot_be_is_named(path: str) -> None:
    with pytest.raises(StorageError, match=f"state directory {path}: "):
        StateDirectory.open(path)


def test_a_state_directory_that_everybody_may_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(StorageError, match=r"may be written by everybody\..*chmod 700"):
        StateDirectory.open(str(tmp_path))


@pytest.mark.parametrize("name", ["ckptd.db", "ckptd.db-wal", "lock"])
def test_a_link_planted_in_the_state_directory_is_not_followed(tmp_path: Path, name: str) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match=r"is a (symbolic )?link"):
        StateDirectory.open(str(tmp_path / "state"))
    assert os.listdir(tmp_path) == ["state"]


def test_a_database_with_a_second_name_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "state/ckptd.db").hardlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="is a link or no regular file"):
        StateDirectory.open(str(tmp_path / "state"))


async def test_what_was_committed_is_there_after_opening_again(path: Path) -> None:
    async with opened(path) as database:
        await database.run(add_record)
    async with opened(path) as database:
        assert await database.run(count_records) == 1


async def test_commits_are_synced(path: Path) -> None:
    async with opened(path) as database:
        settings = await database.run(
            lambda connection: [
                connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "user_version")
            ]
        )
    full = 2
    assert settings == ["wal", full, SCHEMA_VERSION]


async def test_every_commit_is_durable_and_no_file_lies_elsewhere(path: Path) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "temp_store", "journal_size_limit")
        return [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    async with opened(path) as database:
        full, memory = 2, 2
        assert await database.run(settings) == ["wal", full, 1, memory, _LOG_BYTES_MAX]


async def test_a_failed_transaction_leaves_nothing(path: Path) -> None:
    def work(connection: Connection) -> None:
        add_record(connection)
        raise Conflict("a", "b")

    async with opened(path) as database:
        with pytest.raises(Conflict):
            await database.run(work)
        assert await database.run(count_records) == 0


async def test_a_wrong_statement_is_a_storage_error_and_rolls_back(path: Path) -> None:
    def work(connection: Connection) -> None:
        add_record(connection)
        connection.execute("SELECT nonsense")

    async with opened(path) as database:
        with pytest.raises(StorageError, match="nonsense"):
            await database.run(work)
        assert await database.run(count_records) == 0


async def test_a_full_disk_is_out_of_space_and_rolls_back(path: Path) -> None:
    def fill(connection: Connection) -> None:
        for _ in range(1000):
            add_record(connection)

    async with opened(path) as database:
        await database.run(lambda connection: connection.execute("PRAGMA max_page_count = 30"))
        with pytest.raises(OutOfSpace):
            await database.run(fill)
        assert await database.run(count_records) == 0
        await database.run(add_record)


async def test_a_cancelled_caller_waits_for_the_end_of_the_transaction(path: Path) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        add_record(connection)
        begun.set()
        may_end.wait()

    async with opened(path) as database, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(database.run(work))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await database.run(count_records) == 1


def damage(path: Path, kind: str) -> bytearray:
    content = bytearray(path.read_bytes())
    match kind:
        case "no database":
            content[:] = b"not a database, but long enough to be looked at" * 100
        case "header":
            content[0:16] = bytes(16)
        case "pages":
            content[4096:] = b"\xff" * (len(content) - 4096)
        case _:
            del content[len(content) // 2 :]
    path.write_bytes(content)
    return content


@pytest.mark.parametrize("kind", ["no database", "header", "pages", "cut off"])
async def test_a_damaged_database_is_named_and_can_be_moved_aside(path: Path, kind: str) -> None:
    async with opened(path) as database:
        for _ in range(100):
            await database.run(add_record)
    damaged = damage(path, kind)
    database = Database(str(path))
    with pytest.raises(DamagedState, match=rf"{path}: is damaged: .*--move-damaged-state"):
        await database.open()
    aside = move_aside(str(path))
    assert aside == f"{path}.damaged-1"
    assert await asyncio.to_thread(Path(aside).read_bytes) == damaged
    async with opened(path) as fresh:
        assert await fresh.run(count_records) == 0


async def test_moving_aside_takes_the_log_along_and_replaces_nothing(path: Path) -> None:
    for name in ("ckptd.db", "ckptd.db-wal", "ckptd.db.damaged-1", "ckptd.db.damaged-2"):
        (path.parent / name).write_text(name)
    assert move_aside(str(path)) == f"{path}.damaged-3"
    assert {entry.name: entry.read_text() for entry in path.parent.iterdir()} == {
        "ckptd.db.damaged-1": "ckptd.db.damaged-1",
        "ckptd.db.damaged-2": "ckptd.db.damaged-2",
        "ckptd.db.damaged-3": "ckptd.db",
        "ckptd.db.damaged-3-wal": "ckptd.db-wal",
    }


async def test_a_newer_schema_is_refused_and_not_called_damaged(path: Path) -> None:
    async with opened(path):
        pass
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(CkptdError, match="newer ckptd") as caught:
        await Database(str(path)).open()
    assert not isinstance(caught.value, DamagedState)


async def test_a_database_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be opened"):
        await Database(str(tmp_path / "none/ckptd.db")).open()
