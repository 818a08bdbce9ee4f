import errno
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import NotFound, StorageError
from ckptd.store.files.roots import Root
from ckptd.store.files.watches import OVERFLOW, Watches, WatchReport
from tests.support.stores import open_descriptors, write_files


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    write_files(tmp_path / "root", {"v1/a": b"1", "v1/c/d": b"22", "other/x": b"3"})
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    yield opened
    opened.close()


@pytest.fixture
def watches() -> Iterator[Watches]:
    before = open_descriptors()
    opened = Watches()
    yield opened
    opened.close()
    assert open_descriptors() == before, "a descriptor was left open"


def is_readable(watches: Watches) -> bool:
    return bool(select.select([watches], [], [], 0)[0])


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def read(watches: Watches) -> set[WatchReport]:
    return {report for reports in watches.reports() for report in reports}


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (append, {"a"}),
        (lambda path: os.truncate(path, 0), {"a"}),
        (lambda path: path.chmod(0o600), {"a"}),
        (Path.unlink, {"a"}),
        (lambda path: path.rename(path.parent / "b"), {"a", "b"}),
        (lambda path: os.rename(path.parent.parent / "other/x", path), {"a"}),
        (lambda path: os.link(path, path.parent / "link"), {"link"}),
    ],
)
def test_what_happens_to_a_file_is_reported(
    root: Root, inside: Path, watches: Watches, change: Callable[[Path], None], names: set[str]
) -> None:
    watch = watches.add(root, "v1", with_files=True)
    assert not is_readable(watches)
    assert read(watches) == set()
    change(inside / "v1/a")
    assert is_readable(watches)
    found = read(watches)
    assert {WatchReport(watch, name) for name in names} <= found
    assert {report.watch for report in found} == {watch}
    assert not is_readable(watches)


@pytest.mark.parametrize("with_files", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.rename(path.parent / "renamed"),
        lambda path: ((path / "d").unlink(), path.rmdir()),
    ],
)
def test_what_happens_to_the_directory_is_reported(
    root: Root,
    inside: Path,
    watches: Watches,
    change: Callable[[Path], object],
    with_files: bool,
) -> None:
    watch = watches.add(root, "v1/c", with_files=with_files)
    change(inside / "v1/c")
    assert WatchReport(watch, "") in read(watches)


def test_reading_is_not_reported_nor_are_files_that_nobody_asked_about(
    root: Root, inside: Path, watches: Watches
) -> None:
    watches.add(root, "v1", with_files=True)
    watches.add(root, "", with_files=False)
    assert (inside / "v1/a").read_bytes() == b"1"
    append(inside / "v1/c/d")
    append(inside / "other/x")
    (inside / "new").write_bytes(b"")
    assert read(watches) == set()


def test_a_file_without_a_name_is_not_reported(root: Root, inside: Path, watches: Watches) -> None:
    watches.add(root, "v1", with_files=True)
    with (inside / "v1/a").open("ab") as file:
        (inside / "v1/a").unlink()
        read(watches)
        file.write(b"x")
        file.flush()
    assert read(watches) == set()


def test_one_directory_has_one_watch_and_what_was_asked_for_adds_up(
    root: Root, inside: Path, watches: Watches
) -> None:
    watch = watches.add(root, "v1", with_files=True)
    assert watches.add(root, "v1", with_files=False) == watch
    append(inside / "v1/a")
    assert read(watches) == {WatchReport(watch, "a")}


def test_a_directory_that_is_watched_no_more_is_silent(
    root: Root, inside: Path, watches: Watches
) -> None:
    watch = watches.add(root, "v1", with_files=True)
    watches.remove(watch)
    watches.remove(watch)
    append(inside / "v1/a")
    assert read(watches) == set()


def test_names_lead_nowhere_else(root: Root, inside: Path, watches: Watches) -> None:
    os.symlink("v1", inside / "link")
    with pytest.raises(StorageError, match="symbolic link"):
        watches.add(root, "link", with_files=True)
    with pytest.raises(StorageError, match="no directory"):
        watches.add(root, "v1/a", with_files=True)
    with pytest.raises(NotFound):
        watches.add(root, "nothing", with_files=True)


def refusing(code: int) -> Callable[..., int]:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    return refuse


def test_a_limit_of_the_kernel_is_named(
    root: Root, watches: Watches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches._inotify, "add_watch", refusing(errno.ENOSPC))
    with pytest.raises(StorageError, match=r"limit of watches is reached\. Raise fs\.inotify\."):
        watches.add(root, "v1", with_files=True)
    monkeypatch.setattr("ckptd.store.files.watches.INotify", refusing(errno.EMFILE))
    with pytest.raises(
        StorageError, match=r"inotify: Too many open files\. Raise.*max_user_instances"
    ):
        Watches()


def test_reports_that_were_dropped_are_said(root: Root, inside: Path, watches: Watches) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if limit > 100_000:
        pytest.skip("the kernel keeps too many reports")
    watches.add(root, "v1", with_files=True)
    names = (inside / "v1/a", inside / "v1/b")
    for number in range(limit // 2 + 1):
        os.rename(names[number % 2], names[1 - number % 2])
    pieces = list(watches.reports())
    assert max(map(len, pieces)) < 2500, "the event loop reads them"
    assert OVERFLOW in {report.watch for reports in pieces for report in reports}


CONFINED = """
import os, sys
from ckptd.store.files.landlock import confine_writing
from ckptd.store.files.roots import Root
from ckptd.store.files.watches import Watches

root = Root.open("data", sys.argv[1])
if confine_writing([root.open_directory("")]).state != "confined":
    sys.exit(77)
watches = Watches()
watch = watches.add(root, "v1", with_files=True)
os.unlink(f"{sys.argv[1]}/v1/a")
print(set().union(*watches.reports()) == {(watch, "a")})
"""


def test_a_confined_process_can_watch(inside: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CONFINED, str(inside)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if run.returncode == 77:
        pytest.skip("this kernel has no Landlock")
    assert (run.stdout, run.stderr) == ("True\n", "")
