from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import NotFound, OutsideRoots, StorageError
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from tests.support.stores import open_descriptors, write_files


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    write_files(tmp_path / "root", {"a/file": b"1", "b/file": b"22", "file": b"333"})
    return tmp_path / "root"


@pytest.fixture
def root(inside: Path) -> Iterator[Root]:
    opened = Root.open("data", str(inside))
    before = open_descriptors()
    yield opened
    assert open_descriptors() == before, "a descriptor was left open"
    opened.close()


def read(names: Names, path: str) -> bytes:
    fd = names.open_file(path, os.O_RDONLY)
    try:
        return os.read(fd, 100)
    finally:
        os.close(fd)


def test_names_in_any_order_are_found_where_they_are(root: Root) -> None:
    with Names(root) as names:
        found = [read(names, path) for path in ("a/file", "b/file", "file", "a/file", "file")]
    assert found == [b"1", b"22", b"333", b"1", b"333"]


def test_names_that_share_a_directory_share_its_descriptor(root: Root) -> None:
    before = open_descriptors()
    with Names(root) as names:
        first, name = names.find("a/file")
        assert name == "file"
        assert names.find("a/other") == (first, "other")
        assert os.path.samestat(os.fstat(first), os.stat(f"{root.path}/a"))
        assert len(open_descriptors() - before) == 1
        second, _ = names.find("b/file")
        assert os.path.samestat(os.fstat(second), os.stat(f"{root.path}/b"))
        assert len(open_descriptors() - before) == 1


def test_it_can_be_used_again_after_it_was_left(root: Root) -> None:
    names = Names(root)
    for _ in range(2):
        with names:
            assert read(names, "a/file") == b"1"


@pytest.mark.parametrize("path", ["", "/file", "a/", "/", "/a/file"])
def test_a_path_that_is_no_name_is_refused(root: Root, path: str) -> None:
    with Names(root) as names:
        for use in (names.find, names.stat):
            with pytest.raises(OutsideRoots, match="is no name below a root"):
                use(path)


def test_a_failed_look_at_a_directory_does_not_spoil_the_next_name(root: Root) -> None:
    with Names(root) as names:
        assert read(names, "a/file") == b"1"
        with pytest.raises(NotFound):
            names.find("none/file")
        assert read(names, "a/file") == b"1"


def test_looking_tells_what_is_there_and_follows_no_link(root: Root, inside: Path) -> None:
    (inside / "a/link").symlink_to("file")
    with Names(root) as names:
        seen = [names.stat(path) for path in ("a/file", "a/none", "none/file", "a/link")]
    assert [facts and facts.st_size for facts in seen[:3]] == [1, None, None]
    assert seen[3] is not None
    assert stat.S_ISLNK(seen[3].st_mode)


def test_a_file_is_made_once_and_open_for_writing(root: Root, inside: Path) -> None:
    with Names(root) as names:
        fd = names.create_file("a/new", 0o755)
        assert fd is not None
        os.write(fd, b"x")
        os.close(fd)
        assert names.create_file("a/new", 0o755) is None
    assert (inside / "a/new").read_bytes() == b"x"
    assert stat.S_IMODE((inside / "a/new").stat().st_mode) == 0o755


def test_what_the_system_refuses_names_the_whole_path(root: Root, inside: Path) -> None:
    (inside / "a/link").symlink_to("file")
    long = f"a/{'n' * 256}"
    with Names(root) as names:
        with pytest.raises(StorageError, match=f"{inside}/a/link: is a symbolic link"):
            names.open_file("a/link", os.O_RDONLY)
        with pytest.raises(NotFound, match=f"{inside}/a/none: does not exist"):
            names.open_file("a/none", os.O_RDONLY)
        with pytest.raises(OutsideRoots):
            names.create_file(long, 0o600)
        with pytest.raises(NotFound):
            names.create_file("none/new", 0o600)


def test_a_file_or_link_is_removed_and_a_directory_is_not(root: Root, inside: Path) -> None:
    (inside / "a/link").symlink_to("file")
    (inside / "a/inner").mkdir()
    with Names(root) as names:
        for path in ("a/link", "a/none", "none/file"):
            names.remove_file(path)
        assert sorted(os.listdir(inside / "a")) == ["file", "inner"]
        with pytest.raises(StorageError, match=f"{inside}/a/inner"):
            names.remove_file("a/inner")
        names.remove_file("a/file")
    assert os.listdir(inside / "a") == ["inner"]


def test_only_an_empty_directory_is_removed(root: Root, inside: Path) -> None:
    (inside / "a/inner").mkdir()
    (inside / "a/link").symlink_to("inner")
    with Names(root) as names:
        assert not names.remove_empty("a")
        assert not names.remove_empty("a/link")
        assert not names.remove_empty("a/file")
        assert names.remove_empty("a/inner")
        assert names.remove_empty("a/inner")
        assert names.remove_empty("none/inner")
    assert sorted(os.listdir(inside / "a")) == ["file", "link"]
