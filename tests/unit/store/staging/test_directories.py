from __future__ import annotations

import fcntl
import os

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.roots import Root
from ckptd.store.staging.directories import (
    as_directory,
    check_is_at,
    directories_of,
    make_staging,
    remove_empty_staging_directory,
)
from tests.support.stagings import (
    Site,
)


def test_directories_come_parents_first() -> None:
    assert directories_of(["c", "a/b/x", "a/y", "a/b/z"]) == ["a", "a/b"]


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
