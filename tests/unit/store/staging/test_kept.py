"""What was staged of a content that gave way is kept, and taken up again."""

from __future__ import annotations

import os

import pytest

from ckptd.model.ids import Digest, RecoveryId
from ckptd.store.staging.kept import drop_kept, staged_directories, swap_staging
from ckptd.store.staging.orphans import remove_orphan, staged_recoveries
from tests.support.stagings import Site

ONE, TWO = RecoveryId("r-000000000001"), RecoveryId("r-000000000002")
A, B, C = (Digest(digit * 64) for digit in "abc")


def stage(site: Site, what: str, name: str = ONE) -> None:
    site.staged("file", name).parent.mkdir(parents=True)
    site.staged("file", name).write_text(what)


def staged(site: Site, name: str = ONE) -> str:
    path = site.staged("file", name)
    return path.read_text() if path.exists() else ""


def test_what_was_staged_of_each_content_is_there_when_it_is_chosen_again(site: Site) -> None:
    stage(site, "of a")
    swap_staging(site.root, ONE, A, B)
    assert staged(site) == ""
    stage(site, "of b")
    swap_staging(site.root, ONE, B, A)
    assert staged(site) == "of a"
    swap_staging(site.root, ONE, A, B)
    assert staged(site) == "of b"


def test_one_content_is_kept_the_last_one_before(site: Site) -> None:
    for digest, after in ((A, B), (B, C)):
        stage(site, f"of {digest[0]}")
        swap_staging(site.root, ONE, digest, after)
    stage(site, "of c")
    assert staged_directories(site.root) == (ONE, f"{ONE}.{'b' * 12}")
    swap_staging(site.root, ONE, C, A)
    assert staged(site) == ""
    assert staged_directories(site.root) == (f"{ONE}.{'c' * 12}",)


def test_only_directories_of_the_same_file_system_are_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage(site, "of a")
    site.staged("", TWO).write_text("a file")
    assert staged_directories(site.root) == (ONE,)
    monkeypatch.setattr(site.root, "device", site.root.device + 1)
    assert staged_directories(site.root) == ()


def test_where_nothing_was_staged_nothing_is_kept(site: Site) -> None:
    swap_staging(site.root, ONE, A, B)
    assert staged_directories(site.root) == ()
    assert not site.staged("", "").exists()


def test_only_what_the_recovery_keeps_is_removed(site: Site) -> None:
    stage(site, "of a")
    stage(site, "another", TWO)
    stage(site, "another", f"{TWO}.{'a' * 12}")
    swap_staging(site.root, ONE, A, B)
    stage(site, "of b")
    drop_kept(site.root, ONE)
    assert staged_directories(site.root) == (ONE, TWO, f"{TWO}.{'a' * 12}")
    assert staged(site) == "of b"


def test_with_the_last_thing_kept_the_directory_goes(site: Site) -> None:
    stage(site, "of a")
    swap_staging(site.root, ONE, A, B)
    drop_kept(site.root, ONE)
    assert ".ckptd" not in os.listdir(site.path)


def test_an_orphan_goes_with_what_it_keeps(site: Site) -> None:
    stage(site, "of a")
    swap_staging(site.root, ONE, A, B)
    assert staged_recoveries(site.root) == (ONE,)
    stage(site, "of b")
    assert staged_recoveries(site.root) == (ONE,)
    assert remove_orphan(site.root, ONE)
    assert ".ckptd" not in os.listdir(site.path)
