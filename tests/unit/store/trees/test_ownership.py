from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.errors import StorageError
from ckptd.store.files.roots import Root
from ckptd.store.trees import leftovers
from ckptd.store.trees.finishing import Finish, Finishing
from ckptd.store.trees.ownership import Owner, giving_obstacle
from tests.support.stagings import Site

JOB = 64002
GROUP = 64003

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    fd = os.open(tmp_path / "file", os.O_CREAT | os.O_RDWR, 0o640)
    yield fd
    os.close(fd)


@as_root
@pytest.mark.parametrize(
    ("owner", "ids"),
    [
        (Owner(JOB, GROUP), (JOB, GROUP)),
        (Owner(JOB), (JOB, os.getegid())),
        (Owner(None, GROUP), (os.geteuid(), GROUP)),
        (Owner(), (os.geteuid(), os.getegid())),
    ],
)
def test_a_file_becomes_the_owners(file: int, owner: Owner, ids: tuple[int, int]) -> None:
    owner.give(file)
    facts = os.fstat(file)
    assert (facts.st_uid, facts.st_gid) == ids
    assert owner.has(facts)
    owner.give(file)  # once more changes nothing
    owner.take_back(file)
    assert os.fstat(file).st_uid == os.geteuid()


@as_root
def test_the_group_of_a_directory_that_hands_on_a_foreign_one_becomes_this_processs(
    file: int,
) -> None:
    """It could not read the file as the group's member."""
    os.fchown(file, -1, GROUP)
    Owner(JOB).give(file)
    assert os.fstat(file).st_gid == os.getegid()


@as_root
def test_what_is_not_of_this_recovery_is_not_given_away(tmp_path: Path, file: int) -> None:
    (tmp_path / "second").hardlink_to(tmp_path / "file")
    with pytest.raises(StorageError, match="linked or replaced"):
        Owner(JOB).give(file)
    (tmp_path / "second").unlink()
    os.fchown(file, GROUP, -1)
    with pytest.raises(StorageError, match="linked or replaced"):
        Owner(JOB).give(file)
    Owner(JOB).take_back(file)
    assert os.fstat(file).st_uid == GROUP


def test_whether_it_would_be_refused_is_tried() -> None:
    assert giving_obstacle(Owner()) == ""
    if os.geteuid() == 0:
        assert giving_obstacle(Owner(JOB)) == ""


def test_a_refusal_names_capability_and_drop_in(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    owner = Owner(os.geteuid() + 1)
    with pytest.raises(StorageError, match=rf"uid {owner.uid}, gid .*CAP_CHOWN"):
        owner.give(file)
    assert giving_obstacle(owner).startswith("the daemon may not give files to uid")


@as_root
def test_the_owner_comes_after_mode_and_time(site: Site, tmp_path: Path, file: int) -> None:
    """Nobody but the owner may change these."""
    finishing = Finishing(site.space.manifest, owner=Owner(JOB))
    last = Finish(0o640, 5)
    finishing.give(file, last)
    facts = (tmp_path / "file").stat()
    assert (facts.st_uid, facts.st_mode & 0o777, facts.st_mtime_ns) == (JOB, 0o640, 5)
    assert finishing.is_given(last, facts)
    assert not Finishing(site.space.manifest, owner=Owner(GROUP)).is_given(last, facts)
    finishing.give(file, Finish(0o660, 6))
    facts = (tmp_path / "file").stat()
    assert (facts.st_uid, facts.st_mode & 0o777, facts.st_mtime_ns) == (JOB, 0o660, 6)


def test_what_is_somebody_elses_is_open_to_the_daemon_by_its_group(site: Site) -> None:
    finishing = Finishing(site.space.manifest, owner=Owner(os.geteuid() + 1))
    assert finishing.of_unit(0).mode == 0o640
    assert finishing.of_directory("").mode == 0o770
    own = Finishing(site.space.manifest, owner=Owner(os.geteuid()))
    assert (own.of_unit(0).mode, own.of_directory("").mode) == (0o600, 0o700)


@as_root
def test_what_was_given_away_and_not_placed_is_taken_up_again(site: Site, tree: Root) -> None:
    unit = site.unit("shards/large.bin")
    path = site.staged("shards/large.bin")
    os.chown(path, JOB, -1)
    taken = leftovers.take_up(tree, site.space.manifest, (), Owner(JOB))
    assert unit in taken
    assert (path.stat().st_uid, path.stat().st_mode & 0o777) == (os.geteuid(), 0o600)
    os.chown(path, GROUP, -1)
    assert unit not in leftovers.take_up(tree, site.space.manifest, (), Owner(JOB))
    assert not path.exists()
