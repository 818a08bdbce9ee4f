"""The daemon under what the unit that comes with it does to its processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.control.messages.observation import CheckRow
from ckptd.errors import ExitCode
from ckptd.model.words import CheckResult, Result
from ckptd.store.files.roots import SHUT as IS_SHUT
from tests.support.call_filters import Filter, filter_of_unit, under
from tests.support.cluster import (
    WAIT_S,
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
)
from tests.support.mounts import in_mount_namespace, unmount

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


SHUT = (
    "sleep 0.02 && "  # dates of file systems are of the last tick of a clock, up to 10 ms old
    'mkdir "$1" && mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
)
"""What a service sees of a root that appears after its mounts were made."""


def test_a_root_that_appears_while_it_starts_ends_it_once_so_that_it_is_started_again(
    tmp_path: Path,
) -> None:
    def scene() -> None:
        with Cluster(tmp_path) as cluster:
            manager = {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
            node = cluster.prepare("node", environment=manager)
            root = Path(node.root)
            root.rmdir()
            node.prefix = ("sh", "-c", SHUT, "sh", node.root)
            node.start()
            assert node.wait_ended(WAIT_S) == ExitCode.FAILED
            if "appeared while ckptd was starting" not in node.log_text():
                pytest.skip("this file system does not say when a directory was made")
            assert "The service manager starts ckptd again" in node.log_text()

            # As if the manager's mounts were no better now: it is said, and not tried for ever.
            node.prefix = ()
            node.start()
            node.wait_ready()
            (root_now,) = node.client.status().roots
            assert root_now.problem == IS_SHUT
            (row,) = (
                row
                for row in node.client.examine()
                if isinstance(row, CheckRow) and row.check == "disk"
            )
            assert row.verdict is CheckResult.FAIL
            assert row.remedy.startswith("Restart ckptd")
            node.stop()

            unmount(root)  # what the manager's new mounts are like
            node.start()
            node.wait_ready()
            (root_now,) = node.client.status().roots
            assert not root_now.problem

    in_mount_namespace(scene)


def test_without_a_service_manager_it_serves_what_it_can_read(tmp_path: Path) -> None:
    def scene() -> None:
        with Cluster(tmp_path) as cluster:
            node = cluster.prepare("node")
            Path(node.root).rmdir()
            node.prefix = ("sh", "-c", SHUT, "sh", node.root)
            node.start()
            node.wait_ready()
            eventually(lambda: "event=root.unusable" in node.log_text(), "it is reported")

    in_mount_namespace(scene)
