from __future__ import annotations

import errno
import functools
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ckptd.errors import OutOfSpace, StagingLost, StorageError
from ckptd.limits import KIB, MIB
from ckptd.model.blocks import BlockSet
from ckptd.store.staging.area import Staging
from tests.support.mounts import tmpfs
from tests.support.stagings import (
    NOTHING,
    SHARD_CONTENTS,
    Site,
    content_of,
    end_thread,
    start_thread,
)
from tests.support.stores import open_descriptors


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path, SHARD_CONTENTS, critical=["shards/1.bin"])
    yield made
    made.close()


def failing(code: int) -> Callable[..., int]:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    return fail


class TestDelivering:
    @pytest.fixture
    def staging(self, site: Site) -> Staging:
        made = site.staging()
        made.prepare(NOTHING)
        return made

    def test_a_wrong_block_is_named_and_not_written(self, site: Site, staging: Staging) -> None:
        data = bytearray(site.data(0, 6))
        data[256 * KIB * 2] ^= 1
        data[256 * KIB * 5] ^= 1
        places = tuple(site.space.places((0, 6)))
        assert staging.deliver(places, memoryview(data)) == (2, 5)
        block = 256 * KIB
        expected = bytearray(site.data(0, 5)) + bytes(block)
        expected[2 * block : 3 * block] = bytes(block)
        assert site.staged("shards/1.bin").read_bytes()[: 6 * block] == expected
        assert site.deliver_run(staging, 2, 3) == ()
        assert [block in staging.held for block in range(7)] == [True] * 5 + [False] * 2

    def test_blocks_of_several_units_come_at_once(self, site: Site, staging: Staging) -> None:
        assert site.deliver_run(staging, 0, site.space.block_count) == ()
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_consecutive_blocks_are_written_together_a_mebibyte_at_a_call(
        self, site: Site, staging: Staging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writes: list[tuple[int, int]] = []
        pwrite = os.pwrite

        def note(fd: int, data: memoryview, offset: int) -> int:
            writes.append((offset, len(data)))
            return pwrite(fd, data, offset)

        site.deliver_run(staging, 3, 4)
        monkeypatch.setattr(os, "pwrite", note)
        site.deliver_run(staging, 0, site.space.block_count)
        block = 256 * KIB
        assert writes == [
            (0, 3 * block),
            (4 * block, MIB),
            (4 * block + MIB, MIB),
            (4 * block + 2 * MIB, 1),
            (0, len(SHARD_CONTENTS["config.json"])),
            (0, len(SHARD_CONTENTS["shards/deep/2.bin"])),
        ]

    def test_a_short_write_is_continued(
        self, site: Site, staging: Staging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pwrite = os.pwrite
        monkeypatch.setattr(
            os, "pwrite", lambda fd, data, offset: pwrite(fd, data[:100_000], offset)
        )
        site.deliver(staging, site.everything)
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_lanes_deliver_side_by_side(self, tmp_path: Path) -> None:
        contents = {f"{number:03}": content_of(40 * KIB, seed=number) for number in range(200)}
        contents["large"] = content_of(8 * MIB, seed=1000)
        site = Site(tmp_path, contents)
        staging = site.staging()
        staging.prepare(NOTHING)
        together = threading.Barrier(4)

        def lane(number: int) -> None:
            together.wait(60)
            # Each block comes twice, from neighbours that meet at it.
            for block in range(site.space.block_count):
                if block % 4 in {number, (number + 1) % 4}:
                    assert site.deliver_run(staging, block, block + 1) == ()

        lanes = [start_thread(functools.partial(lane, number)) for number in range(4)]
        for thread, raised in lanes:
            end_thread(thread)
            assert raised == []
        staging.commit(site.everything)
        staging.place(NOTHING)
        assert site.files() == site.version()
        site.close()

    def test_many_small_units_need_few_descriptors(self, tmp_path: Path) -> None:
        contents = {f"{number:03}": b"%d" % number for number in range(400)}
        site = Site(tmp_path, contents)
        staging = site.staging()
        staging.prepare(NOTHING)
        before = len(open_descriptors())
        site.deliver_run(staging, 0, 400)
        assert len(open_descriptors()) <= before + 128
        staging.place(NOTHING)
        assert site.files() == site.version()
        site.close()
        assert len(open_descriptors()) < before

    def test_closing_waits_for_a_write_that_is_under_way(
        self, site: Site, staging: Staging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing, go_on = threading.Event(), threading.Event()
        pwrite = os.pwrite

        def write_slowly(fd: int, data: memoryview, offset: int) -> int:
            writing.set()
            assert go_on.wait(60)
            return pwrite(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", write_slowly)
        lane, lane_problems = start_thread(lambda: site.deliver_run(staging, 0, 1))
        assert writing.wait(60)
        worker, _ = start_thread(staging.close)
        worker.join(0.02)
        assert worker.is_alive()
        go_on.set()
        end_thread(lane)
        end_thread(worker)
        assert lane_problems == []
        assert 0 in staging.held

    def test_a_file_that_was_swept_away_is_lost(self, site: Site, staging: Staging) -> None:
        shutil.rmtree(site.staged())
        with pytest.raises(StagingLost, match="was removed"):
            site.deliver_run(staging, 0, 1)

    def test_a_commit_notices_files_that_were_swept_away_and_says_nothing_of_the_disk(
        self, site: Site, staging: Staging
    ) -> None:
        site.deliver_run(staging, 0, 2)
        shutil.rmtree(site.staged())
        for _ in range(2):
            with pytest.raises(StagingLost, match="was removed"):
                staging.commit(BlockSet([(0, 2)]))

    def test_what_was_swept_away_cannot_be_placed_and_is_found_missing_by_the_next_staging(
        self, site: Site, staging: Staging
    ) -> None:
        site.deliver(staging, site.everything)
        shutil.rmtree(site.staged())
        with pytest.raises(StagingLost, match="was removed"):
            staging.place(BlockSet())
        staging.close()
        again = site.staging()
        assert again.prepare(site.everything) == BlockSet()
        site.deliver(again, site.everything)
        again.place(BlockSet())
        assert site.files() == site.version()


class TestBackPressure:
    @pytest.fixture
    def site(self, tmp_path: Path) -> Iterator[Site]:
        """A version of one byte more than may be uncommitted; its last block is that byte."""
        made = Site(tmp_path, {"weights": content_of(48 * MIB + 1)})
        yield made
        made.close()

    @pytest.fixture
    def staging(self, site: Site) -> Staging:
        made = site.staging()
        made.prepare(NOTHING)
        site.deliver_run(made, 0, 192)
        return made

    def start_waiting(self, site: Site, staging: Staging) -> tuple[threading.Thread, list[str]]:
        thread, raised = start_thread(lambda: site.deliver_run(staging, 192, 193))
        while not staging.held.waiting:
            assert thread.is_alive(), "it did not wait"
            thread.join(0.001)
        return thread, raised

    def test_a_delivery_waits_for_the_journal(self, site: Site, staging: Staging) -> None:
        thread, raised = self.start_waiting(site, staging)
        staging.commit(BlockSet([(0, 64)]))
        assert staging.held.waiting == 1
        staging.release(BlockSet([(0, 64)]))
        end_thread(thread)
        assert raised == []
        staging.place(NOTHING)
        assert site.files() == site.version()

    def test_closing_ends_the_wait(self, site: Site, staging: Staging) -> None:
        thread, raised = self.start_waiting(site, staging)
        staging.close()
        end_thread(thread)
        assert raised == ["is closed"]

    def test_discarding_ends_the_wait(self, site: Site, staging: Staging) -> None:
        thread, raised = self.start_waiting(site, staging)
        staging.discard()
        end_thread(thread)
        assert raised == ["is closed"]
        assert os.listdir(site.path) == []

    def test_a_failed_commit_ends_the_wait(
        self, site: Site, staging: Staging, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        thread, raised = self.start_waiting(site, staging)
        monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
        with pytest.raises(StorageError):
            staging.commit(BlockSet([(0, 64)]))
        end_thread(thread)
        assert "disk reports an error" in raised[0]

    def test_a_commit_that_finds_files_swept_away_ends_the_wait(
        self, site: Site, staging: Staging
    ) -> None:
        thread, raised = self.start_waiting(site, staging)
        shutil.rmtree(site.staged())
        with pytest.raises(StagingLost):
            staging.commit(BlockSet([(0, 64)]))
        end_thread(thread)
        assert raised == ["was removed while it was being recovered"]

    def test_a_delivery_that_finds_files_swept_away_ends_the_wait_of_others(
        self, tmp_path: Path
    ) -> None:
        site = Site(tmp_path, {"a": content_of(48 * MIB - 1), "b": b"b", "c": b"c"})
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver_run(staging, 0, 192)
        thread, raised = start_thread(lambda: site.deliver_run(staging, 192, 194))
        while not staging.held.waiting:
            assert thread.is_alive(), "it did not wait"
            thread.join(0.001)
        shutil.rmtree(site.staged())
        with pytest.raises(StagingLost):
            site.deliver_run(staging, 192, 193)
        end_thread(thread)
        assert raised == ["was removed while it was being recovered"]
        site.close()


class TestCommitting:
    def test_a_few_files_are_synced_one_by_one(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[str] = []
        monkeypatch.setattr(
            os, "fdatasync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        )
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver_run(staging, 0, site.space.block_count)
        staging.commit(site.everything - site.blocks_of("config.json"))
        assert synced == [str(site.staged(path)) for path in ("shards/1.bin", "shards/deep/2.bin")]

    @pytest.mark.parametrize("count", [1, 17, 200], ids=["came whole", "many", "closed meanwhile"])
    def test_otherwise_the_file_system_is_synced(
        self, tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        synced: list[int] = []
        site = Site(tmp_path, {f"{number:03}": b"%d" % number for number in range(count)})
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver_run(staging, 0, count)
        monkeypatch.setattr(os, "fdatasync", failing(errno.EIO))
        monkeypatch.setattr("ckptd.store.files.roots.sync_file_system", synced.append)
        staging.commit(BlockSet([(0, 17)]) if count == 17 else BlockSet([(0, 1)]))
        assert len(synced) == 1
        site.close()

    def test_after_a_failed_sync_nothing_is_written_or_synced_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        site.deliver_run(staging, 0, 4)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", failing(errno.EIO))
            with pytest.raises(StorageError, match="the disk reports an error"):
                staging.commit(BlockSet([(0, 4)]))
        monkeypatch.setattr(os, "fdatasync", None)
        for refused in (
            lambda: staging.commit(BlockSet([(0, 4)])),
            lambda: site.deliver_run(staging, 4, 5),
            lambda: staging.place(site.everything - BlockSet([(0, 4)])),
        ):
            with pytest.raises(StorageError, match="does not write any more"):
                refused()
        assert not site.placed().exists()

    def test_after_a_failed_write_nothing_is_written_again(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        staging = site.staging()
        staging.prepare(NOTHING)
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", failing(errno.EIO))
            with pytest.raises(StorageError, match="the disk reports an error"):
                site.deliver_run(staging, 0, 1)
        assert 0 not in staging.held
        with pytest.raises(StorageError, match="does not write any more"):
            site.deliver_run(staging, 0, 1)


class TestFullDisk:
    def test_a_version_that_does_not_fit_leaves_nothing(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "small", "size=8m") as path:
            site = Site(path, {"weights": content_of(10 * MIB)})
            with pytest.raises(OutOfSpace, match=r"needs 11 MiB and has 8 MiB free"):
                site.staging().prepare(NOTHING)
            assert os.listdir(path) == []
            site.close()

    def test_too_many_files_leave_nothing_and_fit_later(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "small", "size=8m,nr_inodes=20") as path:
            site = Site(path, {f"{number:02}": b"%d" % number for number in range(15)})
            for number in range(10):
                (path / f"other-{number}").touch()
            staging = site.staging()
            with pytest.raises(OutOfSpace):
                staging.prepare(NOTHING)
            assert not (path / ".ckptd").exists()
            for number in range(10):
                (path / f"other-{number}").unlink()
            staging.prepare(NOTHING)
            site.deliver(staging, site.everything)
            staging.place(NOTHING)
            assert site.files() == site.version()
            site.close()

    def test_what_was_fetched_survives_a_resumption_without_room(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "small", "size=8m") as path:
            site = Site(path, {"a": content_of(3 * MIB, seed=1), "b": content_of(3 * MIB, seed=2)})
            staging = site.staging()
            staging.prepare(NOTHING)
            fetched = site.blocks_of("a")
            site.deliver(staging, fetched)
            staging.close()
            site.staged("b").unlink()
            (path / "other").write_bytes(bytes(4 * MIB))
            before = open_descriptors()
            staging = site.staging()
            with pytest.raises(OutOfSpace):
                staging.prepare(fetched)
            assert open_descriptors() == before
            (path / "other").unlink()
            assert staging.prepare(fetched) == fetched
            site.close()

    def test_a_write_without_room_can_be_repeated(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "small", "size=8m") as path:
            site = Site(path, {f"{number}": content_of(800 * KIB, number) for number in range(5)})
            staging = site.staging()
            staging.prepare(NOTHING)
            assert staging.promised_bytes == 5 * 800 * KIB
            (path / "other").write_bytes(bytes(6 * MIB))
            with pytest.raises(OutOfSpace) as refused:
                site.deliver_run(staging, 0, site.space.block_count)
            assert refused.value.is_retryable
            assert staging.held.missing_count(0, site.space.block_count) == site.space.block_count
            (path / "other").unlink()
            site.deliver(staging, site.everything)
            assert staging.promised_bytes == 0
            staging.place(NOTHING)
            assert site.files() == site.version()
            site.close()

    def test_a_read_only_root_is_refused(self, tmp_path: Path) -> None:
        with tmpfs(tmp_path / "small", "size=8m,ro") as path:
            site = Site(path, SHARD_CONTENTS)
            with pytest.raises(StorageError, match="is on a read-only file system"):
                site.staging().prepare(NOTHING)
            site.close()
