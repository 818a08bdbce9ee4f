"""Retention between real daemons: what goes, and what stays because somebody needs it."""

from __future__ import annotations

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.prioritized import NeedRequest
from ckptd.control.messages.retention import CollectedRow, CollectRequest, CollectResult
from ckptd.limits import KIB
from tests.support.cluster import NAME, Cluster, Node, eventually, make_checkpoint

pytestmark = pytest.mark.integration

FILES = [PlannedFile("config.json", 200), PlannedFile("weights.bin", 300 * KIB)]


def collect(node: Node, **how: object) -> tuple[dict[int, str], CollectResult]:
    """Remove what may go; return what became of each version, and the sum."""
    *rows, result = node.client.collect(CollectRequest(**how))  # type: ignore[arg-type]
    assert isinstance(result, CollectResult)
    became = {}
    for row in rows:
        assert isinstance(row, CollectedRow)
        became[row.version] = str(row.goes_because or row.kept_because)
    return became, result


def test_old_versions_go_unless_somebody_reads_them_or_nobody_else_has_them(
    cluster: Cluster,
) -> None:
    source = cluster.node("a")
    node = cluster.node("r", peers=[source.address], sections="[retention]\nnewest = 1\n")
    for version in (100, 200, 300, 400):
        make_checkpoint(source.path(f"{version}"), seed=version, files=FILES)
        source.publish(source.path(f"{version}"), version=version, deferred=())
        node.recover(version=version, to=node.path(f"{version}"))
    list(node.client.need(NeedRequest(path=str(node.path("200/weights.bin")))))
    expected = {100: "old", 200: "read", 300: "old", 400: "newest"}
    became, foreseen = collect(node, is_dry_run=True)
    assert became == expected
    assert (foreseen.removed, foreseen.kept) == (2, {"newest": 1, "read": 1})
    assert node.path("100/weights.bin").exists()
    node.restart()  # a lease outlives that
    eventually(lambda: node.holders(version=200) == {"a", "r"}, "both are known again")
    became, result = collect(node, name=NAME)
    assert became == expected
    assert result.freed_bytes == foreseen.freed_bytes > 0
    assert not node.path("100").exists()
    assert not node.path("300").exists()
    assert node.path("200/weights.bin").exists()
    eventually(lambda: source.path("100/weights.bin").exists(), "the copy is where it was")
    node.recover(version=100, to=node.path("100"))
    source.kill()
    eventually(lambda: node.holders(version=100) == {"r"}, "nobody else is known to have it")
    became, _ = collect(node)
    assert became == {100: "copies", 200: "read", 400: "newest"}
    assert node.path("100/weights.bin").exists()
