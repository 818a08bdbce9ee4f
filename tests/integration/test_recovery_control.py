"""Pausing, resuming and cancelling a recovery that is under way."""

import os
from collections.abc import Iterator

import pytest

from ckptd.errors import NotFound
from ckptd.limits import MIB
from ckptd.model.words import Result, Stage
from tests.support.cluster import Cluster, Node, tree_digest
from tests.support.fault_proxy import FaultProxy, fault_proxy

pytestmark = pytest.mark.integration


@pytest.fixture
def link(sources: list[Node]) -> Iterator[FaultProxy]:
    with fault_proxy(sources[0].data_port, rate_bytes_per_s=16 * MIB) as made:
        yield made


def test_a_paused_recovery_stands_still_until_it_is_resumed(
    sources: list[Node], cluster: Cluster, link: FaultProxy
) -> None:
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    assert receiver.client.pause(recovery).is_paused
    still = receiver.wait_view(
        recovery,
        lambda view: all(row.in_flight_bytes == 0 for row in view.sources),
        "nothing is in flight",
    )
    link.heal()
    receiver.stop()
    receiver.restart()  # it does not forget that it was told to stand still, nor what it has
    paused = receiver.wait_view(
        recovery, lambda view: view.stage is Stage.TRANSFERRING, "it is taken up again"
    )
    assert paused.is_paused
    assert paused.bytes_verified >= still.bytes_verified
    assert not receiver.client.resume(recovery).is_paused
    result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert tree_digest(result.target) == tree_digest(sources[0].path("100"))


def test_a_cancelled_recovery_leaves_nothing_behind(cluster: Cluster, link: FaultProxy) -> None:
    receiver = cluster.node("r", peers=[link.address])
    recovery = receiver.begin()
    receiver.wait_bytes(recovery, 2 * MIB)
    assert os.listdir(receiver.root) == [".ckptd"]
    assert receiver.client.cancel(recovery).stage is Stage.CANCELLED
    assert receiver.result(recovery).result is Result.CANCELLED
    assert os.listdir(receiver.root) == []
    with pytest.raises(NotFound, match="has ended already"):
        receiver.client.cancel(recovery)


def test_a_recovery_that_is_asked_for_twice_is_one(cluster: Cluster, link: FaultProxy) -> None:
    receiver = cluster.node("r", peers=[link.address])
    first = receiver.begin()
    receiver.wait_bytes(first, 2 * MIB)
    assert receiver.begin() == first
    receiver.client.cancel(first)
