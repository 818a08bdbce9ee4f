from __future__ import annotations

import os
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.model.ids import RecoveryId
from ckptd.store.staging.orphans import remove_orphan, staged_recoveries
from ckptd.store.trees.directories import make_staging
from tests.support.stagings import Site
from tests.support.stores import open_descriptors

ONE, TWO = RecoveryId("r-000000000001"), RecoveryId("r-000000000002")


def leave(site: Site, *names: str) -> None:
    for name in names:
        site.staged("deep/file", name).parent.mkdir(parents=True)
        site.staged("deep/file", name).write_bytes(b"staged")


def test_what_recoveries_left_is_found_and_nothing_else(site: Site) -> None:
    assert staged_recoveries(site.root) == ()
    leave(site, TWO, ONE, "replaced", "r-1")
    site.staged("", "probe").write_bytes(b"")
    site.staged("", "r-000000000003").write_bytes(b"a file")
    site.staged("", "r-000000000004").symlink_to(site.staged("", ONE))
    assert staged_recoveries(site.root) == (ONE, TWO)


def test_a_mount_is_not_looked_into(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(site, ONE)
    monkeypatch.setattr(site.root, "device", site.root.device + 1)
    assert staged_recoveries(site.root) == ()


def test_nothing_is_looked_for_in_a_root_that_is_not_in_place(site: Site, tmp_path: Path) -> None:
    leave(site, ONE)
    site.path.rename(tmp_path.with_name("moved"))
    site.path.mkdir()
    with pytest.raises(StorageError, match="is not the directory any more"):
        staged_recoveries(site.root)


def test_a_link_in_place_of_staging_is_not_followed(site: Site, tmp_path: Path) -> None:
    outside = tmp_path.with_name("outside")
    (outside / ONE).mkdir(parents=True)
    (site.path / ".ckptd").symlink_to(outside)
    with pytest.raises(StorageError):
        staged_recoveries(site.root)
    with pytest.raises(StorageError):
        remove_orphan(site.root, ONE)
    assert os.listdir(outside) == [ONE]


def test_an_orphan_is_removed_and_the_directory_with_the_last_one(site: Site) -> None:
    leave(site, ONE, TWO)
    before = open_descriptors()
    assert remove_orphan(site.root, ONE)
    assert os.listdir(site.path / ".ckptd") == [TWO]
    assert remove_orphan(site.root, ONE)
    assert remove_orphan(site.root, TWO)
    assert os.listdir(site.path) == []
    assert open_descriptors() == before


def test_staging_that_somebody_uses_stays(site: Site) -> None:
    make_staging(site.root, f".ckptd/{ONE}").close()
    in_use = make_staging(site.root, f".ckptd/{TWO}")
    assert remove_orphan(site.root, ONE)
    assert not remove_orphan(site.root, TWO)
    in_use.close()
    assert remove_orphan(site.root, TWO)


def test_without_locks_everything_stays(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(site, ONE)

    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("fcntl.flock", refuse)
    assert not remove_orphan(site.root, ONE)
    assert site.staged("deep/file", ONE).exists()
