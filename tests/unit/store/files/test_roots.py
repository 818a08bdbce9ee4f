import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckptd.errors import (
    CkptdError,
    Conflict,
    NotFound,
    OutsideRoots,
    StorageError,
    UsageError,
)
from ckptd.limits import PATH_BYTES_MAX
from ckptd.store.files import confined
from ckptd.store.files.confined import check_relative
from ckptd.store.files.names import Names
from ckptd.store.files.roots import FoundFile, Root, Roots
from tests.support.stores import open_descriptors, write_files

HOSTILE = [
    "/etc/passwd",
    "..",
    "../outside",
    "a/../../outside",
    "a/..",
    ".",
    "./a",
    "a/.",
    "a//b",
    "a/",
    "/",
    "//a",
    "a\0b",
    "\0",
    "\ud800",
]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Root]:
    (tmp_path / "root").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    opened = Root.open("data", str(tmp_path / "root"))
    before = open_descriptors()
    yield opened
    assert open_descriptors() == before, "a descriptor was left open"
    opened.close()


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    return tmp_path / "outside"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_by_every_operation(root: Root, name: str) -> None:
    operations: list[Callable[[], object]] = [
        lambda: root.open_directory(name),
        lambda: root.open_directory(name, create=True),
        lambda: root.open_file(name, os.O_RDONLY),
        lambda: root.stat(name),
        lambda: root.rename(name, "a"),
        lambda: root.rename("a", name),
        lambda: root.remove_tree(name),
        lambda: root.read_link(name),
        lambda: list(root.walk(name)),
    ]
    for operation in operations:
        with pytest.raises(OutsideRoots):
            operation()


@given(st.text(st.sampled_from("ab./\0\ud800\udcff"), max_size=12) | st.text(max_size=20))
def test_an_accepted_name_consists_of_plain_components(name: str) -> None:
    try:
        components = check_relative(name)
    except OutsideRoots:
        return
    assert "/".join(components) == name
    assert not {"", ".", ".."} & set(components)
    assert not any("\0" in component or "/" in component for component in components)
    assert os.path.normpath(f"/root/{name}") == f"/root/{name}".rstrip("/")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "outside", "secret", "/"]), max_size=6))
def test_no_name_reaches_a_file_outside(
    tmp_path_factory: pytest.TempPathFactory, components: list[str]
) -> None:
    base = tmp_path_factory.getbasetemp() / "names"
    write_files(base, {"outside/secret": b"secret", "root/a/a": b"public"})
    root = Root.open("data", str(base / "root"))
    try:
        fd = root.open_file("/".join(components), os.O_RDONLY)
    except CkptdError:
        pass
    else:
        assert os.read(fd, 10) == b"public"
        os.close(fd)
    finally:
        root.close()


def test_the_empty_name_is_the_root_itself_where_a_directory_is_meant(root: Root) -> None:
    fd = root.open_directory("")
    assert os.path.samestat(os.fstat(fd), os.stat(root.path))
    os.close(fd)
    assert root.stat("") is not None
    with pytest.raises(OutsideRoots):
        root.open_file("", os.O_RDONLY)
    with pytest.raises(OutsideRoots):
        root.remove_tree("")


def test_a_symlink_planted_as_parent_directory_is_not_followed(
    root: Root, inside: Path, outside: Path
) -> None:
    (inside / "planted").symlink_to(outside)
    (inside / "mine").write_bytes(b"mine")
    operations: list[Callable[[], object]] = [
        lambda: root.open_directory("planted"),
        lambda: root.open_directory("planted/new", create=True),
        lambda: root.open_file("planted/secret", os.O_RDONLY),
        lambda: root.open_file("planted/new", os.O_WRONLY | os.O_CREAT),
        lambda: root.stat("planted/secret"),
        lambda: root.rename("mine", "planted/mine"),
        lambda: root.rename("planted/secret", "taken"),
        lambda: root.remove_tree("planted/secret"),
        lambda: list(root.walk("planted")),
    ]
    for operation in operations:
        with pytest.raises(StorageError, match="symbolic link"):
            operation()
    assert os.listdir(outside) == ["secret"]


def test_a_symlink_is_not_opened_as_a_file(root: Root, inside: Path, outside: Path) -> None:
    (inside / "link").symlink_to(outside / "secret")
    with pytest.raises(StorageError, match=r"root/link: is a symbolic link"):
        root.open_file("link", os.O_RDONLY)
    with pytest.raises(StorageError):
        root.open_file("link", os.O_WRONLY | os.O_TRUNC)
    assert (outside / "secret").read_bytes() == b"secret"


def test_only_regular_files_are_opened_and_a_fifo_does_not_block(root: Root, inside: Path) -> None:
    os.mkfifo(inside / "fifo")
    (inside / "directory").mkdir()
    with pytest.raises(StorageError, match="no regular file"):
        root.open_file("fifo", os.O_RDONLY)
    with pytest.raises(StorageError, match="no regular file"):
        root.open_file("directory", os.O_RDONLY)


def test_what_is_missing_is_not_found_or_none(root: Root) -> None:
    with pytest.raises(NotFound):
        root.open_file("a/b", os.O_RDONLY)
    with pytest.raises(NotFound):
        root.open_directory("a")
    with pytest.raises(NotFound):
        list(root.walk("a"))
    assert root.stat("a") is None
    assert root.stat("a/b/c") is None


def test_directories_are_made_with_their_parents(root: Root, inside: Path) -> None:
    os.close(root.open_directory("a/b/c", create=True))
    os.close(root.open_directory("a/b/c", create=True))
    assert (inside / "a/b/c").is_dir()


def test_writing_where_it_is_not_allowed_says_so() -> None:
    # Nobody, not even root, can make files and directories in /sys.
    system = Root.open("system", "/sys")
    try:
        with pytest.raises(StorageError, match=r"/sys/new: (may not|is on a read-only)"):
            system.open_directory("new", create=True)
        with pytest.raises(StorageError, match=r"/sys/new: (may not|is on a read-only)"):
            system.open_file("new", os.O_WRONLY | os.O_CREAT)
    finally:
        system.close()


def test_rename_gives_another_name(root: Root, inside: Path) -> None:
    write_files(inside, {"staging/x/file": b"1"})
    os.close(root.open_directory("a/b", create=True))
    root.rename("staging/x", "a/b/final")
    assert (inside / "a/b/final/file").read_bytes() == b"1"
    assert not (inside / "staging/x").exists()


def test_a_rename_is_durable_in_both_directories(
    root: Root, inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(inside, {"staging/x/file": b"1", "final/other": b""})
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    root.rename("staging/x", "final/x")
    assert synced == [str(inside / "final"), str(inside / "staging")]


@pytest.mark.parametrize("taken", ["file", "empty directory", "full directory", "link"])
def test_rename_never_replaces(root: Root, inside: Path, taken: str) -> None:
    write_files(inside, {"staging/file": b"new"})
    target = inside / "final"
    match taken:
        case "file":
            target.write_bytes(b"old")
        case "empty directory":
            target.mkdir()
        case "full directory":
            write_files(target, {"file": b"old"})
        case _:
            target.symlink_to("nowhere")
    with pytest.raises(Conflict, match="final: exists already"):
        root.rename("staging", "final")
    assert (inside / "staging/file").read_bytes() == b"new"


def test_rename_of_nothing_is_not_found(root: Root) -> None:
    with pytest.raises(NotFound):
        root.rename("a", "b")


def test_remove_tree_enters_no_link(root: Root, inside: Path, outside: Path) -> None:
    write_files(inside, {"tree/a/b/file": b"1"})
    (inside / "tree/out").symlink_to(outside)
    (inside / "tree/a/secret").symlink_to(outside / "secret")
    root.remove_tree("tree")
    assert os.listdir(inside) == []
    assert os.listdir(outside) == ["secret"]


def test_remove_tree_removes_a_link_and_not_what_it_leads_to(
    root: Root, inside: Path, outside: Path
) -> None:
    (inside / "link").symlink_to(outside)
    root.remove_tree("link")
    assert os.listdir(inside) == []
    assert os.listdir(outside) == ["secret"]


def test_remove_tree_of_nothing_is_fine(root: Root) -> None:
    root.remove_tree("a/b")


def test_walk_yields_files_and_links_but_not_what_is_behind_links(
    root: Root, inside: Path, outside: Path
) -> None:
    write_files(inside, {"v/b": b"12", "v/a/z": b"1", "v/a/y": b"", "w": b""})
    (inside / "v/out").symlink_to(outside)
    (inside / "v/hollow").mkdir()
    length = len(str(outside))
    assert list(root.walk("v")) == [
        FoundFile("b", is_symlink=False, size_bytes=2),
        FoundFile("out", is_symlink=True, size_bytes=length),
        FoundFile("a/y", is_symlink=False, size_bytes=0),
        FoundFile("a/z", is_symlink=False, size_bytes=1),
    ]
    assert {found.path for found in root.walk("")} == {"w", "v/b", "v/out", "v/a/y", "v/a/z"}


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_walk_names_what_is_no_file(root: Root, inside: Path, kind: str) -> None:
    write_files(inside, {"v/a/file": b"1"})
    if kind == "fifo":
        os.mkfifo(inside / "v/a/odd")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(inside / "v/a/odd"))
    with pytest.raises(StorageError, match="v/a/odd: is a FIFO, a socket or a device"):
        list(root.walk("v"))


def test_names_that_are_no_utf8_can_be_found_and_removed(root: Root, inside: Path) -> None:
    os.close(os.open(os.fsencode(inside) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    (found,) = root.walk("")
    assert found.path == "\udcff"
    root.remove_tree(found.path)
    assert os.listdir(inside) == []


def test_names_keep_a_directory_open_and_notice_when_it_is_another_one(
    root: Root, inside: Path
) -> None:
    write_files(inside, {"a/file": b"1", "b/file": b"22", "file": b"333"})
    with Names(root) as names:
        found = [names.stat(path) for path in ("a/file", "a/none", "b/file", "file", "c/file")]
        assert [facts and facts.st_size for facts in found] == [1, None, 2, 3, None]
        with pytest.raises(OutsideRoots):
            names.stat("/file")


def test_space_and_sync_are_answered_by_the_file_system(root: Root) -> None:
    assert 0 < root.free_bytes() <= os.statvfs(root.path).f_blocks * os.statvfs(root.path).f_frsize
    root.sync()
    assert root.device == os.stat(root.path).st_dev


@pytest.mark.parametrize(("files", "free_files"), [(9, 3), (1, 3), (0, None)])
def test_space_is_what_others_than_the_superuser_may_use(
    root: Root, monkeypatch: pytest.MonkeyPatch, files: int, free_files: int | None
) -> None:
    facts = SimpleNamespace(
        f_bavail=5, f_bfree=6, f_blocks=7, f_frsize=512, f_bsize=4096, f_files=files, f_favail=3
    )
    monkeypatch.setattr(os, "fstatvfs", lambda _: facts)
    assert (root.free_bytes(), root.size_bytes()) == (5 * 512, 7 * 512)
    assert root.free_files() == free_files


def test_a_root_that_is_closed_keeps_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    Root.open("data", str(tmp_path)).close()
    assert open_descriptors() == before


def test_a_file_system_that_cannot_be_synced_is_named(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> None:
        assert os.path.samestat(os.fstat(fd), os.stat(root.path))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("ckptd.store.files.roots.sync_file_system", refuse)
    with pytest.raises(StorageError, match=f"{root.path}: could not be read or written"):
        root.sync()


def test_a_created_file_has_its_mode(root: Root, inside: Path) -> None:
    os.close(root.open_file("file", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    assert stat.S_IMODE((inside / "file").stat().st_mode) == 0o600


def test_a_root_must_be_a_directory_that_exists(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="does not exist"):
        Root.open("data", str(tmp_path / "none"))
    with pytest.raises(StorageError, match="is no directory"):
        Root.open("data", str(tmp_path / "file"))
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(StorageError, match="is a symbolic link that leads in a circle"):
        Root.open("data", str(tmp_path / "circle"))


@pytest.fixture
def roots(tmp_path: Path) -> Iterator[Roots]:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    paths = {"data": "linked", "other": "other", "inner": "linked/inner"}
    opened = [Root.open(name, str(tmp_path / path)) for name, path in paths.items()]
    yield Roots(opened)
    for root in opened:
        root.close()


@pytest.mark.parametrize(
    ("path", "root", "relative"),
    [
        ("linked", "data", ""),
        ("linked/a/b", "data", "a/b"),
        ("real/a", "data", "a"),
        ("other/../other//a/./b/", "other", "a/b"),
        ("linked/inner", "inner", ""),
        ("linked/inner/a", "inner", "a"),
        ("linked/innermost", "data", "innermost"),
    ],
)
def test_a_path_is_located_in_its_root(
    tmp_path: Path, roots: Roots, path: str, root: str, relative: str
) -> None:
    found, below = roots.locate(f"{tmp_path}/{path}")
    assert (found.name, below) == (root, relative)


@pytest.mark.parametrize("path", ["", "othe", "other2/a", "other/../../a", "linked/../etc"])
def test_a_path_in_no_root_is_refused_and_the_roots_are_named(
    tmp_path: Path, roots: Roots, path: str
) -> None:
    with pytest.raises(OutsideRoots) as caught:
        roots.locate(f"{tmp_path}/{path}")
    assert f"{tmp_path}/other" in str(caught.value)
    assert f"{tmp_path}/linked" in str(caught.value)


def test_what_lies_in_the_innermost_root_for_copies_is_for_them(
    tmp_path: Path, roots: Roots
) -> None:
    paths = (f"{tmp_path}/linked/inner/a", f"{tmp_path}/linked/a", f"{tmp_path}/nowhere", "a", "")
    assert not any(map(roots.is_for_copies, paths))
    roots.for_copies = "inner"
    assert list(map(roots.is_for_copies, paths)) == [True, False, False, False, False]


def test_a_relative_path_is_a_usage_error(roots: Roots) -> None:
    with pytest.raises(UsageError):
        roots.locate("other/a")


@pytest.mark.parametrize("name", ["a\0b", "a\nb", "\x1b[2J", "\x7f", "\udcff", "a" * 5000])
def test_a_path_that_cannot_be_written_down_is_refused(
    tmp_path: Path, roots: Roots, name: str
) -> None:
    with pytest.raises(UsageError) as caught:
        roots.locate(f"{tmp_path}/other/{name}")
    assert str(caught.value).isprintable()


def test_a_path_may_have_spaces_and_be_as_long_as_the_limit(tmp_path: Path, roots: Roots) -> None:
    prefix = f"{tmp_path}/other/"
    name = " ~" + "/é" * ((PATH_BYTES_MAX - len(prefix) - 2) // 3)
    name += "x" * (PATH_BYTES_MAX - len((prefix + name).encode()))
    assert roots.locate(prefix + name) == (roots["other"], name)
    with pytest.raises(UsageError, match=f"has more than {PATH_BYTES_MAX} bytes"):
        roots.locate(f"{prefix}{name}x")


def test_a_path_with_a_component_that_no_file_system_takes_is_in_no_root(
    tmp_path: Path, roots: Roots
) -> None:
    with pytest.raises(OutsideRoots, match="has a component of more than 255 bytes"):
        roots.locate(f"{tmp_path}/other/{'x' * 256}/a")


def test_a_root_at_the_top_contains_every_path() -> None:
    top = Root.open("top", "/")
    assert Roots([top]).locate("//a/b") == (top, "a/b")
    assert top.absolute("a") == "/a"
    top.close()


def test_roots_are_found_by_name_and_the_first_is_the_default(roots: Roots) -> None:
    assert [root.name for root in roots] == ["data", "other", "inner"]
    assert roots["other"].name == "other"
    assert roots.default().name == "data"
    with pytest.raises(NotFound, match="'gone': is not configured"):
        roots["gone"]


def test_a_root_whose_path_leads_elsewhere_says_so(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    root = Root.open("data", str(tmp_path / "disk"))
    root.check_in_place()
    assert root.obstacle() == ""
    (tmp_path / "disk").rename(tmp_path / "moved")
    (tmp_path / "disk").mkdir()
    with pytest.raises(StorageError, match="is not the directory any more that it was"):
        root.check_in_place()
    assert root.obstacle().startswith("is not the directory any more that it was")
    root.close()


def test_a_root_that_takes_no_writes_or_does_not_answer_says_so(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int) -> bool:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(confined, "is_read_only", lambda _: True)
    assert root.obstacle() == "its file system is read-only here"
    monkeypatch.setattr(confined, "is_read_only", refuse)
    assert root.obstacle() == "its file system does not answer: Input/output error"
