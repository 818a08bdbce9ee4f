"""Several receivers behind one address, as behind NAT, and a source that has few places for it."""

from __future__ import annotations

import pytest

from ckptd.limits import MIB
from ckptd.model.words import PeerState, RefusalReason, Result
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    tree_digest,
    with_and_without_tls,
)
from tests.support.fault_proxy import fault_proxy
from tests.support.metrics_page import samples

pytestmark = pytest.mark.integration

PLACES = 3
RECEIVERS = 5


def crowded_source(cluster: Cluster) -> Node:
    source = cluster.prepare("a")
    source.connections_per_address = PLACES
    source.start()
    source.wait_ready()
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    return source


@with_and_without_tls
def test_more_receivers_behind_one_address_than_it_has_places_are_all_served(
    cluster: Cluster,
) -> None:
    source = crowded_source(cluster)
    receivers = [cluster.add(f"r{n}", peers=[source.address]) for n in range(RECEIVERS)]
    for receiver in receivers:
        receiver.wait_ready()
    recoveries = [receiver.begin() for receiver in receivers]
    for receiver, recovery in zip(receivers, recoveries, strict=True):
        result = receiver.result(recovery)
        assert result.result is Result.COMPLETE
        assert tree_digest(result.target) == tree_digest(source.path("100"))
        assert "quarantine" not in str(receiver.client.explain(recovery).counts)


def test_who_finds_no_place_learns_which_setting_would_change_it(cluster: Cluster) -> None:
    source = crowded_source(cluster)
    source.connections_per_address = 1
    source.restart()
    with fault_proxy(source.data_port, rate_bytes_per_s=MIB) as link:
        first = cluster.node("first", peers=[link.address])
        first.wait_bytes(first.begin(), 64 * 1024)  # takes the only place for a while
        second = cluster.node("second", peers=[source.address])
        recovery = second.begin()

        def peer_says() -> str:
            (row,) = second.client.peers()
            return row.last_error if row.state is PeerState.UNREACHABLE else row.trouble

        eventually(lambda: "listen.connections_per_address" in peer_says(), "peers says why")
        assert "no place for a connection from 127.0.0.1" in source.log_text()
        assert samples(source, "refusals_total")[RefusalReason.ADDRESS.value] > 0
        link.heal()
        assert second.result(recovery).result is Result.COMPLETE
