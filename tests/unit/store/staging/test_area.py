from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import CkptdError, Conflict, Shortage, StorageError, VerificationFailed
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.files.confined import rename_noreplace
from ckptd.store.staging.area import Staging
from ckptd.store.staging.block_files import Writing
from ckptd.store.staging.warmth import Warmth
from tests.support.mounts import needs_disk
from tests.support.page_cache import pages_in_memory
from tests.support.stagings import (
    NOTHING,
    SHARD_CONTENTS,
    TARGET,
    Site,
)
from tests.support.stores import open_descriptors


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHARD_CONTENTS, critical=["shards/1.bin"])
    yield made
    made.close()


class TestWholeRecovery:
    def test_a_version_appears_complete_and_nothing_else_is_left(self, site: Site) -> None:
        staging = site.staging()
        assert staging.prepare(NOTHING) == NOTHING
        site.deliver(staging, site.everything)
        assert not site.placed().exists()
        files = staging.place(NOTHING)
        assert site.files() == site.version()
        assert os.listdir(site.path) == ["llama"]
        for unit, file in zip(site.space.manifest.units, files, strict=True):
            assert file is not None
            facts = site.placed(unit.path).stat()
            assert file.fingerprint.inode == facts.st_ino
            assert file.fingerprint.ctime_ns == facts.st_ctime_ns

    def test_units_can_be_found_while_they_are_staged_and_when_they_are_placed(
        self, site: Site
    ) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        unit = site.unit("shards/deep/2.bin")
        content = SHARD_CONTENTS["shards/deep/2.bin"]
        assert (site.path / staging.path_of(unit)).read_bytes() == content
        staging.place(NOTHING)
        assert staging.path_of(unit) == f"{TARGET}/shards/deep/2.bin"

    def test_another_recovery_is_left_alone(self, site: Site) -> None:
        other = site.staging("r-2", "other")
        other.prepare(NOTHING)
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        staging.place(NOTHING)
        assert site.staged(recovery="r-2").is_dir()

    def test_units_with_missing_blocks_are_left_out(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        missing = BlockSet.single(next(iter(site.blocks_of("shards/deep/2.bin"))))
        site.deliver(staging, site.everything - missing)
        files = staging.place(missing)
        assert site.files() == site.version("config.json", "empty", "shards/1.bin")
        assert os.listdir(site.placed("shards")) == ["1.bin"]
        assert [file is None for file in files].index(True) == site.unit("shards/deep/2.bin")

    def test_placing_with_blocks_that_were_not_delivered_is_a_bug(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything - BlockSet.single(3))
        with pytest.raises(AssertionError):
            staging.place(NOTHING)
        assert not site.placed().exists()

    def test_a_critical_unit_that_the_disk_changed_is_not_placed(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        site.staged("shards/1.bin").write_bytes(bytes(3 * MIB + 1))
        with pytest.raises(VerificationFailed, match=r"shards/1\.bin"):
            staging.place(NOTHING)
        assert not site.placed().exists()

    def test_blocks_leave_the_page_cache_once_they_are_durable_if_that_is_wanted(
        self, site: Site
    ) -> None:
        needs_disk(site.path)
        for drops_written in (True, False):
            name = f"r-{drops_written}"
            warmth = Warmth(0) if drops_written else Warmth()
            staging = site.staging(name, name, Writing(warmth=warmth))
            staging.prepare(NOTHING)
            site.deliver(staging, site.everything)
            kept = pages_in_memory(site.staged("shards/1.bin", name))
            assert (kept < 16) is drops_written

    def test_all_is_durable_before_the_rename(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        steps: list[str] = []
        fsync = os.fsync

        def note_fsync(fd: int) -> None:
            steps.append(os.readlink(f"/proc/self/fd/{fd}"))
            fsync(fd)

        def note_rename(*names: *tuple[int, str, int, str]) -> None:
            steps.append("rename")
            rename_noreplace(*names)

        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        monkeypatch.setattr(os, "fsync", note_fsync)
        monkeypatch.setattr("ckptd.store.files.confined.rename_noreplace", note_rename)
        staging.place(NOTHING)
        directories = ["", "shards", "shards/deep"]
        before = {str(site.staged(path)) for path in [*SHARD_CONTENTS, *directories]}
        renamed = steps.index("rename")
        assert before <= set(steps[:renamed])
        assert set(steps[renamed + 1 :]) == {str(site.path / "llama"), str(site.path / ".ckptd")}

    def test_names_are_durable_before_the_first_block(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: set[str] = set()
        fsync = os.fsync

        def note(fd: int) -> None:
            synced.add(os.readlink(f"/proc/self/fd/{fd}"))
            fsync(fd)

        monkeypatch.setattr(os, "fsync", note)
        site.staging().prepare(NOTHING)
        directories = ["", "shards", "shards/deep"]
        assert {str(site.path), str(site.path / ".ckptd")} <= synced
        assert {str(site.staged(path)) for path in directories} <= synced


class TestTarget:
    @pytest.mark.parametrize(
        "occupy",
        [
            lambda target: target.write_bytes(b"mine"),
            lambda target: target.symlink_to("/nowhere"),
            lambda target: (target / "shards").mkdir(parents=True),
        ],
        ids=["file", "link", "directory"],
    )
    def test_what_exists_is_not_touched(self, site: Site, occupy: Callable[[Path], object]) -> None:
        site.placed().parent.mkdir()
        occupy(site.placed())
        before = os.lstat(site.placed())
        with pytest.raises(Conflict, match=r"llama/100: exists already.*--to.*remove"):
            site.staging().prepare(site.everything)
        assert os.lstat(site.placed()).st_ctime_ns == before.st_ctime_ns
        assert not (site.path / ".ckptd").exists()

    def test_what_is_whole_and_right_beside_a_staging_needs_no_staging(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        shutil.copytree(site.staged(), site.placed())
        for path, content in SHARD_CONTENTS.items():
            site.placed(path).write_bytes(content)
        again = site.staging()
        assert again.prepare(NOTHING) == again.local == site.everything
        assert again.is_placed
        again.place(NOTHING)
        assert site.files() == site.version()

    def test_the_root_itself_is_no_target(self, site: Site) -> None:
        with pytest.raises(Conflict):
            site.staging(target="").prepare(NOTHING)

    def test_one_that_appears_meanwhile_is_not_replaced(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        site.placed("mine").mkdir(parents=True)
        with pytest.raises(Conflict):
            staging.place(NOTHING)
        assert os.listdir(site.placed()) == ["mine"]
        site.placed("mine").rmdir()
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_an_empty_directory_is_no_obstacle_and_stays_until_the_version_is_there(
        self, site: Site
    ) -> None:
        site.placed().mkdir(parents=True)
        staging = site.staging()
        staging.prepare(NOTHING)
        assert os.listdir(site.placed()) == []
        site.deliver(staging, site.everything)
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_an_empty_directory_is_given_up_in_the_moment_of_the_rename(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.placed().mkdir(parents=True)
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)

        def refuse(*_: object) -> None:
            assert not site.placed().exists()
            site.placed().write_bytes(b"somebody was faster")
            raise FileExistsError

        with monkeypatch.context() as patched:
            patched.setattr("ckptd.store.files.confined.rename_noreplace", refuse)
            with pytest.raises(Conflict):
                staging.place(NOTHING)
        assert site.placed().read_bytes() == b"somebody was faster"
        site.placed().unlink()
        staging.place(NOTHING)
        assert site.files() == site.version()


class TestShortages:
    def test_a_commit_for_which_a_file_cannot_be_opened_may_be_repeated(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        for block in site.everything:
            site.deliver_run(staging, block, block + 1)

        def refuse(*_: object) -> bool:
            raise Shortage("file", "no descriptor is left")

        with monkeypatch.context() as patched:
            patched.setattr("ckptd.store.staging.block_files.BlockFiles.sync", refuse)
            with pytest.raises(Shortage):
                staging.commit(site.everything)
        staging.commit(site.everything)
        staging.release(site.everything)
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_blocks_that_cannot_be_written_may_be_delivered_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)

        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        with monkeypatch.context() as patched:
            patched.setattr("ckptd.store.files.confined.open_file", refuse)
            with pytest.raises(Shortage):
                site.deliver_run(staging, 0, site.space.block_count)
        site.deliver(staging, site.everything)
        staging.place(NOTHING)
        assert site.files() == site.version()


class TestResuming:
    def interrupted(self, site: Site) -> BlockSet:
        """Deliver all but three blocks, then stop."""
        staging = site.staging()
        staging.prepare(NOTHING)
        delivered = site.everything - BlockSet([(4, 6), (9, 10)])
        site.deliver(staging, delivered)
        staging.close()
        return delivered

    def finish(self, site: Site, staging: Staging, verified: BlockSet) -> None:
        site.deliver(staging, site.everything - verified)
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_what_the_journal_has_is_not_fetched_again(self, site: Site) -> None:
        delivered = self.interrupted(site)
        staging = site.staging()
        assert staging.prepare(delivered) == delivered
        self.finish(site, staging, delivered)

    def test_what_the_journal_does_not_have_does_not_count(self, site: Site) -> None:
        self.interrupted(site)
        staging = site.staging()
        assert staging.prepare(BlockSet([(0, 3)])) == BlockSet([(0, 3)])
        self.finish(site, staging, BlockSet([(0, 3)]))

    def test_what_the_journal_has_and_the_disk_does_not_is_fetched_again(self, site: Site) -> None:
        delivered = self.interrupted(site)
        staging = site.staging()
        assert staging.prepare(site.everything) == delivered
        self.finish(site, staging, delivered)

    def test_a_changed_block_is_fetched_again(self, site: Site) -> None:
        delivered = self.interrupted(site)
        with site.staged("shards/1.bin").open("r+b") as file:
            file.seek(256 * KIB)
            file.write(b"!")
        staging = site.staging()
        verified = staging.prepare(delivered)
        assert verified == delivered - BlockSet.single(1)
        self.finish(site, staging, verified)

    @pytest.mark.parametrize("size_bytes", [MIB, 4 * MIB], ids=["shorter", "longer"])
    def test_a_file_of_another_length_is_made_anew(self, site: Site, size_bytes: int) -> None:
        delivered = self.interrupted(site)
        os.truncate(site.staged("shards/1.bin"), size_bytes)
        staging = site.staging()
        verified = staging.prepare(delivered)
        assert verified == delivered - site.blocks_of("shards/1.bin")
        self.finish(site, staging, verified)

    def test_a_link_that_was_planted_is_not_followed(self, site: Site) -> None:
        delivered = self.interrupted(site)
        outside = site.path / "outside.bin"
        site.staged("shards/1.bin").rename(outside)
        site.staged("shards/1.bin").symlink_to(outside)
        before = outside.read_bytes()
        staging = site.staging()
        verified = staging.prepare(delivered)
        assert verified == delivered - site.blocks_of("shards/1.bin")
        site.deliver(staging, site.everything - verified)
        staging.place(NOTHING)
        assert outside.read_bytes() == before
        outside.unlink()
        assert site.files() == site.version()

    def test_a_directory_link_that_was_planted_is_not_followed(self, site: Site) -> None:
        delivered = self.interrupted(site)
        outside = site.path / "outside"
        site.staged("shards").rename(outside)
        site.staged("shards").symlink_to(outside)
        before = (outside / "1.bin").read_bytes()
        staging = site.staging()
        verified = staging.prepare(delivered)
        assert verified == site.blocks_of("config.json")
        site.deliver(staging, site.everything - verified)
        staging.place(NOTHING)
        assert (outside / "1.bin").read_bytes() == before
        shutil.rmtree(outside)
        assert site.files() == site.version()

    def test_what_does_not_belong_is_removed(self, site: Site) -> None:
        delivered = self.interrupted(site)
        site.staged("another/deep").mkdir(parents=True)
        site.staged("another/deep/file").touch()
        site.staged("shards/core").touch()
        staging = site.staging()
        assert staging.prepare(delivered) == delivered
        self.finish(site, staging, delivered)

    def test_a_staging_that_was_swept_away_begins_anew(self, site: Site) -> None:
        delivered = self.interrupted(site)
        shutil.rmtree(site.path / ".ckptd")
        staging = site.staging()
        assert staging.prepare(delivered) == NOTHING
        self.finish(site, staging, NOTHING)


class TestInterrupted:
    """Fault X4 while hashing is under way: a daemon that stops does not wait for it."""

    def test_what_is_hashed_again_ends_and_stays_for_the_next_life(self, site: Site) -> None:
        first = site.staging()
        first.prepare(NOTHING)
        site.deliver(first, site.everything)
        first.close()
        second = site.staging()
        second.interrupt()
        with pytest.raises(CkptdError, match="the daemon stops"):
            second.prepare(site.everything)
        assert site.staging().prepare(site.everything) == site.everything

    def test_critical_units_are_not_hashed_to_the_end_before_a_rename(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything)
        staging.interrupt()
        with pytest.raises(CkptdError, match="the daemon stops"):
            staging.place(NOTHING)
        assert not site.placed().exists()

    def test_nor_is_what_stands_at_the_target(self, site: Site) -> None:
        first = site.staging()
        first.prepare(NOTHING)
        site.deliver(first, site.everything)
        first.place(NOTHING)
        second = site.staging()
        second.interrupt()
        with pytest.raises(CkptdError, match="the daemon stops"):
            second.prepare(site.everything)
        assert site.files() == site.version()


class TestInterruptedAfterTheRename:
    def placed(self, site: Site, missing: BlockSet) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver(staging, site.everything - missing)
        self.files = staging.place(missing)
        staging.close()

    def test_a_complete_version_is_recognised(self, site: Site) -> None:
        self.placed(site, NOTHING)
        staging = site.staging()
        assert staging.prepare(site.everything) == site.everything
        assert staging.is_placed
        assert staging.place(NOTHING) == self.files
        staging.discard()
        assert site.files() == site.version()

    def test_what_was_recognised_is_durable_before_it_counts_as_placed(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.placed(site, NOTHING)
        staging = site.staging()
        staging.prepare(site.everything)
        synced: list[str] = []
        monkeypatch.setattr(
            "ckptd.store.files.roots.sync_file_system",
            lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")),
        )
        staging.place(NOTHING)
        assert synced == [str(site.placed())]

    def test_a_complete_version_is_recognised_without_a_journal(self, site: Site) -> None:
        self.placed(site, NOTHING)
        staging = site.staging("r-2")
        assert staging.prepare(NOTHING) == site.everything
        staging.commit(site.everything)
        assert staging.place(NOTHING) == self.files

    def test_a_version_without_some_units_is_completed_where_it_stands(self, site: Site) -> None:
        missing = site.blocks_of("shards/deep/2.bin")
        self.placed(site, missing)
        inode = site.placed().stat().st_ino
        staging = site.staging()
        assert staging.prepare(site.everything - missing) == site.everything - missing
        assert staging.local == NOTHING  # the journal has it: it was fetched by an earlier run
        assert not staging.is_placed
        assert site.placed("shards/1.bin").exists()
        site.deliver(staging, missing)
        staging.place(NOTHING)
        assert site.files() == site.version()
        assert site.placed().stat().st_ino == inode

    def test_a_version_that_was_changed_since_is_left_alone(self, site: Site) -> None:
        self.placed(site, NOTHING)
        site.placed("config.json").write_bytes(b"[]")
        with pytest.raises(Conflict, match=r"'llama/100/config\.json' differ.*--overwrite"):
            site.staging().prepare(site.everything)
        assert site.placed("config.json").read_bytes() == b"[]"


class TestPromises:
    def test_only_what_is_missing_of_unreserved_units_is_promised(self, site: Site) -> None:
        needs_disk(site.path)
        staging = site.staging()
        staging.prepare(NOTHING)
        assert staging.promised_bytes == 600 * KIB + 2
        large = site.blocks_of("shards/1.bin")
        site.deliver(staging, large)
        assert staging.promised_bytes == 600 * KIB + 2
        site.deliver(staging, site.blocks_of("config.json"))
        assert staging.promised_bytes == 600 * KIB
        staging.close()
        again = site.staging()
        again.prepare(site.everything)
        assert again.promised_bytes == 600 * KIB


class TestEnding:
    def test_a_staging_that_was_never_prepared_can_be_discarded(self, site: Site) -> None:
        site.staging().discard()
        first = site.staging()
        first.prepare(NOTHING)
        first.close()
        site.staging().discard()
        assert os.listdir(site.path) == []

    def test_after_the_close_only_what_is_held_is_accepted(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver_run(staging, 0, 1)
        staging.close()
        staging.close()
        assert site.deliver_run(staging, 0, 1) == ()
        with pytest.raises(StorageError, match="recovery r-1: is closed"):
            site.deliver_run(staging, 1, 2)

    def test_after_placing_only_what_is_held_is_accepted(self, site: Site) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        missing = site.blocks_of("config.json")
        site.deliver(staging, site.everything - missing)
        staging.place(missing)
        assert site.deliver_run(staging, 0, 13) == ()
        with pytest.raises(StorageError, match="recovery r-1: is being placed"):
            site.deliver(staging, missing)

    def test_no_descriptor_is_left_open(self, site: Site) -> None:
        before = open_descriptors()
        for recovery in ("r-1", "r-2"):
            staging = site.staging(recovery, recovery)
            staging.prepare(NOTHING)
            site.deliver(staging, site.everything)
            if recovery == "r-1":
                staging.place(NOTHING)
            staging.close()
        assert open_descriptors() == before
