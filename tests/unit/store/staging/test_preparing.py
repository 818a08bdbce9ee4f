from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace, StorageError, UsageError
from ckptd.limits import KIB, MIB
from ckptd.store.files.roots import Root
from ckptd.store.staging.preparing import check_space, check_target, create_files
from ckptd.store.trees.directories import (
    make_staging,
)
from ckptd.store.trees.leftovers import survey
from tests.support.mounts import ext4, needs_disk, ramfs, tmpfs
from tests.support.stagings import (
    COMES_WHOLE,
    STAGED_CONTENTS,
    Site,
    content_of,
    fill,
)

Memory = Callable[[Path], AbstractContextManager[Path]]


class TestTarget:
    @pytest.mark.parametrize("target", ["100", "llama/100", "not/there/yet/100"])
    def test_parents_need_not_exist(self, site: Site, target: str) -> None:
        (site.path / "llama").mkdir()
        check_target(site.root, target)
        assert os.listdir(site.path) == ["llama"]

    @pytest.mark.parametrize("target", ["file/100", "file/a/100", "link/100", "link/a/100"])
    def test_a_parent_that_is_no_directory_is_refused(self, site: Site, target: str) -> None:
        (site.path / "file").touch()
        (site.path / "link").symlink_to("/")
        with pytest.raises(StorageError, match="is a symbolic link"):
            check_target(site.root, target)

    def test_staging_is_no_target(self, site: Site) -> None:
        with pytest.raises(UsageError, match=r"is where recoveries are staged.*--to"):
            check_target(site.root, ".ckptd/r-1/100")

    def test_another_file_system_is_refused(self, site: Site) -> None:
        with (
            tmpfs(site.path / "mounted"),
            pytest.raises(StorageError, match=r"mounted/llama/100: is on another file system"),
        ):
            check_target(site.root, "mounted/llama/100")


class TestSpace:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        """On 8 MiB that nobody else uses."""
        with tmpfs(tmp_path / "small", "size=8m") as path:
            made = Site(path, STAGED_CONTENTS)
            yield made
            made.close()

    def test_what_is_missing_must_fit(self, site: Site) -> None:
        check_space(site.root, site.space.manifest, {}, 0)
        (site.path / "other").write_bytes(bytes(4 * MIB))
        with pytest.raises(OutOfSpace, match=r"needs 4\.3 MiB and has 4 MiB free\. Make room"):
            check_space(site.root, site.space.manifest, {}, 0)

    def test_what_others_were_promised_is_not_free(self, site: Site) -> None:
        check_space(site.root, site.space.manifest, {}, 3 * MIB)
        with pytest.raises(OutOfSpace, match=r"has 4 MiB free \(4 MiB more are promised to other"):
            check_space(site.root, site.space.manifest, {}, 4 * MIB)

    def test_what_is_allocated_is_not_needed_again(self, site: Site, tree: Root) -> None:
        seen = survey(tree, site.space.manifest)
        check_space(site.root, site.space.manifest, seen.allocated, 3 * MIB)

    def test_nothing_missing_fits_a_full_disk(self, site: Site, tree: Root) -> None:
        fill(site)
        seen = survey(tree, site.space.manifest)
        check_space(site.root, site.space.manifest, seen.allocated, 8 * MIB)


class TestFilesThatFit:
    """Four files in two directories, and two directories of staging."""

    @pytest.mark.parametrize(("inodes", "fits"), [(9, True), (8, False)])
    def test_files_must_fit_where_they_are_counted(
        self, tmp_path: Path, *, inodes: int, fits: bool
    ) -> None:
        with tmpfs(tmp_path / "few", f"size=64m,nr_inodes={inodes}") as path:
            site = Site(path, STAGED_CONTENTS)
            assert site.root.free_files() == inodes - 1
            if fits:
                check_space(site.root, site.space.manifest, {}, 0)
            else:
                with pytest.raises(OutOfSpace, match=r"needs 8 more files .* room for 7 "):
                    check_space(site.root, site.space.manifest, {}, 0)
            site.close()

    def test_no_file_is_needed_when_all_are_there(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "few", "size=64m,nr_inodes=1") as path:
            site = Site(path, STAGED_CONTENTS)
            assert site.root.free_files() == 0
            check_space(site.root, site.space.manifest, dict.fromkeys(range(4), 3 * MIB), 0)
            with pytest.raises(OutOfSpace, match="more files"):
                check_space(site.root, site.space.manifest, dict.fromkeys(range(3), 3 * MIB), 0)
            site.close()

    def test_where_files_are_not_counted_only_bytes_matter(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "any", "size=64m,nr_inodes=0") as path:
            site = Site(path, STAGED_CONTENTS)
            assert site.root.free_files() is None
            check_space(site.root, site.space.manifest, {}, 0)
            site.close()


class TestCreating:
    @pytest.mark.parametrize(("directories", "is_whole"), [(15, False), (16, True)])
    def test_names_in_many_directories_are_synced_with_their_file_system(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        *,
        directories: int,
        is_whole: bool,
    ) -> None:
        """The recovery's own is one more."""
        wholes: list[int] = []
        site = Site(tmp_path, {f"{number:02}/file": b"1" for number in range(directories)})
        tree = make_staging(site.root, ".ckptd/r-1")
        monkeypatch.setattr("ckptd.store.files.roots.sync_file_system", wholes.append)
        create_files(tree, site.space, ())
        assert bool(wholes) is is_whole
        tree.close()
        site.close()

    def test_files_have_their_length_and_are_closed_to_others(self, site: Site) -> None:
        needs_disk(site.path)
        tree = make_staging(site.root, ".ckptd/r-1")
        unreserved = create_files(tree, site.space, ())
        tree.close()
        for path, content in STAGED_CONTENTS.items():
            if path not in COMES_WHOLE:
                facts = site.staged(path).stat()
                assert (facts.st_size, facts.st_mode & 0o777) == (len(content), 0o600)
        assert site.staged().stat().st_mode & 0o777 == 0o700
        assert site.staged("shards/large.bin").stat().st_blocks * 512 >= 3 * MIB
        assert set(unreserved) == {
            site.unit(path) for path in ("shards/deep/small.bin", *COMES_WHOLE)
        }

    def test_names_in_few_directories_are_synced_there(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        tree = make_staging(site.root, ".ckptd/r-1")
        monkeypatch.setattr(
            os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        )
        create_files(tree, site.space, ())
        tree.close()
        places = ["", "shards", "shards/deep"]
        assert sorted(synced) == sorted(str(site.staged(place)) for place in places)

    @pytest.mark.parametrize(("size_bytes", "is_reserved"), [(MIB, True), (MIB - 1, False)])
    def test_room_is_reserved_from_a_mebibyte_on(
        self, tmp_path: Path, *, size_bytes: int, is_reserved: bool
    ) -> None:
        needs_disk(tmp_path)
        site = Site(tmp_path, {"a": bytes(size_bytes)})
        tree = make_staging(site.root, ".ckptd/r-1")
        assert create_files(tree, site.space, ()) == ([] if is_reserved else [0])
        tree.close()
        site.close()

    def test_those_that_come_whole_are_not_made_but_their_directories_are(
        self, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, {"a/b/small": b"1", "c/small": b"2"})
        tree = make_staging(site.root, ".ckptd/r-1")
        create_files(tree, site.space, ())
        tree.close()
        assert [path for path in site.staged().rglob("*") if path.is_file()] == []
        assert site.staged("a/b").is_dir()
        assert site.staged("c").is_dir()
        site.close()

    def test_files_that_are_there_are_left_alone(self, site: Site, tree: Root) -> None:
        fill(site)
        site.staged("shards/deep/small.bin").unlink()
        present = survey(tree, site.space.manifest).allocated
        create_files(tree, site.space, present)
        assert site.staged("shards/deep/small.bin").read_bytes() == bytes(300 * KIB)
        assert site.staged("shards/large.bin").read_bytes() == STAGED_CONTENTS["shards/large.bin"]

    @pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
    def test_a_name_that_is_taken_is_not_written_to(
        self, site: Site, plant: Callable[[Path, Path], None]
    ) -> None:
        tree = make_staging(site.root, ".ckptd/r-1")
        outside = site.path / "outside"
        outside.write_bytes(b"mine")
        site.staged("shards").mkdir()
        plant(site.staged("shards/large.bin"), outside)
        with pytest.raises(StorageError):
            create_files(tree, site.space, ())
        tree.close()
        assert outside.read_bytes() == b"mine"
        assert os.listdir(site.staged("shards/deep")) == [], "what was made before is gone again"
        assert sorted(os.listdir(site.staged("shards"))) == ["deep", "large.bin"]

    def test_without_room_nothing_that_was_made_is_left(self, tmp_path: Path) -> None:
        contents = {f"{number}.bin": content_of(3 * MIB, seed=number) for number in range(4)}
        with ext4(tmp_path / "small", size_bytes=8 * MIB) as path:
            site = Site(path, contents)
            tree = make_staging(site.root, ".ckptd/r-1")
            with pytest.raises(OutOfSpace):
                create_files(tree, site.space, ())
            assert os.listdir(site.staged()) == []
            tree.close()
            site.close()

    @pytest.mark.parametrize("memory", [tmpfs, ramfs])
    def test_in_memory_files_are_only_made_long(self, tmp_path: Path, memory: Memory) -> None:
        with memory(tmp_path / "small") as path:
            site = Site(path, STAGED_CONTENTS)
            tree = make_staging(site.root, ".ckptd/r-1")
            unreserved = create_files(tree, site.space, ())
            tree.close()
            assert site.unit("shards/large.bin") in unreserved
            large = site.staged("shards/large.bin").stat()
            assert (large.st_size, large.st_blocks) == (3 * MIB, 0)
            site.close()
