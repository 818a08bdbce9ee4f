"""Two machines with two network interfaces each: both carry a recovery, and one is enough.

Needs root, for network namespaces; the same over one interface is in ``test_paths``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.limits import MIB
from ckptd.model.words import PeerState, Result
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    needlessly_wasted_bytes,
    tree_digest,
)
from tests.support.namespaces import Host, Switch

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(120),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc"))),
        reason="makes network namespaces, which needs root, ip and tc",
    ),
]

INSECURE = "[transport]\ninsecure = true\n"
SLOW_MBIT, FAST_MBIT = 80, 240


@pytest.fixture
def switch() -> Iterator[Switch]:
    try:
        made = Switch()
    except subprocess.CalledProcessError as refused:  # root without CAP_SYS_ADMIN
        pytest.skip(f"no network namespaces here: {refused.stderr.decode().strip()}")
    with made:
        yield made


def node_on(cluster: Cluster, host: Host, peers: list[str]) -> Node:
    node = cluster.prepare(host.name, peers=peers, sections=INSECURE)
    node.host, node.prefix = "0.0.0.0", host.enter
    node.start()
    node.wait_ready()
    return node


class Machines:
    """A source and a receiver, on a slow network and on a fast one."""

    def __init__(self, cluster: Cluster, switch: Switch) -> None:
        at_source, self.at_receiver = (switch.add(name, rate_mbit=SLOW_MBIT) for name in "ar")
        fast, _ = (
            switch.join(host, 1, rate_mbit=FAST_MBIT) for host in (at_source, self.at_receiver)
        )
        self.source = node_on(cluster, at_source, [])
        files = [PlannedFile("model.safetensors", 48 * MIB)]
        make_checkpoint(self.source.path("100"), files=files)
        self.source.publish(self.source.path("100"), critical=(), deferred=())
        port = self.source.data_port
        self.slow, self.fast = f"{at_source.address}:{port}", f"{fast}:{port}"
        self.receiver = node_on(cluster, self.at_receiver, [self.slow, self.fast])
        eventually(self._are_both_live, "both paths are live")

    def _are_both_live(self) -> bool:
        return all(row.state is PeerState.LIVE for row in self.receiver.client.peers())


def test_both_interfaces_carry_a_recovery_each_at_its_rate(
    cluster: Cluster, switch: Switch
) -> None:
    machines = Machines(cluster, switch)
    recovery = machines.receiver.begin(version=None)
    result = machines.receiver.result(recovery)
    assert (result.result, needlessly_wasted_bytes(result)) == (Result.COMPLETE, 0)
    assert tree_digest(Path(result.target)) == tree_digest(machines.source.path("100"))
    rows = machines.receiver.client.peer("a").paths
    path_at = {row.address: row.path for row in rows}
    parts = {part.path: part.share for part in machines.receiver.client.explain(recovery).peers}
    # How near to 1 to 3 depends on how much else the machine does.
    assert 0.05 < parts[path_at[machines.slow]] < parts[path_at[machines.fast]]


def test_an_interface_that_goes_down_costs_what_it_had_not_delivered(
    cluster: Cluster, switch: Switch
) -> None:
    machines = Machines(cluster, switch)
    recovery = machines.receiver.begin(version=None)
    machines.receiver.wait_bytes(recovery, 8 * MIB)
    switch.cut(machines.at_receiver, "eth1")
    result = machines.receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert result.bytes_received < 60 * MIB
    assert tree_digest(Path(result.target)) == tree_digest(machines.source.path("100"))
