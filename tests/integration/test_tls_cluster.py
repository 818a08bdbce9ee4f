"""Daemons that know each other by certificates."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ckptd.cli.pki.authority import certificate_facts
from ckptd.control.messages.copies import CopiesRequest
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import CkptdError, ExitCode
from ckptd.model.ids import NodeId
from ckptd.model.words import PeerState, Result
from tests.support.cluster import NAME, STOP_S, Cluster, eventually, tree_digest

pytestmark = [
    pytest.mark.integration,
    pytest.mark.parametrize("cluster", ["tls"], indirect=True),
]


def test_a_version_comes_back_over_tls(cluster: Cluster) -> None:
    sources = cluster.sources("a", "b")
    receiver = cluster.node("r", peers=[f"{source.node}@{source.address}" for source in sources])
    result = receiver.recover()
    assert result.result is Result.COMPLETE
    assert tree_digest(receiver.path(NAME, "100")) == tree_digest(sources[0].path("100"))
    assert result.bytes_received - result.bytes_wasted == result.bytes_total


def test_another_node_than_the_pinned_one_is_no_peer(cluster: Cluster) -> None:
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[f"b@{source.address}"])

    def error() -> str | None:
        (row,) = receiver.client.peers()
        return row.last_error or None

    assert "it is a, not b" in eventually(error, "the peer is looked at")
    assert receiver.client.checkpoints() == []


def test_a_node_with_a_foreign_certificate_gets_nothing_and_both_logs_say_why(
    cluster: Cluster, tmp_path: Path
) -> None:
    (source,) = cluster.sources("a")
    with Cluster(tmp_path / "foreign", tls=True) as foreign:
        stranger = foreign.node("s", peers=[source.address])
        eventually(lambda: "untrusted" in stranger.log_text(), "the stranger says why")
        eventually(lambda: "as server: TLS handshake failed" in source.log_text(), "so does a")
        assert stranger.client.checkpoints() == []
    assert source.log_text().count("as server: TLS handshake failed") == 1


def test_a_node_that_finds_itself_among_its_peers_says_nothing_of_it(cluster: Cluster) -> None:
    node = cluster.node("a")
    node.stop()
    node._settings["peers"] = [node.address]
    node.start()
    node.wait_ready()

    def is_found() -> bool:
        return [row.state for row in node.client.peers()] == [PeerState.SELF]

    eventually(is_found, "it finds itself")
    assert "TLS handshake failed" not in node.log_text()


@pytest.mark.parametrize("kind", ["crt", "key"])
def test_a_daemon_does_not_start_with_what_its_peers_would_refuse(
    cluster: Cluster, kind: str
) -> None:
    assert cluster.authority is not None
    node = cluster.node("a")
    node.stop()
    if kind == "crt":
        cluster.authority.issue(NodeId("b"))
        other, _ = cluster.authority.paths_of(NodeId("b"))
        own, _ = cluster.authority.paths_of(NodeId("a"))
        Path(own).write_bytes(Path(other).read_bytes())
    else:
        Path(cluster.authority.paths_of(NodeId("a"))[1]).chmod(0o644)
    node.start()
    assert node.wait_ended(STOP_S) == ExitCode.CONFIGURATION
    assert f"a.{kind}" in node.log_tail()[-1]
    with pytest.raises(CkptdError):
        node.check_running()


def test_the_metrics_page_says_when_certificates_expire(cluster: Cluster) -> None:
    assert cluster.authority is not None
    node = cluster.node("a")
    (facts,) = certificate_facts(cluster.authority.paths_of(NodeId("a"))[0])
    assert facts.days_left > 300
    address = node.client.status().listen.metrics
    with urllib.request.urlopen(f"http://{address}/metrics") as response:
        page = response.read().decode()
    for name in ("not_after_seconds", "not_after_timestamp_seconds"):  # the old one for a release
        for role in ("node", "ca"):
            assert f'ckptd_tls_certificate_{name}{{role="{role}"}}' in page


def test_a_certificate_that_ran_out_is_named_by_whoever_waits_and_a_new_one_helps(
    cluster: Cluster,
) -> None:
    assert cluster.authority is not None
    (source,) = cluster.sources("a")
    receiver = cluster.node("r", peers=[source.address])
    eventually(lambda: receiver.client.checkpoints() != [], "what a holds is known")
    cluster.authority.issue(
        NodeId("a"), not_before=datetime.now(UTC), lifetime=timedelta(seconds=5), force=True
    )
    source.client.reload()
    eventually(lambda: "certificate.outside_its_time" in source.log_text(), "a notices that")
    recovery = receiver.begin()

    def is_named(view: RecoveryView) -> bool:
        return "a: its certificate has expired" in view.waiting_for

    receiver.wait_view(recovery, is_named, "it is named")
    (row,) = receiver.client.peers()
    assert (row.state, row.trouble) == (PeerState.LIVE, "its certificate has expired")
    cluster.authority.renew(NodeId("a"))
    source.client.reload()
    assert receiver.result(recovery).result is Result.COMPLETE
    eventually(lambda: receiver.client.peers()[0].trouble == "", "and forgotten")


def test_a_node_is_in_the_zone_that_its_certificate_says(cluster: Cluster, tmp_path: Path) -> None:
    assert cluster.authority is not None
    (source,) = cluster.sources("a")
    cluster.authority.renew(NodeId("a"), zone=("row-1", "rack-1"))
    source.client.reload()
    keeper = cluster.prepare(
        "k",
        peers=[source.address],
        sections=f'[copies]\nnames = ["{NAME}"]\nroot = "copies"\nquota = "1GiB"\n',
    )
    cluster.authority.renew(NodeId("k"), zone=("row-1", "rack-2"))
    copies = tmp_path / "copies"
    copies.mkdir()
    keeper.roots = {"copies": str(copies)}
    keeper.start()
    keeper.wait_ready()

    def zones() -> dict[str, str]:
        view = keeper.client.copies(CopiesRequest())
        return {each.node: each.zone for row in view.versions for each in row.holders}

    eventually(lambda: zones().get("a") == "row-1/rack-1", "the zone of a is known")
    assert keeper.client.copies(CopiesRequest()).zone == "row-1/rack-2"
