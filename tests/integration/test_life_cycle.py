"""Versions that come and go: paths that are used again, versions that are taken off offer."""

from __future__ import annotations

import shutil

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import KIB
from ckptd.model.words import FailureCause, Result
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 700 * KIB)]


@pytest.fixture
def source(cluster: Cluster) -> Node:
    """A node with versions 100 and 200."""
    node = cluster.node("a")
    for version in (100, 200):
        make_checkpoint(node.path(f"{version}"), seed=version, files=FILES)
        node.publish(node.path(f"{version}"), version=version, deferred=())
    return node


@pytest.fixture
def receiver(cluster: Cluster, source: Node) -> Node:
    return cluster.node("r", peers=[source.address])


class TestOrphans:
    def test_staging_that_no_journal_knows_is_removed_at_the_start(self, receiver: Node) -> None:
        paused = receiver.begin()
        receiver.client.pause(paused)
        receiver.stop()
        orphan = receiver.path(".ckptd/r-00000000000f/deep")
        orphan.mkdir(parents=True)
        (orphan / "weights.bin").write_bytes(b"half")
        kept = receiver.path(".ckptd/replaced/weights.bin")
        kept.parent.mkdir()
        kept.write_bytes(b"somebody's")
        receiver.restart()
        eventually(lambda: not orphan.parent.exists(), "the orphan is gone")
        eventually(lambda: "staging.orphan_removed" in receiver.log_text(), "the log has a line")
        assert kept.exists()
        receiver.client.resume(paused)
        assert receiver.result(paused).result is Result.COMPLETE


class TestFreePaths:
    def test_a_path_is_used_again_after_what_stood_there_was_removed(
        self, source: Node, receiver: Node
    ) -> None:
        current = receiver.path("current")
        assert receiver.recover(to=current).result is Result.COMPLETE
        shutil.rmtree(current)
        assert receiver.recover(version=200, to=current).result is Result.COMPLETE
        assert tree_digest(current) == tree_digest(source.path("200"))

    def test_an_empty_directory_is_no_obstacle(self, source: Node, receiver: Node) -> None:
        receiver.recover(to=receiver.path("current"))
        shutil.rmtree(receiver.path("current"))
        receiver.path("current").mkdir()
        assert receiver.recover(version=200, to=receiver.path("current")).result is Result.COMPLETE
        assert tree_digest(receiver.path("current")) == tree_digest(source.path("200"))

    def test_what_stands_there_is_in_the_way_above_and_below(self, receiver: Node) -> None:
        assert receiver.recover(to=receiver.path("deep/current")).result is Result.COMPLETE
        for target in ("deep/current", "deep/current/inner", "deep"):
            result = receiver.recover(version=200, to=receiver.path(target))
            assert (result.result, result.cause) == (Result.FAILED, FailureCause.STORE)
            assert f"overlaps {NAME}@100" in result.message
