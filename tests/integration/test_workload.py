"""What a job that saves does to real daemons, as each of them measures it."""

from __future__ import annotations

import os
import time

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.workloads import WorkloadRequest, WorkloadRow, WorkloadView
from ckptd.errors import ExitCode
from ckptd.limits import KIB
from tests.support.cluster import NAME, Cluster, Node, eventually
from tests.support.stores import write_files
from tests.support.swarm import start_swarm

pytestmark = pytest.mark.integration

BLOCK = 256 * KIB
FIRST, SAME, OTHER = b"1" * BLOCK, b"2" * BLOCK, b"3" * BLOCK


def save(node: Node, version: int, content: bytes, *, ago_s: float) -> None:
    """Publish what a job saved some time ago."""
    directory = node.path(str(version))
    write_files(directory, {"weights": content})
    saved_at_s = time.time() - ago_s
    os.utime(directory / "weights", (saved_at_s, saved_at_s))
    node.publish(directory, version=version, critical=(), deferred=())


def view_of(node: Node) -> WorkloadView:
    return node.client.workload(WorkloadRequest(name=NAME))


def known(node: Node, field: str) -> WorkloadRow:
    """Return what is known of the checkpoint once that is known, too."""

    def look() -> WorkloadRow | None:
        rows = view_of(node).rows
        return rows[0] if rows and getattr(rows[0], field) is not None else None

    return eventually(look, f"{field} is known")


def test_saves_are_measured_where_they_are_made_and_where_they_come(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = start_swarm(cluster, ["a", "b"], sources=[])
    save(a, 100, FIRST + SAME, ago_s=300)
    save(a, 200, OTHER + SAME, ago_s=200)
    b.recover(version=200)
    save(a, 300, OTHER + FIRST, ago_s=100)
    row = known(a, "copied_s")
    row = known(a, "interval_s") if row.interval_s is None else row
    eventually(lambda: view_of(a).versions[-1].changed_share == 0.5, "what is new is known")
    assert (row.versions, row.published, row.newest, row.is_current) == (3, 3, 300, True)
    assert row.interval_s == pytest.approx(100, abs=50)
    assert (row.size_bytes, row.brought_s) == (2 * BLOCK, None)
    assert row.hashed_s is not None

    brought = known(b, "saved_age_s")
    assert brought.saved_age_s is not None
    assert brought.saved_age_s >= 200, "its files have their times"
    assert (brought.published, brought.hashed_s) == (0, None)
    assert brought.brought_s is not None

    before = view_of(a).versions
    a.stop()
    a.start()
    a.wait_ready()
    after = view_of(a).versions
    assert [(each.version, each.hashed_s, each.copied_s) for each in after] == [
        (each.version, each.hashed_s, each.copied_s) for each in before
    ]
    command = ["--socket", a.client.socket_path, "checkpoints", "--workload"]
    assert ckptctl([*command, NAME]) == ExitCode.DONE
    assert "not published" not in capsys.readouterr().out
