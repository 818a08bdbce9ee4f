"""Several paths to one node: each is a source, and none is missed while another one is there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ckptd.cli.demo.demo_checkpoint import PlannedFile
from ckptd.control.messages.observation import CheckRow
from ckptd.daemon.host.networks import own_addresses
from ckptd.limits import MIB
from ckptd.model.manifest import encode_manifest
from ckptd.model.words import PeerState, Result
from ckptd.net.inquiry import Inquirer
from ckptd.store.files.hashing import hexdigest_of
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    needlessly_wasted_bytes,
    tree_digest,
    with_and_without_tls,
)
from tests.support.fault_proxy import FaultProxy, fault_proxy
from tests.support.hostile_peers import canary, claims, hostile_peer
from tests.support.manifests import make_manifest

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RATE = 8 * MIB


def source_of(cluster: Cluster, size_bytes: int) -> Node:
    source = cluster.node("a")
    make_checkpoint(source.path("100"), files=[PlannedFile("model.safetensors", size_bytes)])
    source.publish(source.path("100"), critical=(), deferred=())
    return source


def receiver_of(cluster: Cluster, *links: FaultProxy) -> Node:
    receiver = cluster.node("r", peers=[link.address for link in links])
    eventually(lambda: are_live(receiver, len(links)), "all paths are live")
    return receiver


def are_live(receiver: Node, count: int) -> bool:
    return [row.state for row in receiver.client.peers()].count(PeerState.LIVE) == count


@with_and_without_tls
def test_two_paths_to_one_node_deliver_together_and_it_counts_once(cluster: Cluster) -> None:
    source = source_of(cluster, 48 * MIB)
    with (
        fault_proxy(source.data_port, rate_bytes_per_s=RATE) as one,
        fault_proxy(source.data_port, rate_bytes_per_s=RATE) as two,
    ):
        receiver = receiver_of(cluster, one, two)
        (row,) = receiver.client.checkpoints()
        assert row.nodes == ("a",)
        recovery = receiver.begin(version=None)
        result = receiver.result(recovery)
        parts = receiver.client.explain(recovery).peers
        view = receiver.client.peer("a")
    assert (result.result, needlessly_wasted_bytes(result)) == (Result.COMPLETE, 0)
    assert tree_digest(Path(result.target)) == tree_digest(source.path("100"))
    assert [(share.node, share.bytes) for share in result.sources] == [("a", 48 * MIB)]
    shares = {part.path: part.share for part in parts}
    first, further = sorted(shares)
    assert (first, further.partition(" via ")[0]) == ("a", "a")
    assert further.partition(" via ")[2] in {one.address, two.address}
    assert min(shares.values()) > 0.1, "both paths deliver"
    assert {path.path for path in view.paths} == set(shares)
    assert {path.address for path in view.paths} == {one.address, two.address}


def test_a_path_that_falls_silent_costs_no_more_than_a_silent_source(cluster: Cluster) -> None:
    source = source_of(cluster, 32 * MIB)
    with (
        fault_proxy(source.data_port, rate_bytes_per_s=RATE) as one,
        fault_proxy(source.data_port, rate_bytes_per_s=RATE) as two,
    ):
        receiver = receiver_of(cluster, one, two)
        recovery = receiver.begin(version=None)
        receiver.wait_bytes(recovery, 8 * MIB)
        one.silence()
        result = receiver.result(recovery)
    assert result.result is Result.COMPLETE
    assert result.bytes_received < 40 * MIB


def test_a_node_that_was_started_again_is_found_again_on_all_its_paths(cluster: Cluster) -> None:
    source = source_of(cluster, MIB)
    with fault_proxy(source.data_port) as one, fault_proxy(source.data_port) as two:
        receiver = receiver_of(cluster, one, two)
        epochs = {row.epoch for row in receiver.client.peers()}
        source.restart()

        def is_back() -> bool:
            rows = receiver.client.peers()
            return are_live(receiver, 2) and not epochs & {row.epoch for row in rows}

        eventually(is_back, "both paths lead to its new life")
        assert receiver.recover(version=None).result is Result.COMPLETE


def test_where_a_peer_says_that_it_answers_too_is_shown_to_people_and_never_dialled(
    cluster: Cluster,
) -> None:
    manifest = make_manifest({"a": b"a" * 1000}, checkpoint="llama")
    digest = hexdigest_of(encode_manifest(manifest))
    with canary() as elsewhere:
        said = claims("b", manifest, digest)
        shown = {"Ckptd-Addresses": f"{elsewhere.address};rate=99999999999"}
        replies = {"/v1/holdings": said._replace(fields={**said.fields, **shown})}
        with hostile_peer(replies) as peer:
            receiver = cluster.node("r", peers=[peer.address])
            eventually(lambda: are_live(receiver, 1), "the peer is live")
            checks = {row.check for row in receiver.client.examine() if isinstance(row, CheckRow)}
            assert "networks" in checks
            assert [row.address for row in receiver.client.peers()] == [peer.address]
        receiver.stop()
        assert elsewhere.is_untouched()


async def test_a_daemon_says_at_which_of_its_addresses_it_answers(cluster: Cluster) -> None:
    node = cluster.prepare("a", sections="[transport]\ninsecure = true\n")
    node.host = "0.0.0.0"
    node.start()
    node.wait_ready()
    async with Inquirer() as inquirer:
        said = await inquirer.addresses(("127.0.0.1", node.data_port))
    own = [each.host for each in own_addresses() if ":" not in each.host]
    assert [(each.host, each.port) for each in said] == [(host, node.data_port) for host in own]
