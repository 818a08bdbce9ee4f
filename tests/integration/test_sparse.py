"""Files with holes, between real daemons: nothing of a hole travels, or needs room."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.plans import PlanRequest, exit_code_of_plan
from ckptd.errors import ExitCode
from ckptd.limits import MIB
from ckptd.model.words import Result
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint, tree_digest
from tests.support.fault_proxy import fault_proxy
from tests.support.mounts import in_mount_namespace, tmpfs

pytestmark = pytest.mark.integration

SIZE_BYTES = 256 * MIB
PIECES = (0, 100 * MIB, 200 * MIB, 255 * MIB)
"""Where there is a MiB of data each."""
CONFIG_BYTES = 700
CAPPED = 'version_max = "255MiB"'
DATA_BYTES = len(PIECES) * MIB


def source_of(cluster: Cluster) -> Node:
    source = cluster.node("source")
    make_checkpoint(source.path("100"), files=[PlannedFile("config.json", CONFIG_BYTES)])
    with source.path("100/swap.bin").open("wb") as file:
        file.truncate(SIZE_BYTES)
        for offset in PIECES:
            file.seek(offset)
            file.write(os.urandom(MIB))
    source.publish(source.path("100"), deferred=())
    return source


def test_a_sparse_file_fits_a_disk_that_is_smaller(tmp_path: Path) -> None:
    def scene() -> None:
        disk = tmp_path / "disk"
        with tmpfs(disk, "size=128m"), Cluster(tmp_path) as cluster:
            source = source_of(cluster)
            with fault_proxy(source.data_port, rate_bytes_per_s=MIB) as link:
                node = cluster.add("node", peers=[link.address], root=disk)
                node.wait_ready()
                asked = PlanRequest(checkpoint=NAME, version=100)
                eventually(lambda: node.client.plan(asked).version == 100, "it is found")
                plan = node.client.plan(asked)
                assert plan.needed_bytes == plan.room_bytes == DATA_BYTES + CONFIG_BYTES
                recovery = node.begin()
                node.wait_bytes(recovery, SIZE_BYTES - DATA_BYTES + 1)
                node.restart()
                node.wait_ready()
                ended = node.result(recovery)
            assert ended.result is Result.COMPLETE
            assert ended.bytes_local == SIZE_BYTES - DATA_BYTES
            assert ended.bytes_received <= 2 * DATA_BYTES
            placed = node.path("llama/rank-3/100")
            assert tree_digest(placed) == tree_digest(source.path("100"))
            assert (placed / "swap.bin").stat().st_blocks * 512 == DATA_BYTES

    in_mount_namespace(scene)


def test_a_version_that_claims_too_much_is_refused_before_anything_is_made(
    cluster: Cluster,
) -> None:
    source = source_of(cluster)
    node = cluster.node("node", peers=[source.address], sections=CAPPED)
    asked = PlanRequest(checkpoint=NAME, version=100)
    eventually(lambda: node.client.plan(asked).version == 100, "it is found")
    plan = node.client.plan(asked)
    assert plan.size_problem.startswith("has 256 MiB, holes included, more than recovery.version")
    assert exit_code_of_plan(plan) is ExitCode.FAILED
    recovery = node.begin()
    ended = node.result(recovery)
    assert ended.result is Result.FAILED
    assert plan.size_problem in ended.message
    assert plan.size_problem.encode() in msgspec.json.encode(node.client.explain(recovery))
    assert not list(node.path(".ckptd").rglob("swap.bin"))
