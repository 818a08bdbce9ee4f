"""The configuration of a running daemon, changed."""

import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from ckptd.cli.ctl.command import main as ckptctl
from ckptd.control.messages.observation import CheckRow
from ckptd.control.messages.running_recoveries import RecoveryView
from ckptd.errors import CkptdError, ExitCode
from ckptd.limits import KIB, MIB
from ckptd.model.ids import NodeId
from tests.support.certificates import client_context
from tests.support.cluster import (
    Cluster,
    Node,
    eventually,
    make_checkpoint,
    needlessly_wasted_bytes,
    tree_digest,
)
from tests.support.fault_proxy import fault_proxy

pytestmark = pytest.mark.integration

SUCCESSFUL = "ckptd_config_last_reload_successful"
SUCCEEDED_AT = "ckptd_config_last_reload_success_timestamp_seconds"


def metric(node: Node, name: str) -> float:
    url = f"http://{node.client.status().listen.metrics}/metrics"
    with urllib.request.urlopen(url, timeout=60) as page:
        lines = page.read().decode().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name} "))
    return float(value)


def rewrite(node: Node, old: str, new: str) -> None:
    path = Path(node.config_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def break_file(node: Node) -> None:
    rewrite(node, "[log]", "[log]\nlevl = 1")


def test_peers_log_level_and_roles_count_from_the_answer_on(cluster: Cluster) -> None:
    source, node = cluster.node("s"), cluster.node("r")
    assert list(node.client.peers()) == []
    rewrite(node, "peers = []", f'peers = ["{source.address}"]')
    rewrite(node, "[log]", '[control]\nviewer_users = ["root"]\n[log]\nlevel = "debug"')
    rewrite(node, "[log]", '[transport]\ncongestion_control = "reno"\n[log]')
    result = node.client.reload()
    assert result.applied == (
        "control.viewer_users",
        "discovery.peers",
        "log.level",
        "transport.congestion_control",
    )
    assert result.needs_restart == ()
    rows = [row for row in node.client.examine() if isinstance(row, CheckRow)]
    assert "congestion control: reno" in [row.finding for row in rows]
    (peer,) = node.client.peers()
    assert peer.address == source.address
    eventually(lambda: node.client.peers()[0].node == "s", "the new peer is followed")

    rewrite(node, f'"{source.address}"', "")
    assert node.client.reload().applied == ("discovery.peers",)
    assert list(node.client.peers()) == []

    # It is not asked any more: whoever did would hear of this, and take it for two of one name.
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    rewrite(node, "peers = []", f'peers = ["{source.address}"]')
    node.client.reload()
    eventually(lambda: node.client.peers()[0].versions == 1, "it is followed again")


def test_keys_that_need_a_restart_are_named(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster.node("a")
    rewrite(node, '"64MiB"', '"32MiB"')
    assert ckptctl(["--socket", node.client.socket_path, "reload"]) == ExitCode.DONE
    assert capsys.readouterr().out == (
        "applied: nothing changed\ncounts from the next start: recovery.buffers\n"
    )


def test_a_file_that_cannot_be_used_changes_nothing_and_is_told_everywhere(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    node = cluster.node("a")
    assert metric(node, SUCCESSFUL) == 1
    started_at_s = metric(node, SUCCEEDED_AT)
    rewrite(node, "peers = []", 'peers = ["b:1"]')
    good = Path(node.config_path).read_text()
    break_file(node)
    assert ckptctl(["--socket", node.client.socket_path, "reload"]) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"ckptctl: {node.config_path}: log.levl: is not a key of the configuration. "
        "Did you mean log.level? The old configuration stays.\n"
    )
    assert "config.refused" in node.log_text()
    assert list(node.client.peers()) == []
    assert (metric(node, SUCCESSFUL), metric(node, SUCCEEDED_AT)) == (0, started_at_s)

    Path(node.config_path).write_text(good)
    node.client.reload()
    assert len(node.client.peers()) == 1
    assert metric(node, SUCCESSFUL) == 1
    assert metric(node, SUCCEEDED_AT) > started_at_s


def test_a_group_that_is_not_known_changes_nothing(cluster: Cluster) -> None:
    node = cluster.node("a")
    rewrite(node, "peers = []", 'peers = ["b:1"]')
    rewrite(node, "[log]", '[control]\nadmin_groups = ["no-such-group"]\n[log]')
    with pytest.raises(CkptdError, match=r"control\.admin_groups: group 'no-such-group'"):
        node.client.reload()
    assert list(node.client.peers()) == []


def test_a_hang_up_does_the_same(cluster: Cluster) -> None:
    node = cluster.node("a")
    rewrite(node, "peers = []", 'peers = ["b:1"]')
    os.kill(node.pid, signal.SIGHUP)
    eventually(lambda: len(node.client.peers()) == 1, "the peer is known")
    break_file(node)
    os.kill(node.pid, signal.SIGHUP)
    eventually(lambda: metric(node, SUCCESSFUL) == 0, "the file is refused")
    assert len(node.client.peers()) == 1


def test_a_transfer_goes_on_through_reloads_of_good_and_broken_files(cluster: Cluster) -> None:
    source = cluster.node("s")
    make_checkpoint(source.path("100"))
    source.publish(source.path("100"))
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as proxy:
        node = cluster.node("r", peers=[proxy.address])
        recovery = node.begin()
        node.wait_bytes(recovery, MIB)
        proxy.hold()
        for _ in range(20):
            rewrite(node, "[log]", '[log]\nlevel = "debug"')
            node.client.reload()
            rewrite(node, '[log]\nlevel = "debug"', "[log]\nlevl = 1")
            with pytest.raises(CkptdError):
                node.client.reload()
            rewrite(node, "[log]\nlevl = 1", "[log]")
        assert not node.client.recovery(recovery).stage.is_ended
        proxy.heal()
        result = node.result(recovery)
    assert result.bytes_resumed == needlessly_wasted_bytes(result) == 0
    assert result.bytes_received - result.bytes_wasted == result.bytes_total
    assert tree_digest(result.target) == tree_digest(source.path("100"))


def certificate_shown_by(node: Node, files: tuple[str, str]) -> bytes:
    """Shake hands with a node, and return what it shows."""
    with (
        socket.create_connection(("127.0.0.1", node.data_port), timeout=60) as connected,
        client_context(files).wrap_socket(connected) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return shown


@pytest.mark.parametrize("cluster", ["tls"], indirect=True)
def test_certificates_that_change_under_a_transfer_count_at_once_and_cut_nothing(
    cluster: Cluster,
) -> None:
    """Fault C3: at both ends, from the answer to the reload on."""
    assert cluster.authority is not None
    mine = cluster.authority.issue(NodeId("visitor"))
    (source,) = cluster.sources("a")
    with fault_proxy(source.data_port, rate_bytes_per_s=8 * MIB) as link:
        node = cluster.node("r", peers=[link.address])
        recovery = node.begin()
        node.wait_bytes(recovery, MIB)
        link.hold()
        before = [certificate_shown_by(each, mine) for each in (source, node)]
        for each in (source, node):
            cluster.authority.issue(NodeId(each.node), force=True)
            each.client.reload()
        after = [certificate_shown_by(each, mine) for each in (source, node)]
        assert not set(before) & set(after)
        assert not node.client.recovery(recovery).stage.is_ended
        link.heal()
        result = node.result(recovery)
    assert needlessly_wasted_bytes(result) == 0
    assert result.bytes_received - result.bytes_wasted == result.bytes_total
    assert tree_digest(result.target) == tree_digest(source.path("100"))


def test_a_source_that_is_taken_out_is_left_at_once(cluster: Cluster) -> None:
    first, second = cluster.sources("s", "t")
    with (
        fault_proxy(first.data_port, rate_bytes_per_s=16 * KIB) as taken_out,
        fault_proxy(second.data_port, rate_bytes_per_s=4 * MIB) as stays,
    ):
        node = cluster.node("r", peers=[taken_out.address, stays.address])
        recovery = node.begin()
        node.wait_view(recovery, lambda view: len(_active(view)) == 2, "both sources are used")
        rewrite(node, f'"{taken_out.address}", ', "")
        node.client.reload()
        node.wait_view(recovery, lambda view: _active(view) == {"t"}, "only the other one is")
        assert node.client.recovery(recovery).bytes_left > 8 * MIB
        stays.heal()
        result = node.result(recovery)
    assert tree_digest(result.target) == tree_digest(first.path("100"))


def _active(view: RecoveryView) -> set[str]:
    return {source.node for source in view.sources if source.in_flight_bytes}
