import ctypes
import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import OutsideRoots, StorageError
from ckptd.store.files import confined
from ckptd.store.files.confined import rename_noreplace
from tests.support.hostile_names import HOSTILE_NAMES, is_plain
from tests.support.stores import open_descriptors, write_files


@pytest.fixture(params=["openat2", "walk"])
def directory(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """A descriptor of ``tmp_path/root``, on this kernel and on one without openat2."""
    if request.param == "walk":
        monkeypatch.setattr(confined, "_OPENAT2", 100_000)  # ENOSYS from any kernel
    write_files(tmp_path, {"root/a/b/file": b"1", "outside/secret": b"s"})
    fd = confined.open_configured(str(tmp_path / "root"))
    before = open_descriptors()
    yield fd
    assert open_descriptors() == before, "a descriptor was left open"
    os.close(fd)


def test_both_ways_lead_to_the_same_directory(directory: int, tmp_path: Path) -> None:
    fd = confined.open_directory(directory, ("a", "b"))
    assert os.path.samestat(os.fstat(fd), os.stat(tmp_path / "root/a/b"))
    assert not os.get_inheritable(fd)
    os.close(fd)


def test_no_link_is_followed_wherever_it_stands(directory: int, tmp_path: Path) -> None:
    (tmp_path / "root/out").symlink_to("../outside")
    (tmp_path / "root/in").symlink_to("a")
    (tmp_path / "root/self").symlink_to("/proc/self/cwd")
    (tmp_path / "outside/deep").mkdir()
    for components in (("out",), ("out", "deep"), ("in",), ("in", "b"), ("self",)):
        with pytest.raises(OSError) as caught:  # noqa: PT011  the number says it
            confined.open_directory(directory, components)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}
        with pytest.raises(OSError) as caught:  # noqa: PT011
            confined.make_directories(directory, components)
        assert caught.value.errno in {errno.ELOOP, errno.ENOTDIR}


def test_paths_longer_than_one_call_takes_are_walked(directory: int, tmp_path: Path) -> None:
    components = ("x" * 250,) * 20
    os.close(confined.make_directories(directory, components))
    os.close(confined.open_directory(directory, components))
    confined.remove_tree(directory, components[0])
    assert os.listdir(tmp_path / "root") == ["a"]


@pytest.mark.parametrize("name", ["", ".", "..", "/etc", "a/b", "a\0", "x" * 256, "\ud800"])
def test_a_name_that_is_not_plain_reaches_no_call(directory: int, name: str) -> None:
    for act in (
        lambda: confined.open_directory(directory, (name,)),
        lambda: confined.make_directories(directory, (name,)),
        lambda: confined.open_file(directory, name, os.O_RDONLY, subject="x"),
        lambda: confined.look(directory, name),
        lambda: confined.read_link(directory, name),
        lambda: confined.make_directory(directory, name),
        lambda: confined.remove_directory(directory, name),
        lambda: confined.remove_tree(directory, name),
        lambda: rename_noreplace(directory, name, directory, "new"),
        lambda: rename_noreplace(directory, "a", directory, name),
    ):
        with pytest.raises(OutsideRoots):
            act()


def test_of_all_hostile_names_exactly_the_plain_ones_are_taken(
    directory: int, tmp_path: Path
) -> None:
    for name in HOSTILE_NAMES:
        if not name:
            assert confined.check_relative(name) == ()  # the directory itself
        elif is_plain(name) and name.count("/") > 64:
            confined.check_relative(name)  # to make so many takes seconds
        elif is_plain(name):
            os.close(confined.make_directories(directory, confined.check_relative(name)))
            confined.remove_tree(directory, name.split("/")[0])
        else:
            with pytest.raises(OutsideRoots):
                confined.check_relative(name)
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert os.listdir(tmp_path / "outside") == ["secret"]


@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY])
def test_what_is_no_regular_file_is_refused_at_once(
    directory: int, tmp_path: Path, flags: int
) -> None:
    os.mkfifo(tmp_path / "root/fifo")
    os.mkfifo(tmp_path / "root/awaited")
    reader = os.open(tmp_path / "root/awaited", os.O_RDONLY | os.O_NONBLOCK)
    names = ["a", "fifo", "awaited"]
    if os.geteuid() == 0:
        os.mknod(tmp_path / "root/null", 0o20666, os.makedev(1, 3))
        names.append("null")
    for name in names:
        with pytest.raises(StorageError, match="is no regular file but a directory, a FIFO"):
            confined.open_file(directory, name, flags, subject=name)
    os.close(reader)


def test_a_tree_deeper_than_pythons_stack_is_removed(tmp_path: Path) -> None:
    fd = confined.open_configured(str(tmp_path))
    os.close(confined.make_directories(fd, ("d",) * 1100))
    try:
        confined.remove_tree(fd, "d")
        assert os.listdir(tmp_path) == []
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # pytest could not
        os.close(fd)


class _OldFileSystem:
    """A C library on a file system that knows no rename flags, as NFS."""

    def renameat2(self, *_: object) -> int:
        ctypes.set_errno(errno.EINVAL)
        return -1


def test_without_rename_flags_nothing_is_replaced_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confined, "_libc", _OldFileSystem())
    (tmp_path / "staging").mkdir()
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_bytes(b"")
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(FileExistsError):
            rename_noreplace(parent, "staging", parent, "taken")
        with pytest.raises(OSError, match="Invalid argument"):
            rename_noreplace(parent, "file", parent, "final")
        rename_noreplace(parent, "staging", parent, "final")
    finally:
        os.close(parent)
    assert sorted(os.listdir(tmp_path)) == ["file", "final", "taken"]
