"""Real daemons that run out of descriptors: what is under way waits, and nothing is lost."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest

from ckptd.control.messages.observation import CheckRow
from ckptd.limits import MIB
from ckptd.model.words import CheckResult, Result
from tests.support.cluster import Cluster, Node, tree_digest, with_and_without_tls
from tests.support.fault_proxy import fault_proxy

pytestmark = pytest.mark.integration


@contextmanager
def no_descriptor_more(node: Node) -> Iterator[None]:
    """Let a daemon open nothing unless it closes what it opened early."""
    pid, kind = node.pid, resource.RLIMIT_NOFILE
    limits = resource.prlimit(pid, kind)
    opened = set(map(int, os.listdir(f"/proc/{pid}/fd")))
    first_free = next(fd for fd in count() if fd not in opened)
    resource.prlimit(pid, kind, (first_free, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, limits)


@with_and_without_tls
def test_a_recovery_waits_while_there_are_no_descriptors_and_keeps_what_came(
    cluster: Cluster,
) -> None:
    (source,) = cluster.sources("a")
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        receiver = cluster.node("r", peers=[link.address])
        recovery = receiver.begin()
        receiver.wait_bytes(recovery, 4 * MIB)
        with no_descriptor_more(receiver):
            waiting = receiver.wait_view(
                recovery, lambda view: "descriptor" in view.waiting_for, "it waits for descriptors"
            )
            assert "LimitNOFILE" in waiting.waiting_for
            rows = [row for row in receiver.client.examine() if isinstance(row, CheckRow)]
            assert [row.verdict for row in rows if row.check == "descriptors"] == [CheckResult.FAIL]
            link.heal()
        result = receiver.result(recovery)
        assert "peer.lost" not in receiver.log_text()
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(source.path("100"))
    assert result.bytes_received <= result.bytes_total + 16 * MIB
    happened = receiver.client.explain(recovery).story
    kinds = [(entry.kind, entry.reason) for entry in happened]
    assert ("disk_stumbled", "shortage") in kinds
