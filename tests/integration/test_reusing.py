"""What lies on a node already does not travel."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ckptd.control.messages.checkpoints import CheckpointRow
from ckptd.control.messages.plans import PlanRequest
from ckptd.model.words import Result
from tests.support.cluster import NAME, Cluster, Node, eventually, tree_digest
from tests.support.standing import flip

pytestmark = pytest.mark.integration

UNIT = "model-1.safetensors"


def publish_next(source: Node, version: int = 101) -> Path:
    """Publish a version that differs from the first one in a byte."""
    path = source.path(str(version))
    shutil.copytree(source.path("100"), path)
    with (path / UNIT).open("r+b") as file:
        file.seek(path.joinpath(UNIT).stat().st_size // 2)
        file.write(b"the next step")
    source.publish(path, version=version)
    return path


def test_only_what_changed_since_the_last_version_travels(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    assert receiver.recover().bytes_reused == 0
    path = publish_next(source)
    eventually(lambda: len(receiver.client.checkpoints()) == 2, "the next version is known")
    plan = receiver.client.plan(PlanRequest(checkpoint=NAME, version=101))
    result = receiver.recover(version=101)
    assert result.result is Result.COMPLETE
    assert 0 < plan.needed_bytes < plan.bytes_total // 10
    assert plan.bytes_reused == plan.bytes_total - plan.needed_bytes
    assert [row.directory for row in plan.reused_from] == [str(receiver.path(NAME, "100"))]
    assert tree_digest(result.target) == tree_digest(path)
    # Where the disk is slow for a moment the source may bring some of it after all.
    assert plan.needed_bytes <= result.bytes_received < result.bytes_total
    assert 0 < result.bytes_reused <= plan.bytes_reused


def test_what_is_wrong_or_gone_here_is_fetched_and_said(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    first = Path(receiver.recover().target)
    path = publish_next(source)
    flip(first / "optimizer/shard.pt")
    (first / "model-2.safetensors").unlink()
    result = receiver.recover(version=101)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(path)
    assert 0 < result.bytes_reused < result.bytes_total
    eventually(lambda: 100 in {row.version for row in stale(receiver)}, "it is known")


def stale(node: Node) -> list[CheckpointRow]:
    return [row for row in node.client.checkpoints() if row.is_stale]
