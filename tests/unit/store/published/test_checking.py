import dataclasses
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ckptd.limits import MIB
from ckptd.store.files.fingerprints import fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.checking import (
    ROT,
    Checked,
    Differences,
    Reading,
    Recorded,
    compare,
    hash_again,
)
from ckptd.store.published.hash_runs import Cancelled, HashingProgress
from tests.support.page_cache import pages_in_memory
from tests.support.stores import SERVED_CONTENTS, open_descriptors, publish, write_files

NOTHING = Differences({}, {}, {})
A, B, D, E = range(4)
"""The units of ``v1``: ``a``, ``b``, ``c/d`` and ``e``."""


def check(
    root: Root, hashed: HashedDirectory, units: tuple[int, ...] = (A, B, D, E), **how: object
) -> Checked:
    before = open_descriptors()
    checked = hash_again(root, hashed, units, Reading(**how))  # type: ignore[arg-type]
    assert open_descriptors() == before, "a descriptor was left open"
    assert sorted([*checked.files, *checked.changed, *checked.undecided]) == sorted(units)
    return checked


def about(inside: Path, path: str, why: str) -> str:
    return f"file {inside}/{path}: {why}"


def facts_of(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return (facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def replace_file(path: Path, content: bytes) -> None:
    (path.parent / "new").write_bytes(content)
    os.rename(path.parent / "new", path)


def put_back_times(path: Path, change: Callable[[], object]) -> None:
    facts = path.stat()
    change()
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def rot(path: Path, hashed: HashedDirectory, unit: int) -> HashedDirectory:
    """Change a file, and let what was recorded of it be what it looks like now."""
    with path.open("r+b") as file:
        file.write(b"?")
    files = list(hashed.files)
    recorded = files[unit]
    assert recorded
    files[unit] = recorded._replace(fingerprint=fingerprint_of(path.stat()))
    return dataclasses.replace(hashed, files=UnitFiles(files))


def test_what_was_not_touched_looks_the_same(root: Root, hashed: HashedDirectory) -> None:
    assert compare(root, hashed) == NOTHING
    assert compare(root, Recorded(hashed)) == NOTHING


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.chmod(0o600), "has other metadata"),
        (lambda path: os.link(path, path.parent / "link"), "has other metadata"),
        (lambda path: os.setxattr(path, "user.x", b"1"), "has other metadata"),
        (os.utime, "was written to"),
        (lambda path: path.write_bytes(SERVED_CONTENTS["a"]), "was written to"),
        (lambda path: replace_file(path, SERVED_CONTENTS["a"]), "was replaced"),
        (lambda path: put_back_times(path, lambda: os.utime(path)), "has other metadata"),
    ],
)
def test_a_file_that_looks_different_is_suspect(
    root: Root, inside: Path, hashed: HashedDirectory, change: Callable[[Path], None], why: str
) -> None:
    change(inside / "v1/a")
    found = compare(root, hashed)
    assert (found.suspect, found.changed) == ({A: about(inside, "v1/a", why)}, {})
    assert found.facts == {A: facts_of(inside / "v1/a")}


def test_another_device_number_is_no_difference(root: Root, hashed: HashedDirectory) -> None:
    files = tuple(
        file and file._replace(fingerprint=file.fingerprint._replace(device=12345))
        for file in hashed.files
    )
    assert compare(root, dataclasses.replace(hashed, files=UnitFiles(files))) == NOTHING


def test_facts_beyond_what_is_usual_are_compared_too(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    os.utime(inside / "v1/a", ns=(0, -5_000_000_000))  # before 1970
    after = publish(root, "v1", version=2)
    assert compare(root, after) == NOTHING
    assert A in compare(root, hashed).suspect


def test_what_cannot_be_the_same_content_has_changed(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    os.truncate(inside / "v1/a", 7)
    (inside / "v1/b").unlink()
    (inside / "v1/e").unlink()
    os.mkfifo(inside / "v1/e")
    found = compare(root, hashed)
    assert (found.suspect, found.changed) == (
        {},
        {
            A: about(inside, "v1/a", "has 7 bytes instead of 300000"),
            B: about(inside, "v1/b", "was removed"),
            E: about(inside, "v1/e", "is no regular file any more"),
        },
    )
    assert found.facts == {
        A: facts_of(inside / "v1/a"),
        B: None,
        E: facts_of(inside / "v1/e"),
    }
    shutil.rmtree(inside / "v1")
    assert compare(root, hashed).changed.keys() == {A, B, D, E}


def test_what_cannot_be_looked_at_is_suspect(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    (inside / "v1/c").rename(inside / "elsewhere")
    os.symlink("../elsewhere", inside / "v1/c")
    why = about(inside, "v1/c/d", "is a symbolic link or no directory")
    assert compare(root, hashed) == Differences({D: why}, {}, {D: None})


def test_what_a_file_looks_like_is_said_of_units_that_were_asked_about(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    assert compare(root, hashed, about={A}) == Differences({}, {}, {A: facts_of(inside / "v1/a")})


def test_units_that_were_left_out_are_not_looked_for(root: Root, hashed: HashedDirectory) -> None:
    partial = dataclasses.replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
    recorded = Recorded(partial)
    assert compare(root, recorded) == NOTHING
    assert len(recorded) == 3
    assert [(unit, path) for unit, path, _ in recorded.rows()] == [
        (B, "v1/b"),
        (D, "v1/c/d"),
        (E, "v1/e"),
    ]
    nothing = Recorded(dataclasses.replace(hashed, files=UnitFiles.of_none(4)))
    assert compare(root, nothing) == NOTHING
    assert nothing.directories() == set()


def test_the_directories_of_the_files_are_known(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    assert Recorded(hashed).directory == "v1"
    assert Recorded(hashed).directories() == {"v1", "v1/c"}
    known = ["v1", "v1/a", "v1/b", "v1/c", "v1/c/d", "v1/e"]
    asked = [*known, "", "v", "v1/", "v1/c/", "a", "1/a", "v1/a2", "v1/c/d/e", "v1/f"]
    assert [path for path in asked if Recorded(hashed).has(path)] == known
    write_files(inside / "blobs", {"x": b"1"})
    write_files(inside / "v2", {"y": b"2"})
    os.symlink("../blobs/x", inside / "v2/link")
    assert Recorded(publish(root, "v2", version=2)).directories() == {"blobs", "v2"}
    assert Recorded(publish(root, "", version=3)).directories() >= {"v1", "v1/c", "blobs"}


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o600),
        lambda path: os.link(path, path.parent / "link"),
        lambda path: path.write_bytes(SERVED_CONTENTS["a"]),
        lambda path: replace_file(path, SERVED_CONTENTS["a"]),
    ],
)
def test_right_content_is_right_whatever_the_file_looks_like(
    root: Root,
    inside: Path,
    hashed: HashedDirectory,
    change: Callable[[Path], None],
    workers: int,
) -> None:
    change(inside / "v1/a")
    checked = check(root, hashed, workers=workers)
    assert checked.files.keys() == {A, B, D, E}
    assert checked.files[A].fingerprint == fingerprint_of((inside / "v1/a").stat())
    assert checked.files[E] == hashed.files[E]
    assert checked.read_bytes == sum(map(len, SERVED_CONTENTS.values()))
    files = list(hashed.files)
    files[A] = checked.files[A]
    assert compare(root, dataclasses.replace(hashed, files=UnitFiles(files))) == NOTHING


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda path: path.write_bytes(b"0" * 300_000), "its content is not what was published"),
        (lambda path: replace_file(path, b"0" * 300_000), "its content is not what was published"),
        (lambda path: os.truncate(path, 7), "has 7 bytes instead of 300000"),
        (lambda path: path.unlink(), "was removed"),
    ],
)
def test_other_content_is_a_change(
    root: Root, inside: Path, hashed: HashedDirectory, change: Callable[[Path], None], why: str
) -> None:
    change(inside / "v1/a")
    checked = check(root, hashed)
    assert checked.changed == {A: about(inside, "v1/a", why)}
    assert checked.files.keys() == {B, D, E}
    assert not checked.rotten


def test_a_file_of_another_length_is_not_read(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    os.truncate(inside / "v1/a", 2**40)
    checked = check(root, hashed, (A,))
    assert checked.changed == {A: about(inside, "v1/a", f"has {2**40} bytes instead of 300000")}
    assert checked.read_bytes == 0


def test_what_took_the_place_of_a_file_is_a_change(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    (inside / "v1/a").unlink()
    os.mkfifo(inside / "v1/a")
    (inside / "v1/b").unlink()
    (inside / "v1/b").mkdir()
    (inside / "v1/e").rename(inside / "other")
    os.symlink("../other", inside / "v1/e")
    shutil.rmtree(inside / "v1/c")
    no_file = "is no regular file but a directory, a FIFO, a socket or a device"
    checked = check(root, hashed)
    assert checked.changed == {
        A: about(inside, "v1/a", no_file),
        B: about(inside, "v1/b", no_file),
        D: about(inside, "v1/c/d", "was removed"),
        E: about(inside, "v1/e", "is a symbolic link"),
    }


def test_content_that_changed_under_the_same_metadata_is_rot(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    rotten = rot(inside / "v1/a", hashed, A)
    assert compare(root, rotten) == NOTHING
    checked = check(root, rotten)
    assert checked.changed == {A: about(inside, "v1/a", ROT)}
    assert checked.rotten == {A}


def refusing(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("ckptd.store.files.hashing.os.preadv", refuse)


@pytest.mark.parametrize("code", [5, 74, 117], ids=["EIO", "EBADMSG", "EUCLEAN"])
def test_what_the_disk_cannot_read_is_a_change(
    root: Root,
    inside: Path,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    refusing(monkeypatch, code)
    assert check(root, hashed, (A, B)).changed == {
        A: about(inside, "v1/a", "cannot be read: the disk reports an error"),
    }


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (12, "there is no memory left"),
        (24, "this process has no file descriptor left"),
        (116, "Stale file handle"),
    ],
    ids=["ENOMEM", "EMFILE", "ESTALE"],
)
def test_a_refusal_that_says_nothing_about_content_decides_nothing(
    root: Root,
    inside: Path,
    hashed: HashedDirectory,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    problem: str,
) -> None:
    refusing(monkeypatch, code)
    why = about(inside, "v1/a", problem)
    assert check(root, hashed, (A, B)).undecided == {A: why}


def test_a_file_that_changes_while_it_is_read_is_undecided(
    root: Root, inside: Path, hashed: HashedDirectory
) -> None:
    def write(_: int) -> None:
        with (inside / "v1/a").open("r+b") as file:
            file.write(b"1")

    why = about(inside, "v1/a", "changes while it is read")
    assert check(root, hashed, (A,), pace=write).undecided == {A: why}


def test_a_file_that_shrinks_while_it_is_read_is_undecided(root: Root, inside: Path) -> None:
    path = inside / "v2/long"
    write_files(inside / "v2", {"long": bytes(range(256)) * 4096 * 20})
    hashed = publish(root, "v2")
    checked = check(root, hashed, (0,), pace=lambda _: os.truncate(path, 5))
    assert checked.undecided == {0: about(inside, "v2/long", "changes while it is read")}


def test_a_file_that_does_not_settle_is_undecided(
    root: Root, inside: Path, hashed: HashedDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ckptd.store.published.hash_runs.HashRun.settled", lambda *_: None)
    why = about(inside, "v1/a", "is being written to")
    assert check(root, hashed, (A,)).undecided == {A: why}


def test_units_that_were_left_out_are_not_asked_about(root: Root, hashed: HashedDirectory) -> None:
    partial = dataclasses.replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
    assert hash_again(root, partial, [A, B], Reading()).files.keys() == {B}
    assert hash_again(root, partial, [A], Reading()) == Checked({}, {}, {}, set(), 0)


def test_holes_are_passed_over_and_yet_counted_as_progress(root: Root, inside: Path) -> None:
    size = 64 * MIB
    (inside / "v2").mkdir()
    with (inside / "v2/sparse").open("wb") as file:
        file.truncate(size)
        file.seek(size // 2)
        file.write(b"x" * 5)
    hashed = publish(root, "v2")
    seen: list[HashingProgress] = []
    paced: list[int] = []
    checked = check(root, hashed, (0,), on_progress=seen.append, pace=paced.append)
    assert checked.files.keys() == {0}
    assert checked.read_bytes == sum(paced) == MIB // 4
    assert seen[-1] == HashingProgress(1, 1, size, size)


def test_hashing_again_can_be_cancelled(root: Root, hashed: HashedDirectory) -> None:
    with pytest.raises(Cancelled):
        check(root, hashed, is_cancelled=lambda: True)


def test_a_pace_holds_up_the_reading(root: Root, inside: Path) -> None:
    write_files(inside / "v2", {"long": bytes(64 * MIB + 5)})
    with (inside / "v2/long").open("r+b") as file:
        for start in range(0, 64 * MIB, MIB):
            file.seek(start)
            file.write(b"1")
    hashed = publish(root, "v2")
    steps: list[tuple[int, int]] = []
    threads: set[int] = set()

    def pace(size_bytes: int) -> None:
        steps.append((size_bytes, threading.active_count()))
        threads.add(threading.get_ident())

    check(root, hashed, (0,), pace=pace)
    assert sum(size for size, _ in steps) == 64 * MIB + 5
    assert max(size for size, _ in steps) <= 8 * MIB
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_nobody_uses_is_read_from_the_disk_and_not_kept_in_memory(
    root: Root, inside: Path
) -> None:
    path = inside / "v2/a"
    write_files(inside / "v2", {"a": os.urandom(MIB)})
    os.sync()
    hashed = publish(root, "v2")
    assert check(root, hashed, (0,)).files
    assert pages_in_memory(path) == 256
    assert check(root, hashed, (0,), is_from_disk=True).files
    assert pages_in_memory(path) == 0
