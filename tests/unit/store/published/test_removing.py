from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.fingerprints import UnitFile, fingerprint_of
from ckptd.store.files.hashed_directories import HashedDirectory
from ckptd.store.files.layout import PARTIAL_MARKER
from ckptd.store.files.roots import Root
from ckptd.store.files.unit_files import UnitFiles
from ckptd.store.published.checking import Reading
from ckptd.store.published.removing import (
    Removable,
    Removed,
    examine,
    has_any,
    names_to_remove,
    remove,
)
from tests.support.phases import describing, phased_manifest
from tests.support.stores import SERVED_CONTENTS, open_descriptors, publish, write_files

A, B, D, E = range(4)
"""The units of ``v1``: ``a``, ``b``, ``c/d`` and ``e``."""
SIZE_BYTES = sum(map(len, SERVED_CONTENTS.values()))


def look(root: Root, hashed: HashedDirectory, *doubted: int) -> Removable:
    before = open_descriptors()
    found = examine(root, hashed, doubted, Reading())
    assert open_descriptors() == before, "a descriptor was left open"
    return found


def rot(path: Path, hashed: HashedDirectory, unit: int) -> HashedDirectory:
    """Change a file, and let what was recorded of it be what it looks like now."""
    with path.open("r+b") as file:
        file.write(b"?")
    files = list(hashed.files)
    files[unit] = UnitFile(fingerprint_of(path.stat()))
    return replace(hashed, files=UnitFiles(files))


def let_go(root: Root, hashed: HashedDirectory, *, with_foreign: bool = False) -> Removed:
    examined = look(root, hashed)
    before = open_descriptors()
    removed = remove(root, hashed, examined, with_foreign=with_foreign)
    assert open_descriptors() == before, "a descriptor was left open"
    return removed


def test_everything_that_is_the_version_goes_and_its_directory(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    examined = look(root, hashed)
    assert (sorted(examined.own), examined.foreign) == ([A, B, D, E], {})
    assert (examined.size_bytes, examined.foreign_bytes) == (SIZE_BYTES, 0)
    assert sorted(os.listdir(inside)) == ["v1"]
    assert let_go(root, hashed) == Removed(4, SIZE_BYTES, (), is_directory_gone=True)
    assert os.listdir(inside) == []


def test_in_a_directory_of_several_versions_files_alone_go(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "v1" / PARTIAL_MARKER).write_text("of the other one")
    examined = look(root, hashed)
    removed = remove(root, hashed, examined, with_foreign=False, is_directory_kept=True)
    assert removed == Removed(4, SIZE_BYTES, (), is_directory_gone=False)
    assert sorted(os.listdir(inside / "v1")) == [PARTIAL_MARKER, "c"]


@pytest.mark.parametrize("shared", ["file", "link", "file in the place of a directory", ""])
def test_what_another_version_has_too_is_known(root: Root, inside: Path, shared: str) -> None:
    write_files(inside, {"v1/step/1": b"1"})
    (inside / "v1/latest").symlink_to("step")
    (inside / "v1/tmp").mkdir()
    first = publish(root, "v1", keeps_links=True)
    (inside / "v1/latest").unlink()
    (inside / "v1/step/1").rename(inside / "v1/step/2")
    match shared:
        case "file":
            write_files(inside, {"v1/step/1": b"1"})
        case "link":
            (inside / "v1/latest").symlink_to("step")
        case "file in the place of a directory":
            (inside / "v1/tmp").rmdir()
            write_files(inside, {"v1/tmp": b""})
        case _:
            pass
    second = publish(root, "v1", keeps_links=True)
    assert has_any(second, names_to_remove(first)) == bool(shared)


def test_what_is_not_of_the_version_stays_with_its_directories(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    assert look(root, hashed).strangers == 0
    write_files(inside / "v1", {"c/notes": b"mine", "f/g": b"mine, too"})
    assert look(root, hashed).strangers == 2
    assert let_go(root, hashed) == Removed(4, SIZE_BYTES, (), is_directory_gone=False)
    assert (inside / "v1/c/notes").read_bytes() == b"mine"
    assert (inside / "v1/f/g").read_bytes() == b"mine, too"
    assert sorted(os.listdir(inside / "v1")) == ["c", "f"]


def test_the_note_on_a_version_that_lacks_units_goes_with_it(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "v1/a").unlink()
    (inside / "v1/.ckptd-partial.json").write_bytes(b"{}")
    said = describing(phased_manifest())(lambda _: False, 0, is_under_way=True)
    (inside / "v1/.ckptd-state.json").write_bytes(said)
    partial = replace(hashed, files=UnitFiles((None, *hashed.files[1:])))
    assert look(root, partial).strangers == 0
    assert let_go(root, partial).is_directory_gone
    assert os.listdir(inside) == []


def test_what_has_the_name_of_such_a_note_and_is_none_stays(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "v1/.ckptd-state.json").write_bytes(b"mine")
    assert look(root, hashed).strangers == 1
    assert not let_go(root, hashed).is_directory_gone
    assert os.listdir(inside / "v1") == [".ckptd-state.json"]


def test_files_with_several_names_in_a_version_go_by_all_of_them(root: Root, inside: Path) -> None:
    write_files(inside / "v1", {"a": b"1", "other": b"2"})
    for name in ("b", "c/d"):
        (inside / "v1" / name).parent.mkdir(exist_ok=True)
        (inside / "v1" / name).hardlink_to(inside / "v1/a")
    hashed = publish(root, "v1")
    assert let_go(root, hashed) == Removed(4, 4, (), is_directory_gone=True)
    assert os.listdir(inside) == []


def test_what_only_looks_different_is_hashed_and_goes(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    os.chmod(inside / "v1/a", 0o600)
    (inside / "v1/e").write_bytes(SERVED_CONTENTS["e"])
    assert sorted(look(root, hashed).own) == [A, B, D, E]
    assert let_go(root, hashed).files == 4
    assert os.listdir(inside) == []


@pytest.mark.parametrize("content", [b"2" * 300_000, b"another length"])
def test_what_was_changed_stays_unless_it_is_to_go_too(
    root: Root, hashed: HashedDirectory, inside: Path, content: bytes
) -> None:
    (inside / "v1/a").write_bytes(content)
    examined = look(root, hashed)
    assert sorted(examined.own) == [B, D, E]
    assert list(examined.foreign) == [A]
    assert str(inside / "v1/a") in examined.foreign[A]
    assert examined.foreign_bytes == len(SERVED_CONTENTS["a"])
    assert let_go(root, hashed).files == 3
    assert (inside / "v1/a").read_bytes() == content
    assert let_go(root, hashed, with_foreign=True).is_directory_gone
    assert os.listdir(inside) == []


def test_what_looks_as_it_did_is_not_believed_if_it_is_doubted(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    rotten = rot(inside / "v1/a", hashed, A)
    assert look(root, rotten).foreign == {}
    assert list(look(root, rotten, A, B).foreign) == [A]


def test_what_took_the_place_of_a_file_and_is_none_stays_always(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "v1/a").unlink()
    write_files(inside / "v1/a", {"deep/file": b"mine"})
    assert list(look(root, hashed).foreign) == [A]
    removed = let_go(root, hashed, with_foreign=True)
    assert (removed.files, removed.kept, removed.is_directory_gone) == (3, ("a",), False)
    assert (inside / "v1/a/deep/file").read_bytes() == b"mine"


def test_what_changes_after_the_look_stays(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    examined = look(root, hashed)
    (inside / "v1/a").write_bytes(b"1" * 300_000)
    os.unlink(inside / "v1/e")
    os.symlink("a", inside / "v1/e")
    removed = remove(root, hashed, examined, with_foreign=False)
    assert (removed.files, removed.kept, removed.is_directory_gone) == (2, ("a", "e"), False)
    assert sorted(os.listdir(inside / "v1")) == ["a", "e"]


def test_what_is_gone_already_is_no_obstacle(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    (inside / "v1/a").unlink()
    shutil.rmtree(inside / "v1/c")
    examined = look(root, hashed)
    assert (sorted(examined.own), examined.foreign) == ([B, E], {})
    assert let_go(root, hashed).is_directory_gone
    assert let_go(root, hashed) == Removed(0, 0, (), is_directory_gone=True)


class TestLinks:
    """A hub cache: the version consists of links into a directory beside it."""

    @pytest.fixture
    def linked(self, root: Root, inside: Path) -> HashedDirectory:
        write_files(inside, {"blobs/1": b"weights", "blobs/2": b"other", "snap/own": b"own"})
        (inside / "snap/w").symlink_to("../blobs/1")
        return publish(root, "snap")

    def test_the_link_goes_and_what_it_leads_to_stays(
        self, root: Root, linked: HashedDirectory, inside: Path
    ) -> None:
        assert let_go(root, linked) == Removed(2, len(b"own"), (), is_directory_gone=True)
        assert (inside / "blobs/1").read_bytes() == b"weights"

    @pytest.mark.parametrize("target", ["../blobs/2", "../blobs/none", "/etc/passwd"])
    def test_one_that_leads_elsewhere_by_now_is_not_the_version_s(
        self, root: Root, linked: HashedDirectory, inside: Path, target: str
    ) -> None:
        (inside / "snap/w").unlink()
        (inside / "snap/w").symlink_to(target)
        assert len(look(root, linked).foreign) == 1
        assert let_go(root, linked).files == 1
        assert os.readlink(inside / "snap/w") == target
        assert let_go(root, linked, with_foreign=True).is_directory_gone
        assert sorted(os.listdir(inside / "blobs")) == ["1", "2"]

    def test_a_file_in_its_place_is_not_the_version_s(
        self, root: Root, linked: HashedDirectory, inside: Path
    ) -> None:
        (inside / "snap/w").unlink()
        (inside / "snap/w").write_bytes(b"weights")
        assert ["is no link any more" in why for why in look(root, linked).foreign.values()] == [
            True
        ]


def test_a_directory_that_is_a_link_by_now_is_not_followed(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    os.rename(inside / "v1", inside / "v2")
    (inside / "v1").symlink_to("v2")
    with pytest.raises(StorageError):
        let_go(root, hashed, with_foreign=True)
    assert sorted(os.listdir(inside / "v2")) == ["a", "b", "c", "e"]


def test_the_root_itself_stays(root: Root, inside: Path) -> None:
    write_files(inside, {"a": b"1", "b/c": b"2"})
    assert not let_go(root, publish(root, "")).is_directory_gone
    assert os.listdir(inside) == []


def test_nothing_is_looked_at_below_a_root_that_is_not_in_place(
    root: Root, hashed: HashedDirectory, inside: Path
) -> None:
    inside.rename(inside.with_name("moved"))
    inside.mkdir()
    with pytest.raises(StorageError, match="is not the directory any more"):
        look(root, hashed)
