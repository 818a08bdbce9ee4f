from __future__ import annotations

import fcntl
import os
import stat

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.roots import Root
from ckptd.store.trees.directories import (
    as_directory,
    check_is_at,
    create_in_staging,
    is_free,
    make_staging,
    remove_empty,
    remove_empty_staging_directory,
)
from tests.support.stagings import Site
from tests.support.stores import open_descriptors, write_files


class TestFreeNames:
    def test_a_name_is_free_while_nothing_or_an_empty_directory_has_it(self, site: Site) -> None:
        assert is_free(site.root, "a")
        assert is_free(site.root, "a/b")
        (site.path / "a").mkdir()
        assert is_free(site.root, "a")
        (site.path / "a/b").mkdir()
        assert not is_free(site.root, "a")
        (site.path / "file").touch()
        (site.path / "link").symlink_to("a/b")
        for taken in ("file", "link", ""):
            assert not is_free(site.root, taken)

    def test_a_mount_is_not_free(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        (site.path / "a").mkdir()
        monkeypatch.setattr(site.root, "device", site.root.device + 1)
        assert not is_free(site.root, "a")

    def test_only_an_empty_directory_is_removed(self, site: Site) -> None:
        (site.path / "full/inner").mkdir(parents=True)
        (site.path / "link").symlink_to("full/inner")
        (site.path / "file").touch()
        for kept in ("full", "link", "file", "absent"):
            remove_empty(site.root, kept)
        assert sorted(os.listdir(site.path)) == ["file", "full", "link"]
        remove_empty(site.root, "full/inner")
        assert os.listdir(site.path / "full") == []


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

    def test_a_directory_that_was_swapped_in_is_not_what_was_recovered(self, site: Site) -> None:
        tree = make_staging(site.root, ".ckptd/r-1")
        check_is_at(site.root, ".ckptd/r-1", tree)
        (site.path / "100").mkdir()
        for path in ("100", "none"):
            with pytest.raises(StorageError, match="somebody swapped the directory"):
                check_is_at(site.root, path, tree)
        tree.close()

    def test_staging_is_locked_as_cleaners_want_it(self, tree: Root, site: Site) -> None:
        with as_directory(site.root, ".ckptd/r-1") as fd, pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def test_it_is_closed_to_others_and_its_files_too(self, site: Site) -> None:
        site.staged().mkdir(0o755, parents=True)
        tree = make_staging(site.root, ".ckptd/r-1")
        assert stat.S_IMODE(site.staged().stat().st_mode) == 0o700
        tree.close()

    def test_a_file_takes_the_place_of_what_a_killed_daemon_left(self, site: Site) -> None:
        write_files(site.path, {".ckptd/probe": b"old"})
        os.close(create_in_staging(site.root, ".ckptd/probe"))
        path = site.path / ".ckptd/probe"
        assert path.read_bytes() == b""
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def test_a_directory_is_open_for_as_long_as_it_is_used(self, site: Site) -> None:
        before = open_descriptors()
        with as_directory(site.root, "") as fd:
            assert os.path.samestat(os.fstat(fd), site.path.stat())
        assert open_descriptors() == before
