import ctypes
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import OutsideRoots, StorageError
from ckptd.limits import PATH_BYTES_MAX
from ckptd.store.files import confined
from ckptd.store.files.confined import rename_noreplace
from ckptd.store.files.mounts import Mount, mount_of
from tests.support.hostile_names import HOSTILE_NAMES, is_plain
from tests.support.mounts import tmpfs
from tests.support.somebody import somebody
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
        lambda: confined.remove_file(directory, name),
        lambda: confined.remove_tree(directory, name),
        lambda: rename_noreplace(directory, name, directory, "new"),
        lambda: rename_noreplace(directory, "a", directory, name),
        lambda: confined.rename_replacing(directory, name, directory, "new"),
        lambda: confined.rename_replacing(directory, "a", directory, name),
        lambda: confined.link(directory, name, directory, "new"),
        lambda: confined.link(directory, "a", directory, name),
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


def test_two_names_are_exchanged_whatever_they_are_of(directory: int, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    write_files(inside, {"d/file": b"1"})
    (inside / "link").symlink_to("d/file")
    assert confined.exchange(directory, "d", "link")
    assert (inside / "link/file").read_bytes() == b"1"
    assert (inside / "d").readlink() == Path("d/file")
    with pytest.raises(FileNotFoundError):
        confined.exchange(directory, "d", "absent")
    assert (inside / "d").is_symlink()


def test_without_rename_flags_nothing_is_exchanged(
    directory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path / "root", {"one": b"1", "other": b"2"})
    monkeypatch.setattr(confined, "_libc", _OldFileSystem())
    assert not confined.exchange(directory, "one", "other")
    assert (tmp_path / "root/one").read_bytes() == b"1"


def test_a_file_takes_the_place_of_another_one(directory: int, tmp_path: Path) -> None:
    inside = tmp_path / "root"
    write_files(inside, {"new": b"2", "old": b"1"})
    confined.rename_replacing(directory, "new", directory, "old")
    assert (inside / "old").read_bytes() == b"2"
    assert not (inside / "new").exists()


def test_a_second_name_is_of_the_link_itself_and_takes_no_name_that_is_taken(
    directory: int, tmp_path: Path
) -> None:
    inside = tmp_path / "root"
    write_files(inside, {"file": b"1"})
    (inside / "link").symlink_to(tmp_path / "outside/secret")
    for name in ("file", "link"):
        confined.link(directory, name, directory, f"{name} again")
        assert os.path.samestat((inside / name).lstat(), (inside / f"{name} again").lstat())
        with pytest.raises(FileExistsError):
            confined.link(directory, name, directory, f"{name} again")


def test_a_descriptor_may_be_number_0(tmp_path: Path) -> None:
    program = (
        "import os; from ckptd.store.files import confined;"
        f"root = confined.open_configured({str(tmp_path)!r}); os.mkdir('a', dir_fd=root);"
        "os.close(0); raise SystemExit(10 + confined.open_directory(root, ('a',)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 10


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_path_may_be_as_long_as_two_and_not_longer(letter: str) -> None:
    component_bytes = 2 * PATH_BYTES_MAX // 50
    size = len(letter.encode())
    component = letter * ((component_bytes - 1) // size)
    pad = component_bytes - 1 - len(component.encode())
    longest = "/".join([component + "p" * pad] * 50)
    longest += "y" * (2 * PATH_BYTES_MAX - len(longest.encode()))
    assert len(longest.encode()) == 2 * PATH_BYTES_MAX
    assert confined.check_relative(longest) == tuple(longest.split("/"))
    with pytest.raises(OutsideRoots, match="is too long"):
        confined.check_relative(longest + "y")


def test_a_component_may_have_255_bytes(directory: int, tmp_path: Path) -> None:
    for name in ("x" * 255, "é" * 127 + "x"):
        assert confined.check_relative(f"a/{name}") == ("a", name)
        os.close(confined.create_file(directory, name, 0o600))
    with pytest.raises(OutsideRoots, match="has a component of more than 255 bytes"):
        confined.check_relative("a/" + "é" * 128)
    assert len(os.listdir(tmp_path / "root")) == 3


def test_where_a_link_leads_is_read_and_what_is_none_says_so(
    directory: int, tmp_path: Path
) -> None:
    (tmp_path / "root/link").symlink_to("../outside")
    assert confined.read_link(directory, "link") == "../outside"
    assert confined.read_link(directory, "a") is None
    with pytest.raises(FileNotFoundError):
        confined.read_link(directory, "none")


def test_entries_come_in_the_order_of_their_names(directory: int, tmp_path: Path) -> None:
    names = [f"{number * 7919 % 101:03}" for number in range(101)]
    for name in names:
        (tmp_path / "root" / name).write_bytes(b"x" * int(name))
    (tmp_path / "root/link").symlink_to("nowhere")
    found = confined.entries(directory)
    assert [name for name, _ in found] == [*sorted(names), "a", "link"]
    assert [facts.st_size for _, facts in found[:101]] == list(range(101))
    assert stat.S_ISLNK(found[-1][1].st_mode)
    assert confined.names(directory) == [name for name, _ in found]


def test_a_read_only_file_system_is_one_however_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tmpfs(tmp_path / "closed", "ro") as path:
        fd = confined.open_configured(str(path))
        assert confined.is_read_only(fd)
        os.close(fd)
    with tmpfs(tmp_path / "open") as path:
        fd = confined.open_configured(str(path))
        assert not confined.is_read_only(fd)
        assert "rw" in mount_of(fd).of_file_system
        monkeypatch.setattr(confined, "mount_of", lambda _: Mount(("rw",), ("rw", "emergency_ro")))
        assert confined.is_read_only(fd)
        os.close(fd)


def test_a_path_leads_to_the_directory_that_is_open_until_it_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "root")
    fd = confined.open_configured(path, create_mode=0o700)
    assert confined.leads_to(path, fd)
    os.rename(path, tmp_path / "moved")
    assert not confined.leads_to(path, fd)
    (tmp_path / "root").mkdir()
    assert not confined.leads_to(path, fd)
    (tmp_path / "root").rmdir()
    (tmp_path / "root").symlink_to("moved")
    assert confined.leads_to(path, fd)
    assert confined.resolved(path) == str(tmp_path / "moved")
    os.close(fd)


def test_a_configured_directory_is_made_with_its_mode_only_if_that_is_wanted(
    tmp_path: Path,
) -> None:
    with pytest.raises(FileNotFoundError):
        confined.open_configured(str(tmp_path / "x/y"))
    os.close(confined.open_configured(str(tmp_path / "x/y"), create_mode=0o700))
    assert stat.S_IMODE((tmp_path / "x/y").stat().st_mode) == 0o700
    os.close(confined.open_configured(str(tmp_path / "x/y"), create_mode=0o755))
    assert stat.S_IMODE((tmp_path / "x/y").stat().st_mode) == 0o700


def test_making_and_removing_directories(directory: int, tmp_path: Path) -> None:
    for _ in range(2):
        confined.make_directory(directory, "new")
    assert stat.S_IMODE((tmp_path / "root/new").stat().st_mode) == 0o755
    confined.remove_directory(directory, "new")
    with pytest.raises(FileNotFoundError):
        confined.remove_directory(directory, "new")
    with pytest.raises(OSError, match="not empty"):
        confined.remove_directory(directory, "a")


def test_a_name_that_is_taken_is_not_made_a_file(directory: int, tmp_path: Path) -> None:
    (tmp_path / "root/link").symlink_to("../outside/new")
    for name in ("a", "link"):
        with pytest.raises(FileExistsError):
            confined.create_file(directory, name, 0o600)
    assert os.listdir(tmp_path / "outside") == ["secret"]


def test_links_in_a_tree_are_removed_and_not_what_they_lead_to(
    directory: int, tmp_path: Path
) -> None:
    (tmp_path / "root/a/out").symlink_to("../../outside")
    (tmp_path / "root/a/b/loop").symlink_to("..")
    confined.remove_tree(directory, "a")
    confined.remove_tree(directory, "a")
    (tmp_path / "root/out").symlink_to("../outside")
    confined.remove_tree(directory, "out")
    assert os.listdir(tmp_path / "root") == []
    assert os.listdir(tmp_path / "outside") == ["secret"]


def test_the_first_closed_directory_on_a_way_is_found(directory: int, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    os.fchmod(directory, 0o755)
    (tmp_path / "root/one/two").mkdir(parents=True)
    with somebody():
        assert confined.closed_directory(directory, ("one", "two")) is None
    (tmp_path / "root/one").chmod(0o700)
    with somebody():
        assert confined.closed_directory(directory, ("one", "two")) == 1
        assert confined.closed_directory(directory, ("one",)) == 1
    (tmp_path / "root/one").chmod(0o711)
    with somebody():
        assert confined.closed_directory(directory, ("one", "two")) is None, "nobody lists it"
        assert confined.closed_directory(directory, ("one",)) == 1
    with pytest.raises(OutsideRoots):
        confined.closed_directory(directory, ("..",))


def test_what_may_be_read_is_judged_by_the_name_itself(directory: int, tmp_path: Path) -> None:
    os.fchmod(directory, 0o755)
    (tmp_path / "root/closed").write_bytes(b"")
    (tmp_path / "root/closed").chmod(0)
    with somebody():
        assert not confined.may_read(directory, "closed")
        assert confined.may_read(directory, "gone"), "no matter of permission"
    (tmp_path / "root/closed").chmod(0o644)
    with somebody():
        assert confined.may_read(directory, "closed")
