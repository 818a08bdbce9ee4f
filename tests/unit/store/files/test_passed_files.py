"""What is taken of what callers pass, and what is made of it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.store.files import passed_files
from ckptd.store.files.kernel import Known, known_of
from ckptd.store.files.names import Names
from ckptd.store.files.passed_files import Inode, PassedFiles, objection
from ckptd.store.files.roots import Root, Roots
from tests.support.somebody import somebody
from tests.support.stores import open_descriptors

KNOWN = Known(device=7, inode=3, mode=stat.S_IFREG | 0o600, names=1, size_bytes=10)
UID = 1000


@pytest.mark.parametrize(
    ("known", "flags", "why"),
    [
        (KNOWN, os.O_RDONLY, ""),
        (KNOWN, os.O_RDONLY | os.O_NONBLOCK, ""),
        (KNOWN._replace(names=2), os.O_RDONLY, ""),
        (KNOWN, os.O_RDWR, "not open for reading only"),
        (KNOWN, os.O_WRONLY, "not open for reading only"),
        (KNOWN, os.O_PATH, "not open for reading only"),
        (KNOWN, os.O_RDONLY | os.O_DIRECT, "direct access"),
        (KNOWN._replace(mode=stat.S_IFIFO | 0o600), os.O_RDONLY, "no regular file"),
        (KNOWN._replace(mode=stat.S_IFDIR | 0o700), os.O_RDONLY, "no regular file"),
        (KNOWN._replace(mode=stat.S_IFBLK | 0o700), os.O_RDONLY, "no regular file"),
        (KNOWN._replace(device=8), os.O_RDONLY, "another file system"),
        (KNOWN._replace(names=0), os.O_RDONLY, "no name"),
        (KNOWN._replace(mode=stat.S_IFREG | 0o4700), os.O_RDONLY, "setuid"),
        (KNOWN._replace(mode=stat.S_IFREG | 0o2700), os.O_RDONLY, "setgid"),
    ],
)
def test_only_a_plain_file_of_a_root_that_is_open_for_reading_is_taken(
    known: Known, flags: int, why: str
) -> None:
    said = objection(known, flags, {7})
    assert (why in said) if why else not said


def test_what_the_kernel_knows_is_what_the_file_system_says(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    os.link(tmp_path / "file", tmp_path / "other")
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    facts = os.fstat(fd)
    assert known_of(fd) == (facts.st_dev, facts.st_ino, facts.st_mode, 2, 5)
    os.close(fd)
    with pytest.raises(OSError, match="Bad file descriptor"):
        known_of(fd)


@pytest.fixture
def passed(root: Root) -> Iterator[PassedFiles]:
    before = open_descriptors()
    kept = Roots([root]).passed
    yield kept
    kept.close()
    assert open_descriptors() == before, "a descriptor was left open"


def write(inside: Path, name: str = "file", content: bytes = b"content") -> Path:
    (inside / name).write_bytes(content)
    (inside / name).chmod(0)
    return inside / name


def take(passed: PassedFiles, path: Path, uid: int = UID) -> Inode:
    fd = os.open(path, os.O_RDONLY)
    try:
        return passed.take(fd, uid, str(path), path.stat())
    except StorageError:
        os.close(fd)
        raise


def memfd(inside: Path) -> int:
    return os.memfd_create("fake")


def fifo(inside: Path) -> int:
    os.mkfifo(inside / "fifo")
    return os.open(inside / "fifo", os.O_RDONLY | os.O_NONBLOCK)


def other_file(inside: Path) -> int:
    return os.open(write(inside, "other"), os.O_RDONLY)


def removed_file(inside: Path) -> int:
    fd = os.open(write(inside, "removed"), os.O_RDONLY)
    (inside / "removed").unlink()
    return fd


@pytest.mark.parametrize(
    "make",
    [
        memfd,
        fifo,
        other_file,
        removed_file,
        lambda inside: os.open(inside / "file", os.O_RDWR),
        lambda inside: os.open(inside / "file", os.O_PATH),
        lambda inside: os.open(inside, os.O_RDONLY),
        lambda inside: os.open("/dev/null", os.O_RDONLY),
        lambda inside: os.open("/proc/version", os.O_RDONLY),
        lambda inside: os.eventfd(0),
        lambda inside: socket.socket(socket.AF_UNIX).detach(),
    ],
    ids=["memfd", "fifo", "other", "removed", "rdwr", "path", "dir", "null", "proc", "event", "so"],
)
def test_a_hostile_descriptor_is_not_taken(
    passed: PassedFiles, inside: Path, make: Callable[[Path], int]
) -> None:
    path = write(inside)
    fd = make(inside)
    with pytest.raises(StorageError, match="the descriptor that was passed for it"):
        passed.take(fd, UID, str(path), path.stat())
    os.fstat(fd)  # whoever passed it on closes it
    os.close(fd)
    assert len(passed) == 0


def test_what_stands_nowhere_is_not_taken(passed: PassedFiles, inside: Path) -> None:
    fd = os.open(write(inside), os.O_RDONLY)
    with pytest.raises(StorageError, match="another file than the one that stands there"):
        passed.take(fd, UID, "file", None)
    os.close(fd)


def test_a_name_leads_to_what_was_passed_as_long_as_that_stands_there(
    passed: PassedFiles, root: Root, inside: Path
) -> None:
    path = write(inside)
    take(passed, path)
    with Names(root) as names, somebody():
        fd = names.open_file("file", os.O_RDONLY)
        assert os.pread(fd, 10, 0) == b"content"
        os.close(fd)
        with pytest.raises(StorageError, match="may not be accessed"):
            names.open_file("file", os.O_RDWR)
        with pytest.raises(StorageError, match="may not be accessed"):
            root.open_file("file", os.O_RDONLY)
    os.rename(path, inside / "moved")
    write(inside)
    closed = pytest.raises(StorageError, match="may not be accessed")
    with Names(root) as names, somebody(), closed:
        names.open_file("file", os.O_RDONLY)


def test_flags_that_the_passer_changes_later_are_noticed(passed: PassedFiles, inside: Path) -> None:
    path = write(inside)
    fd = os.open(path, os.O_RDONLY)
    shared = os.dup(fd)
    passed.take(fd, UID, "file", path.stat())
    try:
        fcntl.fcntl(shared, fcntl.F_SETFL, os.O_DIRECT)
    except OSError:
        pytest.skip("this file system knows no direct access")
    finally:
        os.close(shared)
    assert passed.lend(path.stat()) is None


def test_it_is_kept_while_it_is_used_and_has_a_name(passed: PassedFiles, inside: Path) -> None:
    closed: list[str] = []
    kept: list[str] = []
    passed.on_closed = closed.append
    passed.on_kept = lambda fd, name: kept.append(name)
    first, second = take(passed, write(inside, "a")), take(passed, write(inside, "b"))
    assert passed.keep_only([]) == 0, "it is not known yet what they are for"
    passed.settle([first, second])
    assert passed.keep_only([first, second]) == 0
    (inside / "a").unlink()
    assert passed.keep_only([first, second]) == 1
    assert closed == [f"passed-{UID}-{first.device}-{first.number}"] == kept[:1]
    assert passed.keep_only([]) == 1
    assert closed == kept


def test_closing_a_file_holds_up_nobody_who_reads_another(
    passed: PassedFiles, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    going, staying = take(passed, write(inside, "a")), take(passed, write(inside, "b"))
    passed.settle([going, staying])
    lent: list[int | None] = []
    facts, close = (inside / "b").stat(), os.close

    def close_slowly(fd: int) -> None:
        reader = threading.Thread(target=lambda: lent.append(passed.lend(facts)), daemon=True)
        reader.start()
        reader.join(10)
        close(fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "close", close_slowly)
        assert passed.keep_only([staying]) == 1
        assert len(lent) == 1, "the reader waited for the file to be closed"
    assert lent[0] is not None
    os.close(lent[0])


def test_what_is_passed_again_is_let_go_of_before(passed: PassedFiles, inside: Path) -> None:
    path, said, takers = write(inside), list[str](), list[threading.Thread]()

    def let_go(_: str) -> None:
        takers.append(threading.Thread(target=take, args=(passed, path), daemon=True))
        takers[-1].start()
        takers[-1].join(0.2)  # it waits; if it did not, it would come first now
        said.append("closed")

    passed.settle([take(passed, path)])
    passed.on_kept = lambda fd, name: said.append("kept")
    passed.on_closed = let_go
    assert passed.keep_only([]) == 1
    takers[0].join()
    assert said == ["closed", "kept"]


def test_a_file_that_is_passed_twice_is_kept_once(passed: PassedFiles, inside: Path) -> None:
    path = write(inside)
    inode = take(passed, path)
    assert take(passed, path, uid=2) == inode
    assert len(passed) == 1
    passed.settle([inode])
    assert passed.keep_only([]) == 0, "the other one still hashes it"


def test_one_user_has_so_many_and_others_have_theirs(
    passed: PassedFiles, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passed_files, "PASSED_FILES_MAX", 2)
    monkeypatch.setattr(passed_files, "PASSED_BYTES_MAX", 20)
    take(passed, write(inside, "a"))
    take(passed, write(inside, "b"))
    with pytest.raises(StorageError, match="uid 1000 has 2 files passed already"):
        take(passed, write(inside, "c"))
    take(passed, write(inside, "c"), uid=1)
    with pytest.raises(StorageError, match="more than 20 bytes"):
        take(passed, write(inside, "d", b"x" * 14), uid=1)
    monkeypatch.setattr(passed_files, "_DESCRIPTORS_SHARE", 10**9)
    with pytest.raises(StorageError, match="descriptors keep files that were passed"):
        take(passed, write(inside, "e"), uid=2)


def test_what_an_earlier_life_kept_is_taken_back_if_it_is_still_fit(
    passed: PassedFiles, inside: Path
) -> None:
    closed: list[str] = []
    passed.on_closed = closed.append
    path = write(inside)
    facts = path.stat()
    name = f"passed-{UID}-{facts.st_dev}-{facts.st_ino}"
    assert passed.adopt(os.open(path, os.O_RDONLY), name)
    assert passed.has(facts)
    assert not passed.adopt(os.open(path, os.O_RDONLY), "passed-x-1-2")
    assert not passed.adopt(os.memfd_create("fake"), "passed-0-0-0")
    assert passed.keep_only([Inode.of(facts)]) == 0
    assert closed == ["passed-x-1-2", "passed-0-0-0"], "the manager keeps them no more"


def test_what_the_manager_kept_twice_is_kept(passed: PassedFiles, inside: Path) -> None:
    closed: list[str] = []
    passed.on_closed = closed.append
    facts = write(inside).stat()
    inode, name = Inode.of(facts), f"passed-{UID}-{facts.st_dev}-{facts.st_ino}"
    other = f"passed-2-{facts.st_dev}-{facts.st_ino}"
    assert passed.adopt(os.open(inside / "file", os.O_RDONLY), name)
    assert not passed.adopt(os.open(inside / "file", os.O_RDONLY), name)
    assert not passed.adopt(os.open(inside / "file", os.O_RDONLY), other)
    assert passed.keep_only([inode]) == 0
    assert closed == [other], "its own name would let go of both"
