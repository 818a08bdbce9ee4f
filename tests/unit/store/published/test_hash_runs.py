import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ckptd.errors import StorageError
from ckptd.limits import MIB
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.published.hash_runs import Cancelled, HashingProgress, HashRun


class File(NamedTuple):
    place: str
    size_bytes: int
    grain_bytes: int = 1024


Run = HashRun[File]


def run_over(
    root: Root,
    files: list[File],
    hash_file: Callable[[Run, File, Names, memoryview], str],
    *,
    workers: int = 2,
    on_progress: Callable[[HashingProgress], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> list[str]:
    given: list[str] = []
    run = HashRun(
        root,
        files,
        lambda *asked: given.append(hash_file(*asked)),
        on_progress=on_progress,
        is_cancelled=is_cancelled,
    )
    run.run(workers)
    return given


def name_of(_run: Run, file: File, _names: Names, _buffer: memoryview) -> str:
    return file.place


def test_every_file_is_hashed_once(root: Root) -> None:
    files = [File(f"v1/{number}", number % 3 * 10 * MIB) for number in range(300)]
    assert sorted(run_over(root, files, name_of)) == sorted(file.place for file in files)


def test_without_files_there_is_nothing_to_do(root: Root) -> None:
    assert run_over(root, [], name_of) == []


def test_long_files_begin_first(root: Root) -> None:
    files = [File("short", 1), File("long", 16 * MIB), File("longest", 17 * MIB)]
    assert run_over(root, files, name_of, workers=1) == ["longest", "long", "short"]


def test_the_buffer_holds_two_blocks_of_the_longest_file(root: Root) -> None:
    sizes: list[int] = []

    def note(_run: Run, file: File, _names: Names, buffer: memoryview) -> str:
        sizes.append(len(buffer))
        return file.place

    run_over(root, [File("a", 1)], note)
    run_over(root, [File("a", 1), File("b", 2, 16 * MIB)], note, workers=1)
    assert sizes == [8 * MIB, 32 * MIB, 32 * MIB]


def test_short_files_are_reported_together_and_long_ones_as_they_go(root: Root) -> None:
    seen: list[HashingProgress] = []

    def read(run: Run, file: File, _names: Names, _buffer: memoryview) -> str:
        report = run.reporting(file)
        assert (report is not None) == (file.size_bytes >= 16 * MIB)
        if report:
            report(file.size_bytes)
        return file.place

    files = [File("a", 3), File("b", 4), File("long", 16 * MIB)]
    run_over(root, files, read, workers=1, on_progress=seen.append)
    total = 16 * MIB + 7
    assert seen == [
        HashingProgress(0, 3, 16 * MIB, total),
        HashingProgress(1, 3, 16 * MIB, total),
        HashingProgress(3, 3, total, total),
    ]


def test_a_run_that_nobody_wants_any_more_ends(root: Root) -> None:
    hashed: list[str] = []

    def hash_file(_run: Run, file: File, _names: Names, _buffer: memoryview) -> str:
        hashed.append(file.place)
        return file.place

    files = [File(f"v1/{number}", MIB) for number in range(100)]
    with pytest.raises(Cancelled):
        run_over(root, files, hash_file, workers=1, is_cancelled=lambda: bool(hashed))
    assert 0 < len(hashed) < 100


def test_what_one_file_raises_ends_the_run_for_all_threads(root: Root) -> None:
    begun = threading.Barrier(2, timeout=60)
    hashed: list[str] = []

    def hash_file(run: Run, file: File, _names: Names, _buffer: memoryview) -> str:
        hashed.append(file.place)
        if len(hashed) <= 2:
            begun.wait()
        if file.place == "bad":
            raise StorageError("bad", "is no file")
        assert run._stopped.wait(60)
        return file.place

    files = [File("bad", 17 * MIB), *(File(str(number), 16 * MIB) for number in range(200))]
    with pytest.raises(StorageError, match="is no file"):
        run_over(root, files, hash_file)
    assert len(hashed) == 2


def facts_at(
    root: Root, path: Path, monkeypatch: pytest.MonkeyPatch, ages_ns: list[int]
) -> tuple[os.stat_result | None, int]:
    """Ask for settled facts of a file that is so old at each look; return them and the looks."""
    left = list(ages_ns)

    def now_ns() -> int:
        return path.stat().st_ctime_ns + left.pop(0)

    monkeypatch.setattr("ckptd.store.published.hash_runs.time.time_ns", now_ns)
    facts: list[os.stat_result | None] = []

    def look(run: Run, file: File, names: Names, _buffer: memoryview) -> str:
        fd = names.open_file(file.place, os.O_RDONLY)
        try:
            facts.append(run.settled(fd))
        finally:
            os.close(fd)
        return file.place

    run_over(root, [File("a", 1)], look)
    return facts[0], len(ages_ns) - len(left)


@pytest.mark.parametrize(
    ("ages_ns", "looks"),
    [
        ([20_000_000], 1),
        ([19_999_999, 20_000_000], 2),
        ([0, 1, 25_000_000], 3),
        ([-20_000_000], 1),  # the file's time is ahead, and stays so
        ([-19_999_999, 20_000_000], 2),
    ],
)
def test_facts_count_when_the_next_write_has_another_time(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch, ages_ns: list[int], looks: int
) -> None:
    path = inside / "a"
    path.write_bytes(b"1")
    facts, looked = facts_at(root, path, monkeypatch, ages_ns)
    assert looked == looks
    assert facts
    assert facts.st_ino == path.stat().st_ino


def test_a_file_that_is_written_all_the_time_does_not_settle(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = inside / "a"
    path.write_bytes(b"1")
    assert facts_at(root, path, monkeypatch, [0] * 5) == (None, 5)
