from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace, StorageError, UsageError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.files.names import Names
from ckptd.store.files.roots import Root
from ckptd.store.staging import preparing
from ckptd.store.staging.preparing import (
    as_directory,
    check_space,
    check_target,
    create_files,
    directories_of,
    make_staging,
    matching,
    remove_empty_staging_directory,
    survey,
)
from ckptd.store.staging.whole_units import is_whole, write_whole
from tests.support.mounts import ext4, needs_disk, ramfs, tmpfs
from tests.support.stagings import Site, content_of, go_on

CONTENTS = {
    "config.json": b"{}",
    "empty": b"",
    "shards/large.bin": content_of(3 * MIB, seed=1),
    "shards/deep/small.bin": content_of(300 * KIB, seed=2),
}
WHOLE = ("config.json",)
"""What comes whole: one block."""

Memory = Callable[[Path], AbstractContextManager[Path]]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, CONTENTS)
    yield made
    made.close()


@pytest.fixture
def tree(site: Site) -> Iterator[Root]:
    """The staging directory of ``r-1``, with all files; what came whole has its content."""
    made = make_staging(site.root, ".ckptd/r-1")
    create_files(made, site.space.manifest, ())
    with Names(made) as names:
        for unit in filter(is_whole, site.space.manifest.units):
            write_whole(names, unit, memoryview(CONTENTS[unit.path]))
    yield made
    made.close()


def fill(site: Site) -> None:
    for path, content in CONTENTS.items():
        site.staged(path).write_bytes(content)


def test_directories_come_parents_first() -> None:
    assert directories_of(["c", "a/b/x", "a/y", "a/b/z"]) == ["a", "a/b"]


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

    def test_a_directory_that_was_swapped_in_is_not_what_was_recovered(self, site: Site) -> None:
        tree = make_staging(site.root, ".ckptd/r-1")
        preparing.check_is_at(site.root, ".ckptd/r-1", tree)
        (site.path / "100").mkdir()
        for path in ("100", "none"):
            with pytest.raises(StorageError, match="somebody swapped the directory"):
                preparing.check_is_at(site.root, path, tree)
        tree.close()

    def test_staging_is_locked_as_cleaners_want_it(self, tree: Root, site: Site) -> None:
        with as_directory(site.root, ".ckptd/r-1") as fd, pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


class TestSurvey:
    def test_files_as_they_should_be_are_kept(self, site: Site, tree: Root) -> None:
        needs_disk(site.path)
        seen = survey(tree, site.space.manifest)
        assert sorted(seen.allocated) == [0, 1, 2, 3]
        assert seen.allocated[site.unit("shards/large.bin")] >= 3 * MIB
        assert seen.strangers == ()

    def test_whatever_is_not_a_unit_is_a_stranger(self, site: Site, tree: Root) -> None:
        site.staged("config.json").unlink()
        site.staged("config.json").mkdir()
        site.staged("empty").unlink()
        os.mkfifo(site.staged("empty"))
        site.staged("shards/large.bin").unlink()
        site.staged("shards/large.bin").symlink_to(site.path / "elsewhere")
        site.staged("shards/deep/twin").hardlink_to(site.staged("shards/deep/small.bin"))
        site.staged("other/deep").mkdir(parents=True)
        seen = survey(tree, site.space.manifest)
        assert seen.allocated == {}
        assert sorted(seen.strangers) == [
            "config.json",
            "empty",
            "other",
            "shards/deep/small.bin",
            "shards/deep/twin",
            "shards/large.bin",
        ]

    def test_a_file_of_another_length_is_a_stranger(self, site: Site, tree: Root) -> None:
        os.truncate(site.staged("config.json"), 3)
        assert survey(tree, site.space.manifest).strangers == ("config.json",)

    def test_a_linked_directory_is_not_entered(self, site: Site, tree: Root) -> None:
        outside = site.path / "outside"
        site.staged("shards").rename(outside)
        site.staged("shards").symlink_to(outside)
        assert survey(tree, site.space.manifest).strangers == ("shards",)


class TestSpace:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        """On 8 MiB that nobody else uses."""
        with tmpfs(tmp_path / "small", "size=8m") as path:
            made = Site(path, CONTENTS)
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


class TestCreating:
    def test_files_have_their_length_and_are_closed_to_others(self, site: Site) -> None:
        needs_disk(site.path)
        tree = make_staging(site.root, ".ckptd/r-1")
        unreserved = create_files(tree, site.space.manifest, ())
        tree.close()
        for path, content in CONTENTS.items():
            if path not in WHOLE:
                facts = site.staged(path).stat()
                assert (facts.st_size, facts.st_mode & 0o777) == (len(content), 0o600)
        assert site.staged().stat().st_mode & 0o777 == 0o700
        assert site.staged("shards/large.bin").stat().st_blocks * 512 >= 3 * MIB
        assert set(unreserved) == {site.unit(path) for path in ("shards/deep/small.bin", *WHOLE)}

    def test_those_that_come_whole_are_not_made_but_their_directories_are(
        self, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, {"a/b/small": b"1", "c/small": b"2"})
        tree = make_staging(site.root, ".ckptd/r-1")
        create_files(tree, site.space.manifest, ())
        tree.close()
        assert [path for path in site.staged().rglob("*") if path.is_file()] == []
        assert site.staged("a/b").is_dir()
        assert site.staged("c").is_dir()
        site.close()

    def test_files_that_are_there_are_left_alone(self, site: Site, tree: Root) -> None:
        fill(site)
        site.staged("shards/deep/small.bin").unlink()
        present = survey(tree, site.space.manifest).allocated
        create_files(tree, site.space.manifest, present)
        assert site.staged("shards/deep/small.bin").read_bytes() == bytes(300 * KIB)
        assert site.staged("shards/large.bin").read_bytes() == CONTENTS["shards/large.bin"]

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
            create_files(tree, site.space.manifest, ())
        tree.close()
        assert outside.read_bytes() == b"mine"

    def test_without_room_nothing_that_was_made_is_left(self, tmp_path: Path) -> None:
        contents = {f"{number}.bin": content_of(3 * MIB, seed=number) for number in range(4)}
        with ext4(tmp_path / "small", size_bytes=8 * MIB) as path:
            site = Site(path, contents)
            tree = make_staging(site.root, ".ckptd/r-1")
            with pytest.raises(OutOfSpace):
                create_files(tree, site.space.manifest, ())
            assert os.listdir(site.staged()) == []
            tree.close()
            site.close()

    @pytest.mark.parametrize("memory", [tmpfs, ramfs])
    def test_in_memory_files_are_only_made_long(self, tmp_path: Path, memory: Memory) -> None:
        with memory(tmp_path / "small") as path:
            site = Site(path, CONTENTS)
            tree = make_staging(site.root, ".ckptd/r-1")
            unreserved = create_files(tree, site.space.manifest, ())
            tree.close()
            assert site.unit("shards/large.bin") in unreserved
            large = site.staged("shards/large.bin").stat()
            assert (large.st_size, large.st_blocks) == (3 * MIB, 0)
            site.close()


class TestMatching:
    def test_blocks_on_the_disk_are_compared(self, site: Site, tree: Root) -> None:
        assert matching(tree, site.space, site.everything, check=go_on) == site.blocks_of(*WHOLE)
        fill(site)
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything

    def test_only_blocks_that_were_asked_for_are_returned(self, site: Site, tree: Root) -> None:
        fill(site)
        some = BlockSet([(0, 1), (3, 5), (7, site.space.block_count)])
        assert matching(tree, site.space, some, check=go_on) == some

    def test_changed_and_lost_bytes_are_noticed(self, site: Site, tree: Root) -> None:
        fill(site)
        large = site.staged("shards/large.bin")
        os.truncate(large, 3 * MIB - 1)
        with large.open("r+b") as file:
            file.seek(MIB)
            file.write(b"!")
        first, end = site.space.unit_run(site.unit("shards/large.bin"))
        size = site.space.manifest.units[site.unit("shards/large.bin")].block_size_bytes
        wrong = BlockSet([(first + MIB // size, first + MIB // size + 1), (end - 1, end)])
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything - wrong

    def test_threads_share_what_is_more_than_one_portion(
        self, site: Site, tree: Root, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(site)
        monkeypatch.setattr(preparing, "_PORTION_BYTES", 512 * KIB)
        assert matching(tree, site.space, site.everything, check=go_on) == site.everything


class TestStagingDirectory:
    def test_it_is_removed_when_it_is_empty(self, site: Site) -> None:
        make_staging(site.root, ".ckptd/r-1").close()
        remove_empty_staging_directory(site.root)
        assert site.staged().exists()
        site.staged().rmdir()
        remove_empty_staging_directory(site.root)
        remove_empty_staging_directory(site.root)
        assert os.listdir(site.path) == []

    def test_it_is_no_link(self, site: Site, tmp_path_factory: pytest.TempPathFactory) -> None:
        outside = tmp_path_factory.mktemp("outside")
        (site.path / ".ckptd").symlink_to(outside)
        with pytest.raises(StorageError):
            make_staging(site.root, ".ckptd/r-1")
        assert os.listdir(outside) == []
