"""What becomes of real daemons when the file system below a root fails them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.errors import CkptdError
from ckptd.limits import KIB, MIB
from ckptd.model.words import Result
from tests.support.cluster import Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.fault_proxy import fault_proxy
from tests.support.mounts import failing_disk, in_mount_namespace, mount, tmpfs, unmount

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 700), PlannedFile("model.bin", 4 * MIB)]


def source_of(cluster: Cluster, *, files: list[PlannedFile] = FILES) -> Node:
    source = cluster.node("source")
    make_checkpoint(source.path("100"), files=files)
    source.publish(source.path("100"), deferred=())
    return source


def test_on_a_read_only_root_nothing_is_recovered_and_all_is_served(tmp_path: Path) -> None:
    def scene() -> None:
        with tmpfs(tmp_path / "disk"), Cluster(tmp_path) as cluster:
            source = source_of(cluster)
            node = cluster.add("node", peers=[source.address], root=tmp_path / "disk")
            node.wait_ready()
            assert node.recover().result is Result.COMPLETE
            mount("-o", "remount,ro", str(tmp_path / "disk"))

            refused = node.recover(to=node.path("other"))
            assert refused.result is Result.FAILED
            assert "is on a read-only file system" in refused.message
            assert "read-only" in node.log_text()

            third = cluster.node("third", peers=[node.address])
            assert third.recover().result is Result.COMPLETE
            assert tree_digest(third.path("llama/rank-3/100")) == tree_digest(source.path("100"))
            mount("-o", "remount,rw", str(tmp_path / "disk"))
            assert node.recover(to=node.path("other")).result is Result.COMPLETE

    in_mount_namespace(scene)


def test_a_disk_that_fails_while_a_version_is_recovered_is_told_of_and_read_from(
    tmp_path: Path,
) -> None:
    """Fault D13, in the middle: writing stops, serving goes on, and it is known at once."""

    def scene() -> None:
        disk = tmp_path / "disk"
        with failing_disk(disk, size_bytes=256 * MIB) as fail, Cluster(tmp_path) as cluster:
            source = source_of(cluster)
            make_checkpoint(source.path("200"), files=[PlannedFile("model.bin", 96 * MIB)])
            source.publish(source.path("200"), "large", critical=(), deferred=())
            with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
                node = cluster.add("node", peers=[link.address], root=disk)
                node.wait_ready()
                assert node.recover().result is Result.COMPLETE
                recovery = node.begin("large")
                node.wait_bytes(recovery, 10 * MIB)
                fail()
                refused = node.result(recovery)
            assert refused.result is Result.FAILED
            assert "is on a read-only file system" in refused.message
            assert not node.path("large").exists()
            eventually(lambda: "event=root.unusable" in node.log_text(), "it is told of")
            (root,) = node.client.status().roots
            assert root.problem == "its file system is read-only here"
            assert node.client.health().components[f"root {root.name}"] == root.problem
            third = cluster.node("third", peers=[node.address])
            assert third.recover().result is Result.COMPLETE
            assert tree_digest(third.path("llama/rank-3/100")) == tree_digest(source.path("100"))

    in_mount_namespace(scene)


@pytest.mark.parametrize("what", ["mounted over", "unmounted"])
def test_when_another_file_system_takes_a_roots_place_nothing_is_written_to_it(
    tmp_path: Path, what: str
) -> None:
    def scene() -> None:
        disk = tmp_path / "disk"
        with tmpfs(disk), Cluster(tmp_path) as cluster:
            source = source_of(cluster)
            node = cluster.add("node", peers=[source.address], root=disk)
            node.wait_ready()
            make_checkpoint(disk / "published", files=FILES)
            if what == "unmounted":
                unmount(disk)
                mount("-t", "tmpfs", "tmpfs", str(disk))
            else:
                mount("-t", "tmpfs", "tmpfs", str(disk))
            make_checkpoint(disk / "published", files=FILES)
            before = tree_digest(disk)
            eventually(lambda: "event=root.unusable" in node.log_text(), "it is told of")

            refused = node.recover()
            assert refused.result is Result.FAILED
            assert "is not the directory any more" in refused.message
            assert refused.bytes_received == 0
            assert "is not the directory any more" in node.log_text()
            with pytest.raises(CkptdError, match="is not the directory any more"):
                node.publish(disk / "published", "other", critical=(), deferred=())
            assert tree_digest(disk) == before
            assert sorted(os.listdir(disk)) == ["published"]
            if what == "mounted over":
                unmount(disk)
                eventually(lambda: "event=root.usable" in node.log_text(), "it is back")
                assert node.recover().result is Result.COMPLETE

    in_mount_namespace(scene)


def test_without_enough_inodes_nothing_travels(tmp_path: Path) -> None:
    def scene() -> None:
        files = [PlannedFile(f"small/{number:03}", 1 * KIB) for number in range(200)]
        with tmpfs(tmp_path / "disk", "size=64m,nr_inodes=150"), Cluster(tmp_path) as cluster:
            source = cluster.node("source")
            make_checkpoint(source.path("100"), files=files)
            source.publish(source.path("100"), critical=(), deferred=())
            node = cluster.add("node", peers=[source.address], root=tmp_path / "disk")
            node.wait_ready()
            refused = node.recover(patience_s=1)
            assert refused.result is Result.FAILED
            assert "more files and directories" in refused.message
            assert refused.bytes_received == 0
            assert os.listdir(tmp_path / "disk") == []

    in_mount_namespace(scene)


@pytest.mark.parametrize("what", ["everything", "a file"])
def test_what_is_swept_from_staging_is_fetched_again_by_the_same_recovery(
    tmp_path: Path, what: str
) -> None:
    """Fault D15: a cleaner of temporary files passes by."""
    files = [PlannedFile("model.bin", 192 * MIB), PlannedFile("other.bin", 16 * MIB)]
    with Cluster(tmp_path) as cluster:
        source = cluster.node("source")
        make_checkpoint(source.path("100"), files=files)
        source.publish(source.path("100"), critical=(), deferred=())
        node = cluster.node("node", peers=[source.address])
        recovery = node.begin()
        node.wait_bytes(recovery, 8 * MIB)
        node.client.pause(recovery)
        staging = node.path(".ckptd", recovery)
        if what == "everything":
            shutil.rmtree(staging)
        else:
            (staging / "model.bin").unlink()
        node.client.resume(recovery)
        result = node.result(recovery)
        assert result.result is Result.COMPLETE, result.message
        assert result.wasted["lost"] >= 8 * MIB
        assert result.bytes_received - result.bytes_wasted == result.bytes_total
        assert tree_digest(result.target) == tree_digest(source.path("100"))
        told = [entry.sentence for entry in node.client.explain(recovery).story]
        assert any("what is lost is fetched again" in text for text in told)
        assert os.listdir(node.root) == ["llama"]


def test_names_at_every_limit_are_recovered(tmp_path: Path) -> None:
    names = [
        "x" * 255,
        "\xe9" * 127,
        "\U0001f4a9" * 63,
        "deep/" * 63 + "x",
        " ",
        "~",
        "$(id)",
        "-rf",
    ]
    names += ["\u202egnp.exe", "a\u0301", "\xe1", "a/.ckptd/r-1", "..\\..\\etc"]
    with Cluster(tmp_path) as cluster:
        source = source_of(cluster, files=[*FILES, *(PlannedFile(name, 9) for name in names)])
        node = cluster.node("node", peers=[source.address])
        assert node.recover().result is Result.COMPLETE
        assert tree_digest(node.path("llama/rank-3/100")) == tree_digest(source.path("100"))


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"\x1b[2J"])
def test_a_file_that_cannot_be_written_down_is_not_published(tmp_path: Path, name: bytes) -> None:
    with Cluster(tmp_path) as cluster:
        node = cluster.node("node")
        make_checkpoint(node.path("100"), files=FILES)
        with open(os.fsencode(node.path("100")) + b"/" + name, "wb"):
            pass
        with pytest.raises(CkptdError, match="cannot be published") as caught:
            node.publish(node.path("100"), deferred=())
        assert str(caught.value).isprintable()


def test_every_thread_of_the_daemon_has_given_up_writing_elsewhere(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        node = source_of(cluster)
        if "daemon.not_confined" in node.log_text():
            pytest.skip("this kernel has no Landlock")
        assert node._process is not None
        pid = node._process.pid
        statuses = [path.read_text() for path in Path("/proc", str(pid), "task").glob("*/status")]
        assert len(statuses) > 1
        # Set together with the restriction, and inherited in the same way.
        assert all("NoNewPrivs:\t1\n" in status for status in statuses)
