"""The daemon under what the unit that comes with it does to its processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.control.messages.observation import CheckRow
from ckptd.model.words import CheckResult, Result
from tests.support.call_filters import Filter, filter_of_unit, under
from tests.support.cluster import Cluster, Node, make_checkpoint, tree_digest

pytestmark = pytest.mark.integration


def started(cluster: Cluster, name: str, calls: Filter, *, peers: tuple[str, ...] = ()) -> Node:
    node = cluster.prepare(name, peers=peers)
    node.prefix = tuple(under(calls))
    node.start()
    node.wait_ready()
    return node


def confinement(node: Node) -> CheckRow:
    rows = [row for row in node.client.examine() if isinstance(row, CheckRow)]
    return next(row for row in rows if row.check == "confinement")


def has_landlock(cluster: Cluster) -> bool:
    return confinement(cluster.node("free")).finding.startswith("can write to its roots")


def test_under_the_filter_of_the_unit_it_is_confined_and_recovers(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        if not has_landlock(cluster):
            pytest.skip("no Landlock here")
        source = started(cluster, "source", filter_of_unit())
        make_checkpoint(source.path("100"))
        source.publish(source.path("100"))
        node = started(cluster, "node", filter_of_unit(), peers=(source.address,))
        result = node.recover()
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(source.path("100"))
        assert "daemon.confined" in node.log_text()
        assert confinement(node).verdict is CheckResult.OK


def test_a_filter_that_forbids_it_is_warned_of_with_what_to_do(tmp_path: Path) -> None:
    with Cluster(tmp_path) as cluster:
        if not has_landlock(cluster):
            pytest.skip("no Landlock here")
        node = started(cluster, "node", filter_of_unit(without="landlock_"))
        (line,) = (line for line in node.log_text().splitlines() if "daemon.not_confined" in line)
        assert "warning" in line
        assert "a filter of system calls forbids Landlock: Operation not permitted" in line
        row = confinement(node)
        assert row.verdict is CheckResult.WARN
        assert "landlock_create_ruleset" in row.remedy
