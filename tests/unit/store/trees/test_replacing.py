"""Single files are put right where they stand."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ckptd.errors import Conflict, StagingLost
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.files import confined
from ckptd.store.files.hashing import UnitHasher
from ckptd.store.files.roots import Root
from ckptd.store.staging import block_files
from ckptd.store.staging.area import Staging
from ckptd.store.trees import unit_hashing
from ckptd.store.trees.equal_blocks import SimilarPlace
from ckptd.store.trees.standing_files import KnownPlace, OnDisk
from tests.support.killing import Killed, kill_at
from tests.support.stagings import NOTHING, SHARD_CONTENTS, TARGET, Site
from tests.support.standing import flip, inode, known, stand
from tests.support.stores import open_descriptors

SHARD = "shards/1.bin"
BAD = BlockSet.single(1)
"""The block of the shard that is flipped."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHARD_CONTENTS, critical=[SHARD])
    yield made
    made.close()


def rotten(site: Site) -> KnownPlace:
    """Let a block rot: nothing but the content is another."""
    stand(site)
    flip(site.placed(SHARD), 300 * KIB)
    return replace(known(site), changed=frozenset([site.unit(SHARD)]))


def begin(site: Site, place: KnownPlace | None, *, is_overwriting: bool = False) -> Staging:
    staging = site.staging()
    staging.prepare(NOTHING, OnDisk(place, is_overwriting=is_overwriting))
    return staging


def _never(*_: object, **__: object) -> None:
    raise AssertionError("that was not necessary")


def finish(site: Site, staging: Staging) -> None:
    """Take what lies nearby, deliver what is missing then, and place."""
    taken = site.take_nearby(staging)
    site.deliver(staging, site.everything - staging.local - taken)
    files = staging.place(NOTHING)
    staging.close()
    assert files == known(site).files


class TestRepair:
    def test_one_flipped_block_is_all_that_travels(self, site: Site) -> None:
        place = rotten(site)
        others = {path: inode(site.placed(path)) for path in site.contents if path != SHARD}
        staging = begin(site, place)
        assert staging.local == site.everything - site.blocks_of(SHARD)
        assert staging.nearby.blocks == site.blocks_of(SHARD) - BAD
        finish(site, staging)
        assert (staging.target.replaced, staging.target.is_untouched) == (1, False)
        assert site.files() == site.version()
        assert {path: inode(site.placed(path)) for path in others} == others

    def test_whoever_has_the_file_mapped_sees_the_old_one(self, site: Site) -> None:
        place = rotten(site)
        old = site.placed(SHARD).read_bytes()
        with site.placed(SHARD).open("rb") as file:
            seen = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        finish(site, begin(site, place))
        assert seen[:] == old
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]
        seen.close()

    def test_no_tool_takes_a_version_for_a_newer_one_that_was_put_right(self, site: Site) -> None:
        place = rotten(site)
        os.utime(site.placed("shards"), ns=(1, 1))
        os.utime(site.placed(), ns=(2, 2))
        before = site.placed(SHARD).stat()
        finish(site, begin(site, place))
        after = site.placed(SHARD).stat()
        assert after.st_ino != before.st_ino
        assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
        assert site.placed("shards").stat().st_mtime_ns == 1
        assert site.placed().stat().st_mtime_ns == 2

    def test_missing_files_and_their_directories_are_made(self, site: Site) -> None:
        place = stand(site)
        for path in ("shards/deep/2.bin", "empty"):
            site.placed(path).unlink()
        site.placed("shards/deep").rmdir()
        staging = begin(site, place)
        assert staging.local == site.everything - site.blocks_of("shards/deep/2.bin")
        finish(site, staging)
        assert site.files() == site.version()

    def test_missing_files_are_made_where_a_rename_knows_no_flags(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        site.placed(SHARD).unlink()
        staging = begin(site, place)
        monkeypatch.setattr(confined, "rename_noreplace", lambda *_: _refuse(errno.EINVAL))
        finish(site, staging)
        assert site.files() == site.version()

    def test_files_that_are_not_of_the_version_stay(self, site: Site) -> None:
        place = rotten(site)
        site.placed("notes.txt").write_bytes(b"mine")
        finish(site, begin(site, place))
        assert site.placed("notes.txt").read_bytes() == b"mine"

    def test_a_half_that_somebody_copied_there_is_completed(self, site: Site) -> None:
        stand(site)
        site.placed(SHARD).unlink()
        staging = begin(site, None)
        assert staging.local == site.everything - site.blocks_of(SHARD)
        finish(site, staging)
        assert site.files() == site.version()

    def test_what_rotted_in_one_place_is_taken_from_another(self, site: Site) -> None:
        other = stand(site, "copy")
        staging = site.staging()
        here = OnDisk(rotten(site), (other,))
        staging.prepare(NOTHING, here)
        assert staging.nearby.blocks == site.blocks_of(SHARD)
        finish(site, staging)
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]

    def test_a_version_that_stands_elsewhere_is_copied(self, site: Site) -> None:
        staging = site.staging()
        here = OnDisk(elsewhere=(stand(site, "copy"),))
        assert staging.prepare(NOTHING, here) == NOTHING
        assert staging.nearby.blocks == site.everything
        finish(site, staging)
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]
        assert inode(site.placed(SHARD)) != inode(site.path / "copy" / SHARD)

    def test_a_second_copy_is_hashed_once_and_syncs_its_own_files(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(unit_hashing, "unit_digest", _never)
        monkeypatch.setattr(UnitHasher, "advance", _never)
        path = "shards/deep/2.bin"
        staging = site.staging()
        staging.prepare(NOTHING, OnDisk(elsewhere=(stand(site, "copy"),)))
        nearby = staging.nearby.blocks & site.blocks_of(path)
        staging.take(
            [each for run in nearby.runs() for each in site.space.places(run)], staging.copier()
        )
        monkeypatch.setattr(Root, "sync", _never)
        staging.commit(nearby)
        staging.release(nearby)
        assert not staging.place(site.everything - nearby)[site.unit(SHARD)]
        assert site.placed(path).read_bytes() == SHARD_CONTENTS[path]

    def test_what_is_shared_is_in_no_memory_that_could_stay_warm(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def share(source: int, at: int, size_bytes: int, target: int, offset: int) -> None:
            os.pwrite(target, os.pread(source, size_bytes, at), offset)

        monkeypatch.setattr(block_files, "share_extents", share)
        staging = site.staging()
        staging.prepare(NOTHING, OnDisk(elsewhere=(stand(site, "copy"),)))
        assert staging.warm.size_bytes == len(site.bytes)
        finish(site, staging)
        assert staging.warm.size_bytes == len(site.contents["config.json"])

    def test_places_that_are_gone_hide_no_other_one(self, site: Site) -> None:
        gone, other = stand(site, "gone"), stand(site, "other")
        shutil.rmtree(site.path / "gone")
        staging = site.staging()
        similar = (SimilarPlace(gone, site.space), SimilarPlace(other, site.space))
        staging.prepare(NOTHING, OnDisk(elsewhere=(gone,)), similar=similar)
        assert site.take_nearby(staging) == site.everything
        staging.place(NOTHING)
        staging.close()
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]

    def test_a_unit_of_which_a_block_is_missing_stays_as_it_is(self, site: Site) -> None:
        staging = begin(site, rotten(site))
        site.take_nearby(staging)
        files = staging.place(BAD)
        assert [file is None for file in files].index(True) == site.unit(SHARD)
        assert site.placed(SHARD).read_bytes() != SHARD_CONTENTS[SHARD]

    def test_units_can_be_found_where_they_are(self, site: Site) -> None:
        staging = begin(site, rotten(site))
        assert staging.path_of(site.unit("config.json")) == f"{TARGET}/config.json"
        assert staging.path_of(site.unit(SHARD)) == f".ckptd/r-1/{SHARD}"
        finish(site, staging)
        assert staging.path_of(site.unit(SHARD)) == f"{TARGET}/{SHARD}"

    def test_no_room_is_asked_for_what_stands(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = rotten(site)
        monkeypatch.setattr(site.root, "free_bytes", lambda: 5 * MIB)
        stand(site, "copy")
        begin(site, place)

    def test_no_descriptor_is_left_open(self, site: Site) -> None:
        before = open_descriptors()
        finish(site, begin(site, rotten(site)))
        assert open_descriptors() == before


class TestWhatSomebodyChanged:
    def test_it_is_refused_and_left_alone(self, site: Site) -> None:
        place = stand(site)
        flip(site.placed(SHARD))
        before = site.files()
        with pytest.raises(Conflict, match="--overwrite"):
            begin(site, place)
        assert site.files() == before

    @pytest.mark.parametrize("refusal", [0, errno.EPERM])
    def test_it_is_kept_and_replaced_on_demand(
        self, site: Site, refusal: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        flip(site.placed(SHARD))
        old = site.placed(SHARD).read_bytes()
        if refusal:
            monkeypatch.setattr(os, "link", lambda *_, **__: _refuse(refusal))
        finish(site, begin(site, place, is_overwriting=True))
        kept = f".ckptd/replaced/r-1/{SHARD}"
        assert site.files() == site.version() | {kept: old}

    def test_a_link_or_a_directory_in_the_way_is_kept_too(self, site: Site) -> None:
        place = stand(site)
        site.placed("config.json").unlink()
        site.placed("config.json").symlink_to("empty")
        site.placed(SHARD).unlink()
        site.placed(SHARD).mkdir()
        site.placed(f"{SHARD}/inner").write_bytes(b"mine")
        finish(site, begin(site, place, is_overwriting=True))
        kept = site.path / ".ckptd/replaced/r-1"
        assert os.readlink(kept / "config.json") == "empty"
        assert (kept / SHARD / "inner").read_bytes() == b"mine"
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]

    def test_what_was_kept_before_is_never_lost(self, site: Site) -> None:
        place = stand(site)
        flip(site.placed(SHARD))
        first = site.placed(SHARD).read_bytes()
        finish(site, begin(site, place, is_overwriting=True))
        flip(site.placed(SHARD), 9)
        second = site.placed(SHARD).read_bytes()
        finish(site, begin(site, place, is_overwriting=True))
        kept = site.path / ".ckptd/replaced/r-1" / SHARD
        assert kept.read_bytes() == first
        assert kept.with_name("1.bin.2").read_bytes() == second

    @pytest.mark.parametrize("is_overwriting", [True, False])
    def test_a_file_that_changes_meanwhile_is_not_replaced(
        self, site: Site, *, is_overwriting: bool
    ) -> None:
        if is_overwriting:
            place = stand(site)
            flip(site.placed(SHARD))
        else:
            place = rotten(site)
        staging = begin(site, place, is_overwriting=is_overwriting)
        site.deliver(staging, site.everything - staging.local)
        flip(site.placed(SHARD), 5)
        mine = site.placed(SHARD).read_bytes()
        with pytest.raises(Conflict, match="changed while the version was put right"):
            staging.place(NOTHING)
        assert site.placed(SHARD).read_bytes() == mine

    def test_a_file_that_appears_meanwhile_is_not_replaced(self, site: Site) -> None:
        place = stand(site)
        site.placed(SHARD).unlink()
        staging = begin(site, place)
        site.deliver(staging, site.everything - staging.local)
        site.placed(SHARD).write_bytes(b"mine")
        with pytest.raises(Conflict, match="while the version was put right"):
            staging.place(NOTHING)
        assert site.placed(SHARD).read_bytes() == b"mine"


class TestInterrupted:
    """A daemon that is killed leaves old or new, and the next one goes on."""

    def test_what_was_replaced_counts_in_the_next_run(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        place = stand(site)
        site.placed("config.json").unlink()
        flip(site.placed(SHARD), 300 * KIB)
        staging = begin(site, place, is_overwriting=True)
        site.deliver(staging, site.everything - staging.local)
        rename = confined.rename_noreplace
        monkeypatch.setattr(confined, "rename_noreplace", lambda *_: _refuse(errno.EINTR))
        with pytest.raises(Exception, match=r"config\.json"):
            staging.place(NOTHING)
        staging.close()
        assert site.placed(SHARD).read_bytes() == SHARD_CONTENTS[SHARD]
        monkeypatch.setattr(confined, "rename_noreplace", rename)
        again = site.staging()
        journaled = site.everything
        assert again.prepare(journaled, OnDisk(place)) == site.everything
        again.place(NOTHING)
        assert site.files() == site.version() | {
            path: content for path, content in site.files().items() if "replaced" in path
        }

    def test_what_was_delivered_is_not_fetched_again(self, site: Site) -> None:
        place = rotten(site)
        staging = begin(site, place)
        site.deliver(staging, BAD)
        staging.close()
        again = site.staging()
        assert again.prepare(BAD, OnDisk(place)) == site.everything - again.nearby.blocks
        site.take_nearby(again)
        again.place(NOTHING)
        assert site.files() == site.version()

    def test_a_finished_file_that_is_swept_is_lost_and_nothing_else(self, site: Site) -> None:
        staging = begin(site, rotten(site))
        site.take_nearby(staging)
        site.deliver(staging, BAD)
        site.staged(SHARD).unlink()
        with pytest.raises(StagingLost):
            staging.place(NOTHING)

    def test_discarding_leaves_the_place_alone(self, site: Site) -> None:
        place = rotten(site)
        before = site.files()
        begin(site, place).discard()
        assert site.files() == before


def _refuse(code: int) -> None:
    raise OSError(code, os.strerror(code))


class TestKilledAnywhere:
    """At whatever call to the kernel: each path has the old file or the new one, and it goes on."""

    CALLS = ("rename_noreplace", "rename_replacing", "link", "remove_tree", "make_directories")

    @pytest.mark.parametrize("calls", range(1, 60, 2))
    def test_old_or_new_and_on_it_goes(
        self, tmp_path: Path, calls: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site = Site(tmp_path, SHARD_CONTENTS, critical=[SHARD])
        place = stand(site)
        site.placed("shards/deep/2.bin").unlink()
        flip(site.placed("config.json"))
        flip(site.placed(SHARD), 300 * KIB)
        old = {path: site.placed(path).read_bytes() for path in ("config.json", SHARD)}
        here = OnDisk(place, is_overwriting=True)
        staging = site.staging()
        with monkeypatch.context() as killing:
            kill_at(killing, calls, self.CALLS)
            with contextlib.suppress(Killed):
                staging.prepare(NOTHING, here)
                site.deliver(staging, site.everything - staging.local)
                staging.place(NOTHING)
        for path, content in old.items():
            assert site.placed(path).read_bytes() in {content, SHARD_CONTENTS[path]}
        again = site.staging()
        found = again.prepare(site.everything, here)
        site.deliver(again, site.everything - found)
        again.place(NOTHING)
        files = site.files()
        assert files.items() >= site.version().items()
        kept = {content for path, content in files.items() if "/replaced/" in path}
        assert kept == set(old.values())
        site.close()
