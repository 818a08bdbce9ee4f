"""Versions that come and go: paths that are used again, versions that are taken off offer."""

from __future__ import annotations

import shutil

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import KIB
from ckptd.model.words import FailureCause, Result
from tests.support.cluster import NAME, Cluster, Node, make_checkpoint, tree_digest

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
