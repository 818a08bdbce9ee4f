import ctypes
import errno
import mmap
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, NotFound, OutOfSpace, Shortage, StorageError
from ckptd.limits import MIB
from ckptd.store.files import kernel
from ckptd.store.files.kernel import (
    is_open_for_writing,
    mapping_os_errors,
    read_idle,
    reserve,
    storage_error,
    sync_data,
    sync_file,
    sync_file_system,
)
from tests.support.mounts import ext4, needs_disk, ramfs, tmpfs


def test_a_full_disk_is_out_of_space() -> None:
    with (
        pytest.raises(OutOfSpace, match="target: there is no room left"),
        mapping_os_errors("target"),
        open("/dev/full", "wb", buffering=0) as full,
    ):
        full.write(b"x")


MOUNT_IT = "Mount it for writing, restart ckptd if it is so by now, or use another root."


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EDQUOT, OutOfSpace),
        (errno.ENOENT, NotFound),
        (errno.EROFS, StorageError),
        (errno.EIO, StorageError),
        (errno.EMFILE, Shortage),
        (errno.ENOMEM, Shortage),
        (errno.ENAMETOOLONG, StorageError),
    ],
)
def test_each_refusal_has_its_error(code: int, kind: type[CkptdError]) -> None:
    error = storage_error("file /a", OSError(code, os.strerror(code)))
    assert type(error) is kind
    assert str(error).startswith("file /a: ")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (errno.EACCES, "may not be accessed by the daemon. Give its user access."),
        (errno.EPERM, "may not be accessed by the daemon. Give its user access."),
        (errno.EROFS, f"is on a read-only file system. {MOUNT_IT}"),
        (errno.ENOTDIR, "is a symbolic link or no directory. Name directories without links."),
        (errno.ELOOP, "is a symbolic link. Name the file itself."),
        (errno.EXDEV, "is on another file system than its root. Make that mount a root."),
        (errno.ENAMETOOLONG, "has a name that is too long for its file system. Use shorter names."),
        (errno.EIO, "could not be read or written: the disk reports an error. Check the disk."),
        (errno.ENOSPC, "there is no room left. Make room and try again."),
        (errno.EDQUOT, "there is no room left. Make room and try again."),
        (errno.ENOENT, "does not exist."),
        (errno.EBUSY, "Device or resource busy."),
    ],
)
def test_each_refusal_says_what_to_do(code: int, problem: str) -> None:
    said = str(storage_error("file /a", OSError(code, os.strerror(code))))
    assert said.rstrip(".") == f"file /a: {problem}".rstrip(".")


def test_a_refusal_without_a_number_says_what_it_is() -> None:
    assert str(storage_error("file /a", OSError("odd"))).startswith("file /a: odd")


def test_the_cause_stays_with_the_error() -> None:
    refusal = OSError(errno.EIO, "Input/output error")
    with pytest.raises(StorageError) as caught, mapping_os_errors("disk"):
        raise refusal
    assert caught.value.__cause__ is refusal


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(ValueError, match="other"), mapping_os_errors("disk"):
        raise ValueError("other")


def test_room_on_a_disk_is_reserved(tmp_path: Path) -> None:
    needs_disk(tmp_path)
    with (tmp_path / "file").open("wb") as file:
        assert reserve(file.fileno(), 3 * MIB)
        facts = os.fstat(file.fileno())
    assert facts.st_size == 3 * MIB
    assert facts.st_blocks * 512 >= 3 * MIB


def test_room_in_memory_is_not_reserved(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "memory") as path, (path / "file").open("wb") as file:
        assert not reserve(file.fileno(), MIB)
        assert os.fstat(file.fileno()).st_size == 0


def test_a_file_system_that_cannot_reserve_says_so(tmp_path: Path) -> None:
    with ramfs(tmp_path / "memory") as path, (path / "file").open("wb") as file:
        assert not reserve(file.fileno(), MIB)
        assert os.fstat(file.fileno()).st_size == 0


def test_without_room_nothing_is_reserved(tmp_path: Path) -> None:
    with (
        ext4(tmp_path / "small", size_bytes=8 * MIB) as path,
        (path / "file").open("wb") as file,
        pytest.raises(OSError, match="No space left") as caught,
    ):
        reserve(file.fileno(), 100 * MIB)
    assert caught.value.errno == errno.ENOSPC


def test_calls_on_no_file_are_refused() -> None:
    for call in (lambda: reserve(-1, 1), lambda: sync_file_system(-1)):
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            call()
        assert caught.value.errno == errno.EBADF


def test_a_file_system_is_synced(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        sync_file_system(fd)
    finally:
        os.close(fd)


def test_a_file_that_is_open_for_writing_or_mapped_so_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * mmap.PAGESIZE)
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not is_open_for_writing(fd)
        with path.open("rb"):
            assert not is_open_for_writing(fd), "others may read"
        with path.open("r+b") as file:
            assert is_open_for_writing(fd)
            mapped = mmap.mmap(file.fileno(), 0)
        assert is_open_for_writing(fd), "closed, and mapped still"
        mapped.close()
        assert not is_open_for_writing(fd)
    finally:
        os.close(fd)


def test_nobody_is_kept_from_opening_a_file_that_was_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not is_open_for_writing(fd)
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # EWOULDBLOCK under a lease
    finally:
        os.close(fd)


def test_what_no_lease_can_be_had_on_is_not_known_to_be_open(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert not is_open_for_writing(fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("sync", "call"), [(sync_file, "fsync"), (sync_data, "fdatasync")])
def test_a_failed_sync_is_no_shortage_that_passes(
    sync: Callable[[int], None], call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says once that something is lost; the next sync would succeed."""

    def refuse(_: int) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(os, call, refuse)
    with (
        pytest.raises(StorageError, match="the disk reports an error") as caught,
        mapping_os_errors("file /a"),
    ):
        sync(0)
    assert not isinstance(caught.value, Shortage)


_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}


def io_class() -> int:
    """Return the class in which disks serve this thread: 3 is the idle one."""
    libc = ctypes.CDLL(None)
    return int(libc.syscall(_IOPRIO_GET[os.uname().machine], 1, 0)) >> 13


def test_a_thread_and_those_that_it_starts_read_in_the_idle_class_and_no_other_does() -> None:
    if os.uname().machine not in _IOPRIO_GET:
        pytest.skip("the number of the system call is not known")
    before = io_class()

    def classes() -> tuple[int, int]:
        with ThreadPoolExecutor(1) as started:
            return io_class(), started.submit(io_class).result()

    with ThreadPoolExecutor(1) as threads:
        why = threads.submit(read_idle).result()
        if why:
            pytest.skip(why)
        assert threads.submit(classes).result() == (3, 3)
    assert io_class() == before != 3


def test_on_a_machine_that_is_not_known_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "_IOPRIO_SET", {})
    assert read_idle() == "is not known on this kind of machine"
