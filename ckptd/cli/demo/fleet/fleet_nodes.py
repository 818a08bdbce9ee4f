"""The nodes of the fleet: how they are configured, and how one of them is wiped."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from typing import Final

from ckptd.cli.demo.demo_daemon import LocalDaemon
from ckptd.cli.demo.demo_workspace import blame, daemon_in, start
from ckptd.cli.demo.fleet.samples import JOB, Fleet
from ckptd.cli.demo.fleet.toy_job import MARKER
from ckptd.cli.pki.authority import Authority
from ckptd.errors import CkptdError

COPIES_ROOT: Final = "copies"
QUIET_S: Final = 0.5
GRACE_S: Final = 3.0
"""On a cluster it is minutes: a node that only restarts is not worth copies."""

_SECTIONS: Final = """\
[jobs.{job}]
shards = "{own}/{ranks}"
[[recover]]
checkpoint = "{job}"
at = "missing"
shards = "mine"
[copies]
names = ["{job}*"]
root = "{copies_root}"
quota = "1TiB"
critical = {copies}
normal = {copies}
deferred = {copies}
keep = 2
grace = "{grace_s:g}s"
[copies.zones]
{zones}
"""
_WATCH: Final = """\
[[watch]]
directory = {directory}
checkpoint = "{job}"
shard = "{rank}/{ranks}"
pattern = "step_{{version}}"
require = ["{marker}"]
quiet = "{quiet_ms:.0f}ms"
"""


def save_directory(node: LocalDaemon, rank: int) -> str:
    """Return into which directory a rank saves if it runs on a node."""
    return os.path.join(node.root, "run", f"rank-{rank}")


def sections_of(fleet: Fleet, node: LocalDaemon, grace_s: float = GRACE_S) -> str:
    """Return what the configuration of a node says of the job, the same for all but the shard."""
    zones = "\n".join(
        f"{json.dumps(zone)} = {json.dumps(nodes)}" for zone, nodes in fleet.zones.items()
    )
    written = _SECTIONS.format(
        job=JOB,
        own=fleet.nodes.index(node.node),
        ranks=fleet.ranks,
        copies_root=COPIES_ROOT,
        copies=fleet.copies,
        grace_s=grace_s,
        zones=zones,
    )
    # Any rank may come here one day.
    return written + "".join(
        _WATCH.format(
            directory=json.dumps(save_directory(node, rank)),
            job=JOB,
            rank=rank,
            ranks=fleet.ranks,
            marker=MARKER,
            quiet_ms=QUIET_S * 1000,
        )
        for rank in range(fleet.ranks)
    )


def start_fleet(
    fleet: Fleet,
    workspace: str,
    processes: contextlib.ExitStack,
    *,
    authority: Authority | None,
    grace_s: float = GRACE_S,
    more: str = "",
) -> list[LocalDaemon]:
    """Start all nodes, each with disks of its own, and let them follow each other.

    Args:
        fleet: Which nodes there are.
        workspace: Where all of it is.
        processes: End them.
        authority: Issues their certificates; ``None``: they talk in plaintext.
        grace_s: So long a lost holder of a copy counts.
        more: More of the configuration of each.

    Raises:
        CkptdError: One of them does not start.
    """
    nodes = []
    for name in fleet.nodes:
        disk = os.path.join(workspace, "disks", name)
        node = daemon_in(workspace, name, os.path.join(disk, "main"), authority)
        node.roots = {COPIES_ROOT: os.path.join(disk, COPIES_ROOT)}
        [node.zone] = fleet.zones_of([name])
        node.sections = sections_of(fleet, node, grace_s) + more
        _make_directories(fleet, node)
        nodes.append(node)
    try:
        start(nodes, processes)
        for node in nodes:
            node.follow([each.address for each in nodes])
    except CkptdError as error:
        raise blame(error, nodes) from error
    return nodes


def wipe(fleet: Fleet, node: LocalDaemon, processes: contextlib.ExitStack) -> None:
    """Remove everything that a killed node had, and start it with nothing.

    Raises:
        CkptdError: It does not start.
    """
    for directory in (*_disks(node), node.state_dir):
        shutil.rmtree(directory)
    os.mkdir(node.state_dir, mode=0o700)
    _make_directories(fleet, node)
    start([node], processes)


def running(nodes: Sequence[LocalDaemon]) -> list[LocalDaemon]:
    """Return the nodes that were not killed.

    Raises:
        CkptdError: One ended by itself.
    """
    for node in nodes:
        if node.has_failed:
            raise CkptdError(f"daemon {node.node}", f"ended with exit code {node.exit_code}")
    return [node for node in nodes if node.is_running]


def _disks(node: LocalDaemon) -> tuple[str, ...]:
    return node.root, *node.roots.values()


def _make_directories(fleet: Fleet, node: LocalDaemon) -> None:
    for directory in (*_disks(node), *(save_directory(node, rank) for rank in range(fleet.ranks))):
        os.makedirs(directory, exist_ok=True)
